"""The relay's UNIX socket: who may connect, how many, and a clean end. The work is in relay.py."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING

from digipoort.activation import BACKLOG, listener
from digipoort_sasl.link import Link
from digipoort_sasl.protocol import MAX_LINE_OCTETS

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from digipoort.activation import Listener
    from digipoort_sasl.relay import Relay


class RelayServer:
    """The listening socket, and a task for each connection that it took."""

    def __init__(self, relay: Relay, log: FilteringBoundLogger, *, peers: frozenset[int], max_connections: int) -> None:
        """Let only these users connect, and so many processes of theirs."""
        self._relay = relay
        self._log = log
        self._peers = peers
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._listener: Listener | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self, path: Path, inherited: Mapping[Path, socket.socket] = MappingProxyType({})) -> None:
        """Listen at `path`, mode 0660; a socket that a former process left there is replaced. Raises OSError.

        A socket of `inherited` (activation.inherited_sockets) for that path is taken as it is, and left in its place.
        """
        self._listener = listener(path, inherited)
        self._server = await asyncio.start_server(
            self._connected, sock=self._listener.socket, limit=MAX_LINE_OCTETS, backlog=BACKLOG
        )

    async def stop(self, drain_seconds: float) -> int:
        """Stop listening, let Dovecot answer logins for `drain_seconds`, and return how many were then cut off."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.remove()
        asking = self._relay.finish()
        for task in self._sessions.difference(asking):
            task.cancel()
        late: set[asyncio.Task[None]] = set()
        if asking:
            _, late = await asyncio.wait(asking, timeout=drain_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        return len(late)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        smtpd = Link(reader, writer)
        if self._stopping:
            # It was accepted just before the socket was closed.
            smtpd.close()
            return
        peer = smtpd.peer()
        if peer.uid not in self._peers:
            self._log.warning("peer_refused", uid=peer.uid, pid=peer.pid)
            smtpd.close()
            return
        if len(self._sessions) >= self._max_connections:
            self._log.warning("connections_exhausted", limit=self._max_connections, pid=peer.pid)
            smtpd.close()
            return
        task = asyncio.get_running_loop().create_task(self._attend(smtpd))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _attend(self, smtpd: Link) -> None:
        try:
            await self._relay.attend(smtpd)
        finally:
            smtpd.close()
