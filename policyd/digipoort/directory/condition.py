"""In what condition a server of the directory is, for `digipoort doctor`: asks, and judges nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg import errors

from digipoort.directory import queries

if TYPE_CHECKING:
    from datetime import date

    from psycopg import Connection
    from psycopg.rows import TupleRow

GRACE_SECONDS: Final = 2.0
ENDING_DAYS: Final = 14
_MOST_NAMED: Final = 5
_LOOK_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Lag:
    """Whether a standby replays: is it behind what it has received, and for how long has it replayed no transaction.

    `idle_seconds` is None when it has not replayed any since it was started.
    """

    behind_received: bool
    paused: bool
    idle_seconds: float | None


@dataclass(frozen=True, slots=True)
class Ending:
    """The credentials that are good and end within ENDING_DAYS: how many, and the first of them with their last day."""

    total: int
    first: tuple[tuple[str, date], ...]


@dataclass(frozen=True, slots=True)
class Server:
    """What a server tells of itself and of the role that asks; what the role may not see is None.

    `clock_ahead` is in seconds, negative when this host's clock is ahead; `lag` is None for a primary; `day` is today
    in the time zone that was asked about, None when the server does not know that.
    """

    host: str
    version: str
    standby: bool
    read_only: bool
    role: str
    round_trip_ms: float
    clock_ahead: float
    migrations: frozenset[str] | None
    counter: int | None
    writable: tuple[str, ...]
    reads_hashes: bool
    day: date | None
    lag: Lag | None
    ending: Ending | None = None


def observe(connection: Connection[TupleRow], timezone: str, expected: int | None = None) -> Server:
    """Return the condition of the server of an autocommit connection; `expected` is the change it should have reached.

    A standby gets GRACE_SECONDS to reach it, and to replay what it has received: something is always under way. Raises
    psycopg.Error.
    """
    began, started = time.time(), time.perf_counter()
    role, version, standby, read_only, clock = _row(connection, queries.SERVER)
    took = time.perf_counter() - started
    lag = _caught_up(connection, expected) if standby else None
    counter = _visible(connection, queries.CHANGE_COUNTER)
    return Server(
        host=f"{connection.info.host}:{connection.info.port}",
        version=version,
        standby=standby,
        read_only=read_only,
        role=role,
        round_trip_ms=took * 1000,
        clock_ahead=clock.timestamp() - (began + took / 2),
        migrations=_migrations(connection),
        counter=counter,
        writable=tuple(name for (name,) in connection.execute(queries.WRITABLE_TABLES)),
        reads_hashes=bool(_visible(connection, queries.READS_SECRETS)),
        day=_day(connection, timezone),
        lag=lag,
        ending=_ending(connection, timezone),
    )


def _caught_up(connection: Connection[TupleRow], expected: int | None) -> Lag:
    """Return a standby's lag, once there is none or its time is over."""
    until = time.monotonic() + GRACE_SECONDS
    (received,) = _row(connection, queries.RECEIVED)
    while True:
        replayed, paused, idle_seconds = _row(connection, queries.REPLAY, received=received)
        counter = _visible(connection, queries.CHANGE_COUNTER)
        reached = expected is None or counter is None or counter >= expected
        if (replayed and reached) or time.monotonic() > until:
            return Lag(not replayed, paused, idle_seconds)
        time.sleep(_LOOK_PAUSE)


def _migrations(connection: Connection[TupleRow]) -> frozenset[str] | None:
    """Return the names of the migrations applied, None when the role may not see them."""
    try:
        return frozenset(name for (name,) in connection.execute(queries.MIGRATIONS_APPLIED))
    except errors.UndefinedTable:
        return frozenset()
    except errors.InsufficientPrivilege:
        return None


def _day(connection: Connection[TupleRow], timezone: str) -> date | None:
    try:
        (day,) = _row(connection, queries.DAY_IN_TIMEZONE, timezone=timezone)
    except errors.DataError:
        return None
    return day  # type: ignore[no-any-return]


def _ending(connection: Connection[TupleRow], timezone: str) -> Ending | None:
    """Return the credentials that end soon, None when the role may not see them or there are none yet."""
    values = {"timezone": timezone, "days": ENDING_DAYS, "most": _MOST_NAMED}
    try:
        rows = connection.execute(queries.ENDING_CREDENTIALS, values).fetchall()
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.InsufficientPrivilege, errors.DataError):
        return None
    return Ending(rows[0][0] if rows else 0, tuple((login, last) for _, login, last in rows))


def _visible(connection: Connection[TupleRow], query: LiteralString) -> Any:  # noqa: ANN401 - the column's type
    """Return the one value of a statement, None when it is not there or the role may not see it."""
    try:
        row = connection.execute(query).fetchone()
    except (errors.UndefinedTable, errors.InsufficientPrivilege):
        return None
    return row[0] if row else None


def _row(connection: Connection[TupleRow], query: LiteralString, **parameters: object) -> TupleRow:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise errors.NoData("The server's answer has no row.")
    return row
