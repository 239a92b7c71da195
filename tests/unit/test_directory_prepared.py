"""One prepared connection on a real PostgreSQL: rows and types, faults, cut connections, requests that are given up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from digipoort.directory import queries
from digipoort.directory.pool import PLANNING, DirectoryPool, open_pool
from digipoort.directory.prepared import PreparedConnection, Statement, numbered
from digipoort.directory.servers import connect_first, connection_attempts
from tests.unit.directory_samples import HASH, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@contextlib.asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[PreparedConnection]:
    connection = PreparedConnection(await connect_first([dsn], 5))
    try:
        yield connection
    finally:
        await connection.close()


def _run(dsn: str, scenario: Callable[[PreparedConnection], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), _connected(dsn) as connection:
            await scenario(connection)

    asyncio.run(run())


def _terminate(dsn: str, process: object) -> None:
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [process])


@pytest.mark.parametrize(
    ("query", "sql", "names"),
    [
        ("SELECT 1", b"SELECT 1", ()),
        ("SELECT %(a)s, %(b)s, %(a)s", b"SELECT $1, $2, $1", ("a", "b")),
        ("SELECT 7 %% %(a)s", b"SELECT 7 % $1", ("a",)),
        ("SELECT 'é' || %(a)s::text", "SELECT 'é' || $1::text".encode(), ("a",)),
    ],
)
def test_placeholders_become_numbers(query: LiteralString, sql: bytes, names: tuple[str, ...]) -> None:
    assert numbered(query) == Statement(sql, names)


def test_values_keep_their_types(empty_database: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        row = await connection.fetch_one(
            "SELECT %(text)s::text, %(number)s + 1, %(octets)s::bytea, %(day)s::date + %(window)s, %(yes)s,"
            " %(none)s::text, ARRAY['a', 'b']",
            {
                "text": "é'\\", "number": 2**40, "octets": b"\0\xff", "day": date(2026, 1, 31),
                "window": timedelta(days=1), "yes": True, "none": None,
            },
        )  # fmt: skip
        assert row is not None
        assert row[:3] == ("é'\\", 2**40 + 1, b"\0\xff")
        assert row[3].date() == date(2026, 2, 1)
        assert row[4:] == (True, None, ["a", "b"])

    _run(empty_database, scenario)


def test_a_statement_without_rows_gives_none(empty_database: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        assert await connection.fetch_one("SELECT 1 WHERE %(yes)s", {"yes": False}) is None
        assert await connection.fetch_one("SELECT 1 WHERE %(yes)s", {"yes": True}) == (1,)

    _run(empty_database, scenario)


@pytest.mark.parametrize("numbers", [(1, 40_000, 2**40, 2), ("1", "40000", "5", "2")])
def test_a_statement_takes_values_of_any_size(empty_database: str, numbers: tuple[object, ...]) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        for number in numbers:
            assert await connection.fetch_one("SELECT %(number)s::bigint", {"number": number}) == (int(str(number)),)

    _run(empty_database, scenario)


def test_only_the_first_row_counts_and_the_next_answer_is_the_next_one_s(empty_database: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        for first in range(1, 4):
            row = await connection.fetch_one("SELECT generate_series(%(first)s, 50000)", {"first": first})
            assert row == (first,)

    _run(empty_database, scenario)


def test_more_than_the_socket_takes_at_once_is_sent(empty_database: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        text = "x" * 20_000_000
        assert await connection.fetch_one("SELECT length(%(text)s::text)", {"text": text}) == (len(text),)

    _run(empty_database, scenario)


@pytest.mark.parametrize(
    ("query", "value", "fault"),
    [
        ("SELECT * FROM nowhere WHERE %(value)s", True, psycopg.errors.UndefinedTable),
        ("SELECT %(value)s::int", "seven", psycopg.errors.InvalidTextRepresentation),
        ("SELECT %(value)s::text", "a\0b", psycopg.DataError),
        ("SELECT 1 / (series - %(value)s) FROM generate_series(1, 9) AS series", 5, psycopg.errors.DivisionByZero),
        ("SELECT pg_sleep(5) WHERE %(value)s", True, psycopg.errors.QueryCanceled),
    ],
)
def test_a_fault_is_the_server_s_own(
    empty_database: str, query: LiteralString, value: object, fault: type[psycopg.Error]
) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        await connection.fetch_one("SET statement_timeout = '300ms'", {})
        with pytest.raises(fault):
            await connection.fetch_one(query, {"value": value})
        assert await connection.fetch_one("SELECT 1", {}) == (1,)

    _run(empty_database, scenario)


def test_a_connection_that_is_cut_fails_at_once_and_for_good(empty_database: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        row = await connection.fetch_one("SELECT pg_backend_pid()", {})
        assert row is not None
        asking = asyncio.create_task(connection.fetch_one("SELECT pg_sleep(20)", {}))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(_terminate, empty_database, row[0])
        begun = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            await asking
        with pytest.raises(psycopg.OperationalError):
            await connection.fetch_one("SELECT 1", {})
        assert time.monotonic() - begun < 5

    _run(empty_database, scenario)


def test_a_connection_that_is_cut_while_idle_costs_no_time(empty_database: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        row = await connection.fetch_one("SELECT pg_backend_pid()", {})
        assert row is not None
        await asyncio.to_thread(_terminate, empty_database, row[0])
        await asyncio.sleep(0.1)
        spent = sum(os.times()[:2])
        await asyncio.sleep(1)
        assert sum(os.times()[:2]) - spent < 0.5
        with pytest.raises(psycopg.OperationalError):
            await connection.fetch_one("SELECT 1", {})

    _run(empty_database, scenario)


async def _pids(pool: DirectoryPool) -> object:
    row = await pool.fetch_one("SELECT pg_backend_pid()", {})
    return row[0] if row else None


def test_a_place_is_free_as_soon_as_the_answer_is_there_and_not_when_it_is_a_fault(empty_database: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        told: list[str] = []
        assert await connection.fetch_one("SELECT 1", {}, lambda: told.append("answer")) == (1,)
        assert told == ["answer"]
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.fetch_one("SELECT 1 / 0", {}, lambda: told.append("fault"))
        assert told == ["answer"]

    _run(empty_database, scenario)


def test_the_pool_replaces_a_connection_that_was_cut_or_given_up(empty_database: str) -> None:
    async def run() -> None:
        pool = open_pool(empty_database, 1, 5.0)
        first = await _pids(pool)
        await asyncio.to_thread(_terminate, empty_database, first)
        second = await _pids(pool)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await pool.fetch_one("SELECT pg_sleep(3)", {})
        third = await _pids(pool)
        assert len({first, second, third}) == 3
        await pool.close()

    asyncio.run(run())


def test_a_table_that_gets_another_column_between_two_requests(empty_database: str) -> None:
    async def run() -> None:
        with psycopg.connect(empty_database, autocommit=True) as owner:
            owner.execute("CREATE TABLE growing AS SELECT 1 AS one")
            pool = open_pool(empty_database, 1, 5.0)
            assert await pool.fetch_one("SELECT * FROM growing", {}) == (1,)
            owner.execute("ALTER TABLE growing ADD COLUMN two int DEFAULT 2")
            assert await pool.fetch_one("SELECT * FROM growing", {}) == (1, 2)
            await pool.close()
            owner.execute("DROP TABLE growing")

    asyncio.run(run())


def test_the_statements_that_decide_can_be_prepared(directory_dsn: str) -> None:
    async def scenario(connection: PreparedConnection) -> None:
        asked = {"sender": "a@b.test", "recipient": "c@d.test", "timezone": "Europe/Amsterdam", "day": None}
        for _ in range(2):
            assert await connection.fetch_one(queries.ACCEPTANCE, asked) == (None, None, None, None, 0, False)
            nobody = dict.fromkeys(("login", "fingerprint", "subject", "sender", "day")) | {"timezone": "UTC"}
            assert await connection.fetch_one(queries.SUBMISSION, nobody) == (
                *(None, None, True, False, [], None, None, None),
                False,
            )

    _run(directory_dsn, scenario)


SUBMITTING: dict[str, object] = {
    **dict.fromkeys(("login", "fingerprint", "subject", "day")),
    "sender": "a4000@party.test",
    "timezone": "Europe/Amsterdam",
}
_ADDRESSES: LiteralString = """
INSERT INTO address (address, party_id, party_kind, target_id)
SELECT 'a' || number || '@party.test', party_id, party_kind, id
FROM target, generate_series(1, 5000) AS number WHERE mailbox = 'b0b0'
"""


@pytest.mark.parametrize(
    ("query", "values", "first"),
    [
        (queries.SUBMISSION, {**SUBMITTING, "login": "aal"}, "aal"),
        (queries.SUBMISSION, {**SUBMITTING, "fingerprint": "AB:CD", "subject": "Bloemen"}, None),
        (queries.AUTHENTICATION, {"login": "aal", "timezone": "Europe/Amsterdam"}, HASH),
        (
            queries.ACCEPTANCE,
            {"sender": "a4000@party.test", "recipient": "ags@gov.test", "timezone": "Europe/Amsterdam", "day": None},
            "private",
        ),
    ],
)
def test_what_was_planned_for_a_small_directory_reads_a_large_one_by_its_indexes(
    directory_dsn: str, query: LiteralString, values: dict[str, object], first: str | None
) -> None:
    async def run() -> None:
        await asyncio.to_thread(fill, directory_dsn)
        with psycopg.connect(directory_dsn, autocommit=True) as owner:
            owner.execute("ANALYZE")
            attempts = connection_attempts(directory_dsn, 5.0, PLANNING)
            connection = PreparedConnection(await connect_first(attempts, 5))
            for _ in range(10):
                await connection.fetch_one(query, values)
            owner.execute(_ADDRESSES)
        row = await connection.fetch_one(query, values)
        assert row is not None
        assert row[0] == first
        literals = ", ".join("NULL" if values[name] is None else f"'{values[name]}'" for name in numbered(query).names)
        plan = await connection.fetch_one(f"EXPLAIN (FORMAT JSON) EXECUTE s0 ({literals})", {})
        assert plan is not None
        assert "Index Scan" in str(plan)
        assert "Seq Scan" not in str(plan)
        assert str(plan).count("credential_certificate") == (3 if query == queries.SUBMISSION else 0)
        await connection.close()

    asyncio.run(run())
