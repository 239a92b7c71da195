"""A daemon's UNIX socket: requests that end in a terminator, each connection's one after another, and a clean end.

A client that is slow, or sends requests without reading replies, holds up only itself: nothing more is read from it, so
that a connection never takes more memory than twice the largest request and one reading of the socket.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from digipoort.activation import BACKLOG, listener
from digipoort.framing import RequestMalformed, Requests
from digipoort.peers import peer_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from digipoort.activation import Listener
    from digipoort.peers import Peer

# From Python 3.13 on asyncio would remove a socket's path at the end; ours goes earlier, and systemd's stays.
_LEAVE_IN_PLACE: Final[Mapping[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


class Service(Protocol):
    """What a daemon does with a request's octets."""

    async def answer(self, request: bytes) -> bytes:
        """Return the reply to one request, terminator included.

        Raises RequestMalformed when nothing that follows on the connection is to be trusted, and CancelledError.
        """

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Return the last reply of a connection, after which it is closed."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Which users' processes may ask, and who is told of another, which is not answered."""

    uids: frozenset[int]
    refused: Callable[[Peer], None]


class UnixServer:
    """The listening socket and the connections that it accepted."""

    def __init__(
        self, service: Service, *, terminator: bytes, max_request: int, admission: Admission | None = None
    ) -> None:
        """Answer requests of at most `max_request` octets, `terminator` included; without `admission`, whoever asks."""
        self._service = service
        self._admission = admission
        self._terminator = terminator
        self._max_request = max_request
        self._server: asyncio.Server | None = None
        self._listener: Listener | None = None
        self._connections: set[_Connection] = set()
        self._stopping = False

    async def start(self, path: Path, inherited: Mapping[Path, socket.socket] = MappingProxyType({})) -> None:
        """Listen at `path`, mode 0660; a socket that a former process left there is replaced.

        A socket of `inherited` (activation.inherited_sockets) for that path is taken as it is, and left in its place at
        the end. Raises OSError, whose filename is the path.
        """
        self._listener = listener(path, inherited)
        self._server = await asyncio.get_running_loop().create_unix_server(
            self._connection, sock=self._listener.socket, backlog=BACKLOG, **_LEAVE_IN_PLACE
        )

    async def stop(self, drain_seconds: float) -> int:
        """Stop listening, let requests under way finish for `drain_seconds`, and return how many were then cut off."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.remove()
        under_way = [answering for connection in self._connections if (answering := connection.finish()) is not None]
        late: set[asyncio.Task[None]] = set()
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        return len(late)

    def _connection(self) -> _Connection:
        requests = Requests(self._terminator, self._max_request)
        connection = _Connection(self._service, requests, self._max_request, self._connections, self._admission)
        if self._stopping:
            # It was accepted just before the socket was closed.
            connection.finish()
        return connection


class _Connection(asyncio.Protocol):
    """One client's connection: at most one request at a time is being answered."""

    def __init__(
        self,
        service: Service,
        requests: Requests,
        most_kept: int,
        connections: set[_Connection],
        admission: Admission | None,
    ) -> None:
        self._service = service
        self._admission = admission
        self._requests = requests
        self._most_kept = most_kept
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._answering: asyncio.Task[None] | None = None
        self._read_nothing = False  # whether the transport was told so
        self._replies_wait = False
        self._ended = False
        self._finishing = False

    def finish(self) -> asyncio.Task[None] | None:
        """Take no other request; return the task of the one under way, after which the connection is closed."""
        self._finishing = True
        if self._answering is None and self._transport is not None:
            self._transport.close()
        return self._answering

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        if self._finishing or not self._is_admitted():
            transport.close()

    def _is_admitted(self) -> bool:
        if self._admission is None or self._transport is None:
            return True
        peer = peer_of(self._transport.get_extra_info("socket"))
        if peer.uid in self._admission.uids:
            return True
        self._admission.refused(peer)
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the client; a request under way is answered for the log's sake."""
        self._transport = None
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._requests.feed(data)
        self._proceed()

    def eof_received(self) -> bool:
        """Keep the connection open: a client may close its sending side before it reads the reply."""
        self._ended = True
        self._proceed()
        return True

    def pause_writing(self) -> None:
        self._replies_wait = True

    def resume_writing(self) -> None:
        self._replies_wait = False
        self._proceed()

    def _proceed(self) -> None:
        """Begin with the next request, if one is there and its turn has come."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._answering is None and not self._replies_wait:
            try:
                request = self._requests.take()
                if request is not None:
                    # A task for each: a client with a thousand requests must not keep the others out.
                    self._answering = asyncio.get_running_loop().create_task(self._answer(request))
                elif self._ended:
                    self._requests.end()
                    self._transport.close()
            except RequestMalformed as fault:
                self._end_with(fault)
        self._read_or_not()

    def _read_or_not(self) -> None:
        """Read from a client only while there is room for what it sends."""
        if self._transport is None or self._transport.is_closing():
            return
        full = len(self._requests) > self._most_kept
        if full != self._read_nothing and not self._ended:
            self._read_nothing = full
            (self._transport.pause_reading if full else self._transport.resume_reading)()

    async def _answer(self, request: bytes) -> None:
        """Reply to a request; what no service may raise ends the connection."""
        try:
            reply = await self._service.answer(request)
        except RequestMalformed as fault:
            self._end_with(fault)
        except BaseException:
            self._close()
            raise
        else:
            self._answered(reply)

    def _answered(self, reply: bytes) -> None:
        """Write a reply and go on to the next request."""
        self._answering = None
        if self._transport is None:
            return
        self._transport.write(reply)
        if self._finishing:
            self._close()
        else:
            self._proceed()

    def _end_with(self, fault: RequestMalformed) -> None:
        if self._transport is not None:
            self._transport.write(self._service.malformed(fault))
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
