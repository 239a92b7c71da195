"""The server over a real UNIX socket, with a directory that is slow, hangs, or fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from digipoort import log
from digipoort.settings import PolicydSettings
from digipoort.unixserver import UnixServer
from digipoort_policyd.protocol import END_OF_REQUEST, MAX_REQUEST_OCTETS
from digipoort_policyd.service import PolicyService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

ALLOWED = b"action=DUNNO\n\n"
ROW = ("private", "government", "AGS", 1000, 1, True)


def _request(sender: bytes) -> bytes:
    return (
        b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=acceptance\nsender=%b@handel.example\n"
        b"recipient=ags@overheid.example\n\n" % sender
    )


async def _directory(_query: str, parameters: Mapping[str, object]) -> tuple[Any, ...]:
    """Do what the sender's local part says."""
    match str(parameters["sender"]).partition("@")[0]:
        case "slow":
            await asyncio.sleep(0.2)
        case "hang":
            await asyncio.Event().wait()
        case "raise":
            raise RuntimeError
        case "nobody":
            return (None, "government", "AGS", 1000, 0, False)
        case _:
            await asyncio.sleep(0)
    return ROW


@contextlib.asynccontextmanager
async def _serving(path: Path, *, deadline: float = 5.0) -> AsyncIterator[UnixServer]:
    logger = log.wrap(logging.getLogger("policy-test"))
    service = PolicyService(_directory, logger, PolicydSettings(logical_domains=(), request_deadline=deadline))
    server = UnixServer(service, terminator=END_OF_REQUEST, max_request=MAX_REQUEST_OCTETS)
    await server.start(path)
    yield server
    await server.stop(drain_seconds=0)


@contextlib.asynccontextmanager
async def _client(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _ask(path: Path, *requests: bytes) -> list[bytes]:
    """Send all requests at once on one connection and return as many replies."""
    async with _client(path) as (reader, writer):
        writer.write(b"".join(requests))
        return [await reader.readuntil(b"\n\n") for _ in requests]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the socket is."""
    return tmp_path / "policyd.sock"


def test_pipelined_requests_are_answered_in_order(path: Path) -> None:
    async def run() -> None:
        async with _serving(path, deadline=0.3):
            senders = [b"slow", b"a", b"nobody", b"raise", b"hang", b"b"]
            replies = await _ask(path, *map(_request, senders))
            assert [reply.partition(b"DGP-")[2][:4] for reply in replies] == [b"", b"", b"2006", b"9007", b"9002", b""]

    asyncio.run(run())


def test_a_hanging_request_stalls_no_other_client(path: Path) -> None:
    async def run() -> None:
        async with _serving(path):
            hanging = [asyncio.create_task(_ask(path, _request(b"hang"))) for _ in range(20)]
            await asyncio.sleep(0.05)
            started = time.perf_counter()
            assert await _ask(path, *[_request(b"a")] * 50) == [ALLOWED] * 50
            assert time.perf_counter() - started < 1
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)

    asyncio.run(run())


def test_a_client_that_reads_no_replies_is_not_read_from(path: Path) -> None:
    async def run() -> None:
        async with _serving(path), _client(path) as (_, writer):
            writer.write(_request(b"a") * 40_000)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 1)
            assert await _ask(path, _request(b"a")) == [ALLOWED]

    asyncio.run(run())


def test_a_thousand_bad_requests_keep_nobody_out(path: Path) -> None:
    async def run() -> None:
        async with _serving(path), _client(path) as (_, writer):
            writer.write(b"\n" * MAX_REQUEST_OCTETS * 2)
            await asyncio.sleep(0)
            started = time.perf_counter()
            assert await _ask(path, _request(b"a")) == [ALLOWED]
            assert time.perf_counter() - started < 1

    asyncio.run(run())


@pytest.mark.parametrize("garbage", [b"\0" * (MAX_REQUEST_OCTETS + 1), b"x=" + b"y" * 200_000, _request(b"a")[:-1]])
def test_what_cannot_be_understood_is_answered_and_ends_the_connection(path: Path, garbage: bytes) -> None:
    async def run() -> None:
        async with _serving(path), _client(path) as (reader, writer):
            writer.write(_request(b"a") + garbage)
            writer.write_eof()
            assert await reader.readuntil(b"\n\n") == ALLOWED
            assert (await reader.readuntil(b"\n\n")).startswith(b"action=451 4.3.5 DGP-9003 ")
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""

    asyncio.run(run())


def test_the_longest_request_is_read_and_one_octet_more_is_not(path: Path) -> None:
    async def run() -> None:
        async with _serving(path):
            head, end = _request(b"a").removesuffix(END_OF_REQUEST) + b"\nx=", END_OF_REQUEST
            room = MAX_REQUEST_OCTETS - len(head + end)
            assert await _ask(path, head + b"y" * room + end) == [ALLOWED]
            (refusal,) = await _ask(path, head + b"y" * (room + 1) + end)
            assert refusal.startswith(b"action=451 4.3.5 DGP-9003 ")

    asyncio.run(run())


def test_a_malformed_request_in_its_frame_does_not_end_the_connection(path: Path) -> None:
    async def run() -> None:
        async with _serving(path):
            bad, good = await _ask(path, b"no equals sign\n\n", _request(b"a"))
            assert bad.startswith(b"action=451 4.3.5 DGP-9003 ")
            assert good == ALLOWED

    asyncio.run(run())


def test_a_stale_socket_is_replaced_and_removed_at_the_end(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))

    async def run() -> None:
        async with _serving(path):
            assert await _ask(path, _request(b"a")) == [ALLOWED]

    asyncio.run(run())
    assert not path.exists()


def test_stop_lets_requests_under_way_finish(path: Path) -> None:
    async def run() -> None:
        async with _serving(path) as server, _client(path) as (idle, _):
            under_way = asyncio.create_task(_ask(path, _request(b"slow")))
            await asyncio.sleep(0.05)
            assert await server.stop(drain_seconds=5) == 0
            assert await under_way == [ALLOWED]
            assert await idle.read() == b""
            with pytest.raises(OSError, match="policyd.sock|such file"):
                await asyncio.open_unix_connection(path)

    asyncio.run(run())


def test_stop_cuts_off_what_outlives_the_drain(path: Path) -> None:
    async def run() -> None:
        async with _serving(path) as server:
            under_way = asyncio.create_task(_ask(path, _request(b"hang")))
            await asyncio.sleep(0.05)
            started = time.perf_counter()
            assert await server.stop(drain_seconds=0.1) == 1
            assert time.perf_counter() - started < 1
            with pytest.raises(asyncio.IncompleteReadError):
                await under_way

    asyncio.run(run())
