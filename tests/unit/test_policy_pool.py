"""The directory's connections: broken ones are replaced, every request gives its lane back, waiting is fair."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from digipoort.directory.pool import MAX_CONNECTION_AGE_SECONDS, DirectoryPool, DirectoryUnavailable
from digipoort.directory.servers import connect_first, connection_attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_mock import MockerFixture

BROKEN = psycopg.OperationalError("server closed the connection\n\tunexpectedly")


async def fetch_one(
    pool: DirectoryPool, query: LiteralString, parameters: dict[str, object], deadline: float
) -> tuple[object, ...] | None:
    """Ask with a deadline, as the daemons do."""
    async with asyncio.timeout(deadline):
        return await pool.fetch_one(query, parameters)


class _Server:
    """Stands for PostgreSQL: makes connections whose every statement does what `behaviour` says at that moment."""

    def __init__(self) -> None:
        self.down = False
        self.made = 0
        self.closed = 0
        self.behaviour: BaseException | float | None = None
        self.broken: set[int] = set()
        self.asked: list[str] = []
        self.asked_twice = asyncio.Event()
        # Whether a connection tells that the answer is there, and waits for `read` before it hands it over.
        self.tells_early = False
        self.read = asyncio.Event()
        self.unreadable: set[str] = set()

    async def connect(self) -> _Connection:
        if self.down:
            raise BROKEN
        self.made += 1
        return _Connection(self, self.made)


class _Connection:
    def __init__(self, server: _Server, number: int) -> None:
        self._server = server
        self._number = number

    async def fetch_one(
        self, query: LiteralString, _parameters: Mapping[str, object], free: Callable[[], None]
    ) -> tuple[Any, ...]:
        self._server.asked.append(query)
        if len(self._server.asked) > 1:
            self._server.asked_twice.set()
        if self._number in self._server.broken:
            raise BROKEN
        if isinstance(self._server.behaviour, BaseException):
            raise self._server.behaviour
        await asyncio.sleep(self._server.behaviour or 0)
        if self._server.tells_early:
            free()
            await self._server.read.wait()
        if query in self._server.unreadable:
            raise psycopg.InterfaceError("a row that cannot be read")
        return (self._number,)

    async def close(self) -> None:
        self._server.closed += 1


def test_a_connection_is_made_once_and_kept() -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 4)
        assert [await pool.fetch_one("", {}) for _ in range(5)] == [(1,)] * 5
        await pool.close()
        assert (server.made, server.closed) == (1, 1)

    asyncio.run(run())


def test_no_more_connections_than_allowed_and_waiting_is_fair() -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 3)
        server.behaviour = 0.001
        finished: list[int] = []

        async def ask(number: int) -> None:
            await pool.fetch_one("", {})
            finished.append(number)

        await asyncio.gather(*(ask(number) for number in range(60)))
        assert server.made == 3
        assert all(abs(place - number) < 6 for place, number in enumerate(finished))

    asyncio.run(run())


def test_the_next_statement_is_sent_before_an_answer_is_read() -> None:
    async def run() -> None:
        server = _Server()
        server.tells_early = True
        pool = DirectoryPool(server.connect, 1)
        asking = [asyncio.create_task(pool.fetch_one(name, {})) for name in ("first", "second")]
        async with asyncio.timeout(5):
            await server.asked_twice.wait()
        assert not any(task.done() for task in asking)
        server.read.set()
        assert await asyncio.gather(*asking) == [(1,), (1,)]
        assert server.asked == ["first", "second"]

    asyncio.run(run())


def test_who_gives_up_an_answer_that_is_there_leaves_the_connection_to_the_next() -> None:
    async def run() -> None:
        server = _Server()
        server.tells_early = True
        pool = DirectoryPool(server.connect, 1)
        first, second = (asyncio.create_task(pool.fetch_one(name, {})) for name in ("first", "second"))
        async with asyncio.timeout(5):
            await server.asked_twice.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.read.set()
        assert await second == (1,)
        assert (server.made, server.closed) == (1, 0)
        # And no lane was lost or doubled.
        assert await asyncio.gather(*(pool.fetch_one("more", {}) for _ in range(3))) == [(1,)] * 3

    asyncio.run(run())


def test_a_fault_after_the_answer_leaves_the_connection_to_the_next() -> None:
    async def run() -> None:
        server = _Server()
        server.tells_early = True
        server.unreadable = {"first"}
        pool = DirectoryPool(server.connect, 1)
        first, second = (asyncio.create_task(pool.fetch_one(name, {})) for name in ("first", "second"))
        async with asyncio.timeout(5):
            await server.asked_twice.wait()
        server.read.set()
        with pytest.raises(DirectoryUnavailable):
            await first
        assert await second == (1,)
        assert (server.made, server.closed, server.asked) == (1, 0, ["first", "second"])

    asyncio.run(run())


def test_a_restart_of_the_server_goes_unnoticed() -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 3)
        await asyncio.gather(*(pool.fetch_one("", {}) for _ in range(3)))
        server.broken = {1, 2, 3}
        rows = await asyncio.gather(*(pool.fetch_one("", {}) for _ in range(30)))
        assert {row[0] for row in rows if row} <= {4, 5, 6}
        assert (len(rows), server.closed) == (30, 3)

    asyncio.run(run())


def test_an_outage_is_over_with_the_first_request_after_it() -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 2)
        server.down = True
        for _ in range(20):
            with pytest.raises(DirectoryUnavailable, match="^server closed the connection unexpectedly$"):
                await pool.fetch_one("", {})
        server.down = False
        assert await pool.fetch_one("", {}) == (1,)

    asyncio.run(run())


def test_a_fault_on_a_fresh_connection_is_the_directorys() -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 1)
        server.behaviour = psycopg.errors.UndefinedTable("relation does not exist")
        with pytest.raises(DirectoryUnavailable, match="relation does not exist"):
            await pool.fetch_one("", {})
        assert (server.made, server.closed) == (1, 1)

    asyncio.run(run())


def test_a_parameter_that_postgresql_cannot_take_is_not_an_outage() -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 1)
        await pool.fetch_one("", {})
        server.behaviour = psycopg.DataError("NUL")
        with pytest.raises(psycopg.DataError):
            await pool.fetch_one("", {})
        assert server.made == 1

    asyncio.run(run())


def test_an_old_connection_is_renewed(mocker: MockerFixture) -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 1)
        clock = mocker.patch("digipoort.directory.pool.time.monotonic", return_value=1000.0)
        assert await pool.fetch_one("", {}) == (1,)
        clock.return_value += MAX_CONNECTION_AGE_SECONDS - 1
        assert await pool.fetch_one("", {}) == (1,)
        clock.return_value += 1
        assert await pool.fetch_one("", {}) == (2,)
        assert server.closed == 1

    asyncio.run(run())


def test_no_lane_is_lost_when_requests_are_cancelled_while_they_wait_or_ask() -> None:
    async def run() -> None:
        server = _Server()
        pool = DirectoryPool(server.connect, 2)
        server.behaviour = 0.01
        deadlines = [0.001 * (number % 30) for number in range(300)]
        outcomes = await asyncio.gather(
            *(fetch_one(pool, "", {}, deadline) for deadline in deadlines), return_exceptions=True
        )
        assert any(isinstance(outcome, TimeoutError) for outcome in outcomes)
        assert all(isinstance(outcome, tuple | TimeoutError) for outcome in outcomes)
        started = time.monotonic()
        assert len(await asyncio.gather(*(pool.fetch_one("", {}) for _ in range(4)))) == 4
        assert time.monotonic() - started < 1
        await pool.close()
        assert server.made == server.closed

    asyncio.run(run())


@pytest.mark.parametrize(
    ("dsn", "servers"),
    [
        ("dbname=d", [(None, None, None)]),
        ("host=/run/postgresql", [("/run/postgresql", None, None)]),
        ("host=a,b,c port=5432", [("a", None, "5432"), ("b", None, "5432"), ("c", None, "5432")]),
        ("host=a,b port=1,2", [("a", None, "1"), ("b", None, "2")]),
        ("host=a,b hostaddr=192.0.2.1,192.0.2.2", [("a", "192.0.2.1", None), ("b", "192.0.2.2", None)]),
        ("hostaddr=192.0.2.1,192.0.2.2", [(None, "192.0.2.1", None), (None, "192.0.2.2", None)]),
        ("postgresql://u@a:1,b:2/d", [("a", None, "1"), ("b", None, "2")]),
        ("host=a,b,c port=1,2", [("a", None, "1"), ("b", None, "2"), ("c", None, "2")]),
    ],
)
def test_each_server_of_a_dsn_is_an_attempt(dsn: str, servers: list[tuple[str | None, str | None, str | None]]) -> None:
    attempts = [conninfo_to_dict(attempt) for attempt in connection_attempts(dsn, 2.0)]
    assert [(item.get("host"), item.get("hostaddr"), item.get("port")) for item in attempts] == servers


def test_prefer_standby_takes_two_passes() -> None:
    attempts = connection_attempts("host=a,b target_session_attrs=prefer-standby", 2.0)
    parsed = [conninfo_to_dict(attempt) for attempt in attempts]
    assert [(item["host"], item["target_session_attrs"]) for item in parsed] == [
        ("a", "standby"),
        ("b", "standby"),
        ("a", "any"),
        ("b", "any"),
    ]


def test_the_dsn_has_the_last_word() -> None:
    (attempt,) = connection_attempts("options='-c statement_timeout=7' tcp_user_timeout=9 application_name=x", 2.0)
    parameters = conninfo_to_dict(attempt)
    assert parameters["options"] == "-c statement_timeout=2000 -c statement_timeout=7"
    assert (parameters["tcp_user_timeout"], parameters["application_name"]) == ("9", "x")


def test_a_server_that_never_answers_is_passed_over() -> None:
    async def run() -> None:
        with socket.socket() as silent, socket.socket() as refusing:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            refusing.bind(("127.0.0.1", 0))
            ports = f"{silent.getsockname()[1]},{refusing.getsockname()[1]}"
            attempts = connection_attempts(f"host=127.0.0.1,127.0.0.1 port={ports}", 2.0)
            started = time.monotonic()
            with pytest.raises(psycopg.OperationalError, match="refused"):
                await connect_first(attempts, 0.2)
            assert 0.2 <= time.monotonic() - started < 1
            with pytest.raises(psycopg.errors.ConnectionTimeout):
                await connect_first(attempts[:1], 0.1)

    asyncio.run(run())
