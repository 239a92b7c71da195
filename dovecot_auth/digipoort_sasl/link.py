"""One connection, seen as lines of bounded length."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from digipoort.peers import peer_of
from digipoort_sasl.protocol import MAX_LINE_OCTETS

if TYPE_CHECKING:
    from pathlib import Path

    from digipoort.peers import Peer


class LineTooLong(Exception):  # noqa: N818 - a state of affairs
    """A line has more than MAX_LINE_OCTETS; nothing after it can be understood."""


class Link:
    """A connection to smtpd or to Dovecot. All its methods but `close` raise OSError when the other side is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the two streams; the reader's limit must be MAX_LINE_OCTETS."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, path: Path) -> Link:
        """Return a connection to the socket at `path`."""
        return cls(*await asyncio.open_unix_connection(path, limit=MAX_LINE_OCTETS))

    async def line(self) -> bytes:
        """Return the next line, LF included; empty when the other side has closed. Raises LineTooLong."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return b""
        except asyncio.LimitOverrunError:
            raise LineTooLong from None

    async def send(self, octets: bytes) -> None:
        """Send octets, and wait while the other side reads nothing."""
        self._writer.write(octets)
        await self._writer.drain()

    def peer(self) -> Peer:
        """Return the process that connected."""
        return peer_of(self._writer.get_extra_info("socket"))

    def close(self, last: bytes = b"") -> None:
        """Hang up, once what was sent, and these octets, are gone."""
        self._writer.write(last)
        self._writer.close()
