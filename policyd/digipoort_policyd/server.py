"""Serves policy requests on a UNIX socket: one task per connection, its requests one after another, and a clean end.

A client that is slow, or sends requests without reading replies, holds only its own task: the stream stops reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from digipoort_policyd.protocol import MAX_REQUEST_OCTETS, RequestMalformed, read_request

if TYPE_CHECKING:
    from pathlib import Path

    from digipoort_policyd.service import PolicyService

# Every smtpd process has a connection of its own, and all of them connect at once after a restart.
BACKLOG: Final = 1024


class PolicyServer:
    """The listening socket and the connections that it accepted."""

    def __init__(self, service: PolicyService) -> None:
        """Serve what `service` answers."""
        self._service = service
        self._server: asyncio.Server | None = None
        self._idle: set[asyncio.Task[object]] = set()
        self._busy: set[asyncio.Task[object]] = set()
        self._stopping = False

    async def start(self, path: Path) -> None:
        """Listen at `path`; a socket that a former process left there is replaced. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._serve, path, limit=MAX_REQUEST_OCTETS, backlog=BACKLOG)

    async def stop(self, path: Path, drain_seconds: float) -> int:
        """Stop listening, let requests under way finish for `drain_seconds`, and return how many were then cut off."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        path.unlink(missing_ok=True)
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
        """Answer requests until the client leaves, sends what cannot be understood, or the server stops."""
        while not self._stopping:
            self._idle.add(task)
            try:
                block = await read_request(reader)
            except RequestMalformed as fault:
                writer.write(self._service.refuse_malformed(fault))
                return
            if block is None:
                return
            self._idle.discard(task)
            self._busy.add(task)
            writer.write(await self._service.answer(block))
            await writer.drain()
            self._busy.discard(task)
