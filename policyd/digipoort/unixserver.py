"""A daemon's UNIX socket: requests that end in a terminator, each connection's one after another, and a clean end.

A client that is slow, or sends requests without reading replies, holds only its own task: the stream stops reading from
it, so that a connection never takes more memory than twice the largest request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from pathlib import Path

# After a restart of Postfix or Dovecot all their processes connect at once.
BACKLOG: Final = 1024
# Readable and writable for the owner and the group, 0660: who may connect is decided by membership.
SOCKET_UMASK: Final = 0o117


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with; after the last one the connection is closed."""

    octets: bytes
    last: bool = False


class Service(Protocol):
    """What a daemon does with a request's octets."""

    async def answer(self, request: bytes) -> Reply:
        """Return the reply to one request, terminator included; raises nothing but CancelledError."""

    def malformed(self, fault: str) -> Reply:
        """Return the reply to what is no request at all; `fault` is a sentence for the admin. The connection closes."""


class UnixServer:
    """The listening socket and the connections that it accepted."""

    def __init__(self, service: Service, *, terminator: bytes, max_request: int) -> None:
        """Answer requests of at most `max_request` octets, `terminator` included."""
        self._service = service
        self._terminator = terminator
        # StreamReader.readuntil compares its limit with the octets before the terminator.
        self._limit = max_request - len(terminator)
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._idle: set[asyncio.Task[object]] = set()
        self._busy: set[asyncio.Task[object]] = set()
        self._stopping = False

    async def start(self, path: Path) -> None:
        """Listen at `path`, mode 0660; a socket that a former process left there is replaced. Raises OSError."""
        former = os.umask(SOCKET_UMASK)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=self._limit, backlog=BACKLOG)
        finally:
            os.umask(former)
        self._path = path

    async def stop(self, drain_seconds: float) -> int:
        """Stop listening, let requests under way finish for `drain_seconds`, and return how many were then cut off."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            # Before the wait: by its end the path may be the socket of the process that comes after this one.
            self._path.unlink(missing_ok=True)
        for task in self._idle:
            task.cancel()
        connections = self._idle | self._busy
        late: set[asyncio.Task[object]] = set()
        if connections:
            _, late = await asyncio.wait(connections, timeout=drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
        return len(late)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs every client callback in a task
        try:
            # A client that is gone wants no reply; cancelled is what stop() does to a connection without a request.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._converse(task, reader, writer)
        finally:
            self._idle.discard(task)
            self._busy.discard(task)
            writer.close()

    async def _converse(
        self, task: asyncio.Task[object], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer requests until the client leaves, sends what is no request, or the server stops."""
        last = False
        while not last and not self._stopping:
            self._idle.add(task)
            request, fault = await self._next_request(reader)
            if not request and not fault:
                return
            self._idle.discard(task)
            self._busy.add(task)
            reply = self._service.malformed(fault) if fault else await self._service.answer(request)
            last = bool(fault) or reply.last
            writer.write(reply.octets)
            await writer.drain()
            self._busy.discard(task)

    async def _next_request(self, reader: asyncio.StreamReader) -> tuple[bytes, str]:
        """Return a request, or a sentence about what came instead; both are empty when the client left."""
        try:
            return await reader.readuntil(self._terminator), ""
        except asyncio.LimitOverrunError:
            return b"", "The request is too large."
        except asyncio.IncompleteReadError as error:
            return b"", "The request was cut off." if error.partial else ""
