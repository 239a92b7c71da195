"""Migrating while others use the directory: it waits for nobody for long, tries again, and gives up with a sentence."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from digipoort.directory import queries
from digipoort.directory.migrate import Migration, migrate, packaged_migrations
from digipoort.directory.session import DirectoryFaultError
from tests.unit.directory_samples import digipoort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

REQUEST_DEADLINE = 2.0  # seconds that a policy request has, by default
EXCLUSIVE = Migration("9000_exclusive", b"ALTER TABLE party ADD COLUMN later int")


@contextlib.contextmanager
def holding(dsn: str, statement: LiteralString) -> Iterator[Connection[TupleRow]]:
    """Yield a connection with an open transaction that has run a statement."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)
        yield connection
        connection.rollback()


def applied(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute(queries.MIGRATIONS_APPLIED)}


def longest_read(dsn: str, stop: threading.Event) -> float:
    """Read a table again and again until `stop`; return the seconds of the read that took longest."""
    longest = 0.0
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not stop.wait(0.01):
            started = time.perf_counter()
            connection.execute("SELECT count(*) FROM party")
            longest = max(longest, time.perf_counter() - started)
    return longest


def test_it_tries_again_and_holds_up_no_request_for_its_deadline(directory_dsn: str) -> None:
    stop = threading.Event()
    with (
        holding(directory_dsn, "SELECT FROM party") as blocker,
        ThreadPoolExecutor() as pool,
        psycopg.connect(directory_dsn, autocommit=True) as connection,
    ):
        reading = pool.submit(longest_read, directory_dsn, stop)
        release = threading.Timer(2.5, blocker.rollback)
        release.start()
        try:
            assert migrate(connection, [*packaged_migrations(), EXCLUSIVE], [0.2] * 10) == [EXCLUSIVE.name]
        finally:
            stop.set()
            release.join()
        # Requests did queue behind it, or the test would show nothing.
        assert 0.5 < reading.result() < REQUEST_DEADLINE


def test_it_gives_up_and_leaves_nothing_behind(directory_dsn: str) -> None:
    steps = [*packaged_migrations(), Migration("8999_before", b"SELECT"), EXCLUSIVE]
    with (
        holding(directory_dsn, "SELECT FROM party"),
        psycopg.connect(directory_dsn, autocommit=True) as connection,
        pytest.raises(DirectoryFaultError, match="9000_exclusive was not applied: at 2 attempts") as caught,
    ):
        migrate(connection, steps, [0.1])
    assert caught.value.temporary
    assert applied(directory_dsn) == {step.name for step in steps} - {EXCLUSIVE.name}
    with psycopg.connect(directory_dsn, autocommit=True) as connection:
        assert migrate(connection, steps) == [EXCLUSIVE.name]


def test_a_deadlock_is_another_reason_to_try_again(directory_dsn: str) -> None:
    crossing = Migration(
        "9001_crossing",
        b"SET LOCAL deadlock_timeout = '50ms'; LOCK TABLE party; SELECT pg_sleep(0.4); LOCK TABLE flow",
    )
    with (
        holding(directory_dsn, "LOCK TABLE flow") as other,
        ThreadPoolExecutor() as pool,
        psycopg.connect(directory_dsn, autocommit=True) as connection,
    ):
        migrating = pool.submit(migrate, connection, [*packaged_migrations(), crossing], [0.5])
        time.sleep(0.2)
        other.execute("LOCK TABLE party")
        other.rollback()
        assert migrating.result() == [crossing.name]


def test_the_admin_is_told_to_try_later(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        migrate(connection, packaged_migrations()[:3])
    pauses: list[float] = []
    with holding(empty_database, "SELECT FROM destination"):
        monkeypatch.setattr(time, "sleep", pauses.append)
        result = digipoort(empty_database, "migrate")
        monkeypatch.undo()
    assert result.exit_code == os.EX_TEMPFAIL
    assert result.stderr.startswith("digipoort: 0004_transport was not applied: at 8 attempts other transactions ")
    assert sum(pauses) > 60
    assert digipoort(empty_database, "migrate").stdout.startswith("applied 0004_transport\n")
