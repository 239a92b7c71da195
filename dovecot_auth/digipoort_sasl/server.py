"""The relay's UNIX socket: who may connect, how many, and a clean end. The work is in relay.py."""

from __future__ import annotations

import asyncio
import os
import pwd
from typing import TYPE_CHECKING

from digipoort.unixserver import BACKLOG, SOCKET_UMASK
from digipoort_sasl.link import Link
from digipoort_sasl.protocol import MAX_LINE_OCTETS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from digipoort_sasl.relay import Relay


def user_ids(names: Iterable[str]) -> frozenset[int]:
    """Return the numbers of the users of these names, as far as this host knows them."""
    known = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
    return frozenset(known[name] for name in names if name in known)


class RelayServer:
    """The listening socket, and a task for each connection that it took."""

    def __init__(self, relay: Relay, log: FilteringBoundLogger, *, peers: frozenset[int], max_connections: int) -> None:
        """Let only these users connect, and so many processes of theirs."""
        self._relay = relay
        self._log = log
        self._peers = peers
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self, path: Path) -> None:
        """Listen at `path`, mode 0660; a socket that a former process left there is replaced. Raises OSError."""
        former = os.umask(SOCKET_UMASK)
        try:
            self._server = await asyncio.start_unix_server(
                self._connected, path, limit=MAX_LINE_OCTETS, backlog=BACKLOG
            )
        finally:
            os.umask(former)
        self._path = path

    async def stop(self, drain_seconds: float) -> int:
        """Stop listening, let Dovecot answer logins for `drain_seconds`, and return how many were then cut off."""
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            # Before the wait: by its end the path may be the socket of the process that comes after this one.
            self._path.unlink(missing_ok=True)
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
        process, user = smtpd.peer()
        fault = ""
        if user not in self._peers:
            fault = "this user is not among SASL_PEERS"
        elif len(self._sessions) >= self._max_connections:
            fault = "there are SASL_CONNECTIONS already"
        if fault:
            self._log.warning("connection_refused", detail=fault, uid=user, pid=process)
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
