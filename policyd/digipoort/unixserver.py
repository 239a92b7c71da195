"""A daemon's UNIX socket: requests that end in a terminator, each connection's one after another, and a clean end.

A client that is slow, or sends requests without reading replies, holds only its own task: the stream stops reading from
it, so that a connection never takes more memory than twice the largest request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final, Protocol

from digipoort.framing import RequestMalformed, read_request

if TYPE_CHECKING:
    from pathlib import Path

# After a restart of Postfix or Dovecot all their processes connect at once.
BACKLOG: Final = 1024
# Readable and writable for the owner and the group, 0660: who may connect is decided by membership.
SOCKET_UMASK: Final = 0o117


class Service(Protocol):
    """What a daemon does with a request's octets."""

    async def answer(self, request: bytes) -> bytes:
        """Return the reply to one request, terminator included.

        Raises RequestMalformed when nothing that follows on the connection is to be trusted, and CancelledError.
        """

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Return the last reply of a connection, after which it is closed."""


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
        """Listen at `path`, mode 0660; a socket that a former process left there is replaced.

        Raises OSError, whose filename is the path.
        """
        former = os.umask(SOCKET_UMASK)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=self._limit, backlog=BACKLOG)
        except OSError as error:
            # asyncio leaves it out, and a daemon may have more than one.
            error.filename = str(path)
            raise
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
        """Answer requests until the client leaves, sends what ends the connection, or the server stops."""
        while not self._stopping:
            self._idle.add(task)
            try:
                request = await read_request(reader, self._terminator)
                if request is None:
                    return
                self._idle.discard(task)
                self._busy.add(task)
                writer.write(await self._service.answer(request))
            except RequestMalformed as fault:
                writer.write(self._service.malformed(fault))
                return
            await writer.drain()
            self._busy.discard(task)
