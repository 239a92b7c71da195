"""authd on a real UNIX socket, with functions in place of the directory: each way a login can end, and its log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import stat
import time
from typing import TYPE_CHECKING

import pytest

from digipoort import log
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.passwords import hash_password
from digipoort.unixserver import UnixServer
from digipoort_auth.authentication import Credential, Found
from digipoort_auth.checkpassword import request as request_line
from digipoort_auth.hashing import HashWorkers
from digipoort_auth.limits import Limits, Policy
from digipoort_auth.protocol import MAX_LINE_OCTETS
from digipoort_auth.service import AuthService, Directory, Parts
from digipoort_auth.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from digipoort_auth.authentication import Find

# Only one test waits for it; on a busy machine a login takes half a second.
DEADLINE = 4.0
# Most of these tests are one client that does what a thousand do.
NO_LIMIT = Policy(free_pair=100_000, free_network=0, free_login=0)
LOOKUP = b"DIGIPOORT-AUTH/1\tlookup\tlogin=%b\n"
ACCEPTED = b"ok\tlogin=trader\tmailbox=abcd1234\n"
DECOY = hash_password(b"decoy")
TRADER = Credential(hash_password(b"secret"), ("pop3",), active=True, mailbox="abcd1234")
CREDENTIALS = {
    "trader": TRADER,
    "former": Credential(TRADER.password_hash, ("pop3",), active=False, mailbox="efgh5678"),
    "legacy": Credential("$6$salt$hash", ("pop3",), active=True, mailbox="ijkl9012"),
}


async def find(login: str) -> Credential | None:
    if login == "hangs":
        await asyncio.sleep(60)
    if login == "slow":
        await asyncio.sleep(0.2)
        return TRADER
    if login == "fault":
        raise ZeroDivisionError
    return CREDENTIALS.get(login)


async def find_name(name: str) -> Found | None:
    await find(name)
    return Found("abcd1234") if name in {"trader", "abcd1234"} else None


@contextlib.asynccontextmanager
async def authd(
    path: Path, find: Find = find, *, max_waiting: int = 200, policy: Policy = NO_LIMIT, deadline: float = DEADLINE
) -> AsyncIterator[UnixServer]:
    workers = HashWorkers(2, max_waiting)
    logger = log.wrap(logging.getLogger("authd"))
    limits = Limits(policy, b"key")
    parts = Parts(
        directory=Directory(find, find_name, find_name, deadline / 2),
        workers=workers,
        decoy=DECOY,
        limits=limits,
        turns=Turns(limits, time.monotonic),
        rehash=None,
    )
    service = AuthService(parts, logger, deadline=deadline, mailbox_domain="mailbox.test")
    server = UnixServer(service, terminator=b"\n", max_request=MAX_LINE_OCTETS)
    await server.start(path)
    try:
        yield server
    finally:
        await server.stop(1)
        workers.close()


def login(name: bytes = b"trader", password: bytes = b"secret", service: bytes = b"pop3") -> bytes:
    return request_line(service, name, password, b"192.0.2.1", secured=True)


@contextlib.asynccontextmanager
async def connection(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(path: Path, octets: bytes) -> bytes:
    """Return what authd says to `octets` and a closed sending side; nothing when it hangs up before it read all."""
    async with connection(path) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(octets)
            writer.write_eof()
            return await reader.read()
    return b""


def run(scenario: Coroutine[object, object, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(bounded())


@pytest.fixture
def path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    caplog.set_level(logging.INFO)
    return tmp_path / "authd.sock"


@pytest.mark.parametrize(
    ("line", "reply", "logged"),
    [
        (login(), ACCEPTED, "event=login_accepted elapsed_ms="),
        (login(b"TRADER"), ACCEPTED, "event=login_accepted elapsed_ms="),
        (login(password=b"wrong"), b"fail\n", "event=login_refused reason=wrong-password"),
        (login(b"nobody"), b"fail\n", "event=login_refused reason=unknown-login"),
        (login(b"nobody", b"decoy"), b"fail\n", "event=login_refused reason=unknown-login"),
        (login(b"former"), b"fail\n", "event=login_refused reason=inactive"),
        (login(service=b"smtp"), b"fail\n", "event=login_refused reason=service-denied"),
        (login(service=b"imap"), b"fail\n", "event=login_refused reason=service-denied"),
        (login(b"legacy"), b"temp\n", "event=login_deferred reason=DGP-9007"),
        (login(b"fault"), b"temp\n", "event=internal_error reason=DGP-9007"),
        (LOOKUP % b"trader", ACCEPTED, ""),
        (LOOKUP % b"Trader", ACCEPTED, ""),
        (LOOKUP % b"abcd1234@mailbox.test", b"ok\tlogin=abcd1234@mailbox.test\tmailbox=abcd1234\n", ""),
        (LOOKUP % b"nobody", b"fail\n", ""),
        (LOOKUP % b"fault", b"temp\n", "event=lookup_deferred reason=DGP-9007"),
        (b"DIGIPOORT-AUTH/9\tverify\tpassword=secret\n", b"temp\n", "event=request_malformed reason=DGP-9003"),
        (b"\0\xff\n", b"temp\n", "event=request_malformed reason=DGP-9003"),
        (login()[:-1], b"temp\n", "event=request_malformed reason=DGP-9003"),
        (b"x" * 200_000, b"temp\n", "event=request_malformed reason=DGP-9003"),
        (b"", b"", ""),
    ],
)
def test_every_request_has_its_reply_and_its_line(
    path: Path, caplog: pytest.LogCaptureFixture, line: bytes, reply: bytes, logged: str
) -> None:
    async def scenario() -> None:
        async with authd(path):
            # What does not fit is not read, so that the reply to it may be lost with the connection.
            assert await exchange(path, line) in ({reply, b""} if len(line) > MAX_LINE_OCTETS else {reply})

    run(scenario())
    assert logged in caplog.text
    assert "secret" not in caplog.text


def test_a_line_names_login_service_client_and_time(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with authd(path):
            await exchange(path, login(b"Nobody\n event=forged", b"wrong"))

    run(scenario())
    assert re.fullmatch(
        r"event=login_refused reason=unknown-login elapsed_ms=[\d.]+ "
        r'login="nobody\\+n event=forged" service=pop3 client=192\.0\.2\.1',
        caplog.messages[-1],
    )


def test_refusals_cost_a_hash_whatever_their_reason(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path):
            for line in (login(b"nobody"), login(b"former"), login(password=b"wrong"), login(service=b"imap")):
                started = time.perf_counter()
                assert await exchange(path, line) == b"fail\n"
                assert time.perf_counter() - started > 0.005

    run(scenario())


def test_one_connection_carries_several_requests(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path), connection(path) as (reader, writer):
            for line, reply in ((login(), ACCEPTED), (login(b"nobody"), b"fail\n"), (login(), ACCEPTED)):
                writer.write(line)
                assert await reader.readline() == reply
            pipelined = login() + login(password=b"wrong") + login(b"legacy")
            for octet in pipelined:
                writer.write(bytes([octet]))
            assert [await reader.readline() for _ in range(3)] == [ACCEPTED, b"fail\n", b"temp\n"]

    run(scenario())


def test_after_garbage_nothing_is_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with authd(path):
            assert await exchange(path, b"garbage\n" + login()) in (b"temp\n", b"")

    run(scenario())
    assert "login_accepted" not in caplog.text


def test_the_longest_line_is_read_and_one_octet_more_is_not(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path):
            room = MAX_LINE_OCTETS - len(login(password=b""))
            assert await exchange(path, login(password=b"x" * room)) == b"fail\n"
            assert await exchange(path, login(password=b"x" * (room + 1))) == b"temp\n"

    run(scenario())


def test_a_directory_that_is_down_is_temporary_and_logged_when_it_changes(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    up = iter([False, False, True, True])

    async def unsteady(_login: str) -> Credential | None:
        if not next(up):
            raise DirectoryUnavailable("refused")
        return TRADER

    async def scenario() -> None:
        async with authd(path, unsteady):
            replies = [await exchange(path, login()) for _ in range(4)]
            assert replies == [b"temp\n", b"temp\n", ACCEPTED, ACCEPTED]

    run(scenario())
    events = [message.split()[0].removeprefix("event=") for message in caplog.messages]
    assert events == [
        "directory_unavailable",
        "login_deferred",
        "login_deferred",
        "directory_restored",
        "login_accepted",
        "login_accepted",
    ]
    assert "reason=DGP-9001" in caplog.messages[1]


def test_a_directory_that_hangs_is_temporary_at_the_deadline_and_holds_nobody_else(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with authd(path):
            started = time.perf_counter()
            hanging = [asyncio.create_task(exchange(path, login(b"hangs"))) for _ in range(20)]
            await asyncio.sleep(0)
            assert await exchange(path, login()) == ACCEPTED
            assert time.perf_counter() - started < DEADLINE
            assert set(await asyncio.gather(*hanging)) == {b"temp\n"}
            assert DEADLINE / 2 <= time.perf_counter() - started < 2 * DEADLINE

    run(scenario())
    assert "event=login_deferred reason=DGP-9002" in caplog.text


def test_a_flood_is_answered_in_time_one_way_or_the_other(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path, max_waiting=10, deadline=15):
            replies = await asyncio.gather(*(exchange(path, login()) for _ in range(300)))
            assert set(replies) == {ACCEPTED, b"temp\n"}
            assert await exchange(path, login()) == ACCEPTED

    run(scenario())


def test_a_client_that_leaves_or_never_finishes_harms_nobody(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path):
            for octets in (b"", b"DIGIPOORT", login(b"slow"), login() * 3):
                async with connection(path) as (_, leaving):
                    leaving.write(octets)
            async with connection(path) as (_, silent):
                silent.write(login()[:20])
                assert await exchange(path, login()) == ACCEPTED

    run(scenario())


def test_stopping_finishes_requests_under_way_and_closes_idle_connections(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path) as server, connection(path) as (idle, _), connection(path) as (busy, busy_writer):
            busy_writer.write(login(b"slow"))
            await asyncio.sleep(0.05)
            assert await server.stop(2) == 0
            assert await busy.read() == ACCEPTED.replace(b"trader", b"slow")
            assert await idle.read() == b""
            assert not path.exists()

    run(scenario())


def test_stopping_cuts_off_what_outlives_the_drain(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path) as server:
            hanging = asyncio.create_task(exchange(path, login(b"hangs")))
            await asyncio.sleep(0.05)
            assert await server.stop(0.05) == 1
            assert await hanging == b""

    run(scenario())


def test_the_socket_is_for_owner_and_group_and_replaces_a_stale_one(path: Path) -> None:
    async def scenario() -> None:
        for _ in range(2):
            server = await asyncio.start_unix_server(lambda _reader, _writer: None, path)
            server.close()
            assert path.is_socket()
            async with authd(path):
                assert stat.S_IMODE(path.stat().st_mode) == 0o660
                assert await exchange(path, login()) == ACCEPTED

    run(scenario())


FEW = Policy(free_pair=3, free_network=10, free_login=20)


def test_after_some_wrong_passwords_a_login_waits_unverified_and_an_admin_lets_it_in(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with authd(path, policy=FEW):
            for number in range(3):
                assert await exchange(path, login(password=f"wrong{number}".encode())) == b"fail\n"
            for password in (b"wrong", b"secret"):
                assert await exchange(path, login(password=password)) == b"temp\n"
            status = await exchange(path, b"DIGIPOORT-AUTH/1\tstatus\n")
            assert re.fullmatch(rb"ok\tlimited=pair 3 1 trader 192\.0\.2\.1\n", status)
            reset = b"DIGIPOORT-AUTH/1\treset\tscope=%b\tkey=trader 192.0.2.1\n"
            assert await exchange(path, reset % b"all") == b"fail\n"
            assert await exchange(path, reset % b"pair") == b"ok\tforgotten=1\n"
            assert await exchange(path, login()) == ACCEPTED
            assert await exchange(path, b"DIGIPOORT-AUTH/1\tstatus\n") == b"ok\n"

    run(scenario())
    limited = [line for line in caplog.messages if line.startswith("event=login_limited")]
    assert len(limited) == 2
    assert all(
        re.search(r" scope=pair wait_seconds=1 .*login=trader service=pop3 client=192", line) for line in limited
    )
    assert "event=limits_reset scope=pair" in caplog.text


def test_the_same_wrong_password_again_and_again_counts_once_and_is_seldom_verified(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("digipoort_auth.limits.REPEAT_SECONDS", 3.0)

    async def scenario() -> None:
        async with authd(path, policy=FEW):
            replies = [await exchange(path, login(password=b"old")) for _ in range(4)]
            assert replies == [b"fail\n"] * 4
            assert await exchange(path, login()) == ACCEPTED
            # The time is what this is about: it must pass.
            await asyncio.sleep(3)
            assert await exchange(path, login(password=b"old")) == b"fail\n"
            assert await exchange(path, b"DIGIPOORT-AUTH/1\tstatus\n") == b"ok\n"

    run(scenario())
    repeated = [" repeated=yes " in line for line in caplog.messages if "event=login_refused" in line]
    assert repeated == [False, True, True, True, True]
    assert [" reason=repeated " in line for line in caplog.messages if "event=login_refused" in line] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_a_password_that_is_refused_for_one_service_is_verified_for_the_other(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path, policy=FEW):
            assert await exchange(path, login(service=b"smtp")) == b"fail\n"
            assert await exchange(path, login(service=b"pop3")) == ACCEPTED

    run(scenario())


def test_an_attempt_without_a_verdict_or_in_the_clear_does_not_count(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path, policy=FEW):
            clear = request_line(b"pop3", b"trader", b"%d", b"192.0.2.1", secured=False)
            for number in range(10):
                assert await exchange(path, clear % number) == b"fail\n"
                assert await exchange(path, login(b"fault", b"%d" % number)) == b"temp\n"
            assert await exchange(path, login()) == ACCEPTED

    run(scenario())


def test_wrong_passwords_at_once_are_not_all_verified_and_others_are_let_in(path: Path) -> None:
    async def scenario() -> None:
        async with authd(path, policy=FEW, deadline=15):
            attack = [exchange(path, login(password=b"%d" % number)) for number in range(100)]
            elsewhere = request_line(b"pop3", b"trader", b"secret", b"198.51.100.1", secured=True)
            *replies, honest = await asyncio.gather(*attack, exchange(path, elsewhere))
            assert replies.count(b"fail\n") == 3
            assert replies.count(b"temp\n") == 97
            assert honest == ACCEPTED

    run(scenario())
