"""Connections to the directory for daemons that answer many clients from one event loop.

Not built on psycopg_pool: Debian 12's version (3.1.5) doubles the wait between two attempts to reconnect for as long as
an outage lasts, and loses a connection for good when a request that waits for one is cancelled at its deadline
(docs/decisions/0006). Here nothing runs in the background. There are as many lanes as connections are
allowed; a request borrows a lane, and the lane opens its connection when it has none that works. So the first request
after an outage is served, and whatever happens to a request, its lane comes back.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import psycopg

from digipoort.directory.prepared import PreparedConnection
from digipoort.directory.servers import connect_first, connection_attempts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import LiteralString

    from digipoort.directory.servers import Row

    # What DirectoryPool.fetch_one is, for those who are handed it or something in its place.
    Fetch: TypeAlias = Callable[[LiteralString, Mapping[str, object]], Awaitable[Row | None]]

# Connections are renewed so that a host returns to the first server of its DSN after that was away.
MAX_CONNECTION_AGE_SECONDS: Final = 600.0
# A statement is planned once, with the indexes that it is written for, and not with what little the tables held on that
# day: a directory that grows by a million addresses must not be read from end to end until ANALYZE has seen it.
PLANNING: Final = MappingProxyType({"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"})


class DirectoryUnavailable(Exception):  # noqa: N818 - a state of affairs, as the log event of the same name
    """The directory gave no answer: it is down, it refused the connection, or it lacks what the statement reads."""


class Asked(Protocol):
    """What the pool needs of a connection: PreparedConnection's methods."""

    async def fetch_one(
        self, query: LiteralString, parameters: Mapping[str, object], free: Callable[[], None]
    ) -> Row | None:
        """Return the first row of a statement, or None when it has no rows; `free` may be called when it is known.

        Raises psycopg.Error.
        """

    async def close(self) -> None:
        """Close it, whatever state it is in."""


class DirectoryPool:
    """At most `connections` connections, each lent to one request at a time; who finds none free waits its turn."""

    def __init__(self, connect: Callable[[], Awaitable[Asked]], connections: int) -> None:
        """Open nothing yet: `connect` is awaited when a request needs a connection."""
        self._lanes = [_Lane(connect) for _ in range(connections)]
        self._free = list(self._lanes)
        # Not a queue: asyncio's lets a newcomer overtake those who wait, who are then put back at its end.
        self._turn = asyncio.Semaphore(connections)

    async def fetch_one(self, query: LiteralString, parameters: Mapping[str, object]) -> Row | None:
        """Return the first row of a statement, or None when it has no rows; has no deadline, but may be cancelled.

        A connection that fails (the server was restarted, a migration changed a prepared statement's result) is
        replaced and the statement is sent once more: it must only read, or change nothing the second time. Raises
        DirectoryUnavailable when that fails too, and psycopg.DataError when a parameter is one that PostgreSQL cannot
        take.
        """
        await self._turn.acquire()
        # The one used last is the one most likely to be connected.
        loan = _Loan(self._free.pop(), self._free, self._turn)
        try:
            return await loan.lane.fetch_one(query, parameters, loan)
        except psycopg.DataError:
            raise
        except psycopg.Error as error:
            raise DirectoryUnavailable(" ".join(str(error).split()) or type(error).__name__) from error
        finally:
            loan.end()

    async def close(self) -> None:
        """Close every connection; a request that is still under way fails."""
        for lane in self._lanes:
            await lane.close()


@dataclass(slots=True)
class _Loan:
    """A lane in one request's hands; it ends when the answer is there, however late the request takes note of it."""

    lane: _Lane
    free: list[_Lane]
    turn: asyncio.Semaphore
    over: bool = False

    def end(self) -> None:
        """Let the next request have the lane; a second time nothing happens."""
        if not self.over:
            self.over = True
            self.free.append(self.lane)
            self.turn.release()


class _Lane:
    """One connection at most."""

    def __init__(self, connect: Callable[[], Awaitable[Asked]]) -> None:
        self._connect = connect
        self._connection: Asked | None = None
        self._renew_at = 0.0

    async def fetch_one(self, query: LiteralString, parameters: Mapping[str, object], loan: _Loan) -> Row | None:
        """Ask over the connection there is; over a new one if there is none, or it turns out to be broken."""
        if self._connection is not None and time.monotonic() < self._renew_at:
            try:
                return await self._ask(self._connection, query, parameters, loan)
            except psycopg.DataError:
                raise
            except psycopg.Error:
                if loan.over:
                    raise
                # Whatever it was, a connection with a past is not evidence against the directory; a fresh one is.
        await self.close()
        self._connection = await self._connect()
        self._renew_at = time.monotonic() + MAX_CONNECTION_AGE_SECONDS
        return await self._ask(self._connection, query, parameters, loan)

    async def _ask(
        self, connection: Asked, query: LiteralString, parameters: Mapping[str, object], loan: _Loan
    ) -> Row | None:
        try:
            return await connection.fetch_one(query, parameters, loan.end)
        except BaseException:
            # Cancelled in the middle, or failed: a late answer must never be taken for that of the next request. When
            # the answer was there, the connection is another request's already.
            if not loan.over:
                await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def open_pool(dsn: str, connections: int, deadline: float) -> DirectoryPool:
    """Return a pool over the libpq conninfo `dsn` for requests that have `deadline` seconds; connects on first use.

    Every server of the DSN gets an equal share of the deadline to connect in, and the statement the last one.
    """
    attempts = connection_attempts(dsn, deadline, PLANNING)
    share = deadline / (len(attempts) + 1)

    async def connect() -> PreparedConnection:
        return PreparedConnection(await connect_first(attempts, share))

    return DirectoryPool(connect, connections)
