"""The way to Dovecot's authentication server for one login, in Postfix's name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from digipoort_sasl.link import LineTooLong, Link
from digipoort_sasl.protocol import (
    END_OF_HANDSHAKE,
    MAX_HANDSHAKE_LINES,
    Kind,
    ReplyMalformed,
    cancellation,
    check_version,
    parse_reply,
)

if TYPE_CHECKING:
    from pathlib import Path

    from digipoort_sasl.protocol import Login, Reply


class NoReply(Exception):  # noqa: N818 - a state of affairs
    """Dovecot has no reply to a login; the message is for the admin."""


class Dovecot:
    """A connection that is made when it is first needed."""

    def __init__(self, path: Path, greeting: bytes, deadline: float) -> None:
        """Take Dovecot's socket, smtpd's part of the handshake, and the seconds that one question may take."""
        self._path = path
        self._greeting = greeting
        self._deadline = deadline
        self._link: Link | None = None
        self._greeted = False
        self._unfinished: Login | None = None

    async def ask(self, login: Login, line: bytes) -> tuple[bytes, Reply]:
        """Send a line of the login and return Dovecot's, LF included, and what it means.

        Raises NoReply when there is none within the deadline that answers this login; and CancelledError.
        """
        try:
            async with asyncio.timeout(self._deadline):
                link = self._link or await self._connected()
                self._greeted, self._unfinished = True, login
                await link.send(line)
                answer = await link.line()
        except TimeoutError:
            raise NoReply("no answer in time") from None
        except OSError as error:
            raise NoReply(f"{self._path}: {error.strerror or error}") from error
        except LineTooLong:
            raise NoReply("Dovecot's line is too long") from None
        except ReplyMalformed as fault:
            raise NoReply(str(fault)) from None
        reply = _understood(answer, login)
        if reply.kind is not Kind.CONTINUED:
            self._unfinished = None
        return answer, reply

    @property
    def is_there(self) -> bool:
        """Tell whether it was reached; what it then makes of one login says nothing about others."""
        return self._greeted

    def close(self) -> None:
        """Hang up; a login that is not finished is taken back first, or Dovecot would log an error."""
        if self._link is None:
            return
        self._link.close(cancellation(self._unfinished) if self._unfinished else b"")

    async def _connected(self) -> Link:
        self._link = link = await Link.to(self._path)
        await link.send(self._greeting)
        line = await link.line()
        check_version(line)
        for _ in range(MAX_HANDSHAKE_LINES):
            line = await link.line()
            if line == END_OF_HANDSHAKE:
                return link
        raise ReplyMalformed("Dovecot's handshake does not end")


def _understood(answer: bytes, login: Login) -> Reply:
    if not answer:
        raise NoReply("Dovecot hung up")
    try:
        return parse_reply(answer, login)
    except ReplyMalformed as fault:
        raise NoReply(str(fault)) from None
