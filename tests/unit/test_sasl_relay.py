"""The relay between a client that does as smtpd does and a Dovecot that follows a script: every way a login can end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import stat
import time
from typing import TYPE_CHECKING, Final

import pytest

from digipoort import log
from digipoort_sasl.link import Link
from digipoort_sasl.protocol import END_OF_HANDSHAKE, MAX_LINE_OCTETS
from digipoort_sasl.relay import Relay
from digipoort_sasl.server import RelayServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path

    Script = Callable[[Link], Awaitable[None]]

DEADLINE: Final = 0.5
GREETING: Final = b"VERSION\t1\t0\nCPID\t4711\n"
HANDSHAKE: Final = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tff\nDONE\n"
SECRET: Final = b"AGFhbABnZWhlaW0="
AUTH: Final = b"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.2\trip=192.0.2.1\tsecured\tresp=" + SECRET + b"\n"
AUTH_LOGIN: Final = b"AUTH\t2\tLOGIN\tservice=smtp\tnologin\tlip=192.0.2.2\trip=192.0.2.1\tsecured\n"
OK: Final = b"OK\t1\tuser=aal\t\xff\x01t\n"
FAIL: Final = b"FAIL\t1\tuser=aal\treason=wrong\n"


def saying(*answers: bytes, greets: bytes = HANDSHAKE) -> Script:
    """Return a Dovecot that says these octets, each after one more line."""

    async def script(link: Link) -> None:
        await link.send(greets)
        assert await link.line() + await link.line() == GREETING
        for answer in answers:
            assert await link.line()
            await link.send(answer)
        await link.line()

    return script


async def hang(link: Link) -> None:
    while await link.line():
        pass


class Smtpd:
    """A connection to the relay, greeted."""

    def __init__(self, link: Link) -> None:
        """Take the greeted link."""
        self._link = link

    async def says(self, line: bytes) -> bytes:
        """Send a line and return the answer; empty when the relay hangs up."""
        with contextlib.suppress(ConnectionError):
            await self._link.send(line)
            return await self._link.line()
        return b""

    async def is_closed(self) -> bool:
        """Tell whether the next thing that comes is the end."""
        return await self._link.line() == b""


class Bench:
    """A relay and the Dovecot behind it."""

    def __init__(self, folder: Path) -> None:
        """Put both sockets into a folder; `asked` is what Dovecot was told."""
        self.path, self.dovecot = folder / "sasl.sock", folder / "dovecot.sock"
        self.asked: list[bytes] = []
        self.server: RelayServer | None = None

    @contextlib.asynccontextmanager
    async def relay(
        self,
        *,
        peers: frozenset[int] | None = None,
        connections: int = 100,
        dialogue_seconds: float = 5,
        inherited: socket.socket | None = None,
    ) -> AsyncIterator[None]:
        """Run the relay; Dovecot need not be there."""
        logger = log.wrap(logging.getLogger("sasl"))
        relay = Relay(self.dovecot, logger, deadline=DEADLINE, dialogue_seconds=dialogue_seconds)
        allowed = frozenset({os.getuid()}) if peers is None else peers
        self.server = RelayServer(relay, logger, peers=allowed, max_connections=connections)
        await self.server.start(self.path, {self.path: inherited} if inherited else {})
        try:
            yield
        finally:
            await self.server.stop(1)

    @contextlib.asynccontextmanager
    async def dovecot_does(self, *scripts: Script) -> AsyncIterator[None]:
        """Run a Dovecot that follows the next script on each connection, and the last one from then on."""
        waiting = list(scripts)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            script = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            link = _Recorder(reader, writer, self.asked)
            try:
                with contextlib.suppress(ConnectionError):
                    await script(link)
            finally:
                link.close()

        server = await asyncio.start_unix_server(serve, self.dovecot, limit=2 * MAX_LINE_OCTETS)
        try:
            yield
        finally:
            server.close()
            self.dovecot.unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def smtpd(self, greeting: bytes = GREETING) -> AsyncIterator[Smtpd]:
        """Connect as smtpd does."""
        link = await Link.to(self.path)
        try:
            await link.send(greeting)
            while (line := await link.line()) != END_OF_HANDSHAKE:
                assert line, "the relay hung up"
            yield Smtpd(link)
        finally:
            link.close()


class _Recorder(Link):
    """A link that keeps what it was told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: list[bytes]) -> None:
        super().__init__(reader, writer)
        self._record = record

    async def line(self) -> bytes:
        line = await super().line()
        self._record.append(line)
        return line


def run(scenario: Coroutine[object, object, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario
        # What was hung up is closed in the loop's next round.
        await asyncio.sleep(0.01)

    asyncio.run(bounded())


@pytest.fixture
def bench(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Bench:
    caplog.set_level(logging.INFO)
    return Bench(tmp_path)


@pytest.mark.parametrize("reply", [OK, FAIL, b"FAIL\t1\n", b"FAIL\t1\tuser=aal\tcode=user_disabled\n"])
def test_a_verdict_passes_octet_for_octet(bench: Bench, caplog: pytest.LogCaptureFixture, reply: bytes) -> None:
    async def scenario() -> None:
        async with bench.dovecot_does(saying(reply)), bench.relay(), bench.smtpd() as smtpd:
            assert await smtpd.says(AUTH) == reply
            # The next login has a connection of its own.
            assert await smtpd.says(AUTH) == reply

    run(scenario())
    assert bench.asked.count(AUTH) == 2
    assert "event=" not in caplog.text


def test_a_dialogue_passes_line_by_line(bench: Bench) -> None:
    answers = (b"CONT\t2\tVXNlcm5hbWU6\n", b"CONT\t2\tUGFzc3dvcmQ6\n", b"OK\t2\tuser=aal\n")

    async def scenario() -> None:
        async with bench.dovecot_does(saying(*answers)), bench.relay(), bench.smtpd() as smtpd:
            lines = (AUTH_LOGIN, b"CONT\t2\tYWFs\n", b"CONT\t2\tZ2VoZWlt\n")
            assert tuple([await smtpd.says(line) for line in lines]) == answers

    run(scenario())


async def hang_up(link: Link) -> None:
    await link.send(HANDSHAKE)
    for _ in range(3):
        await link.line()


async def drip(link: Link) -> None:
    for octet in HANDSHAKE:
        await link.send(bytes([octet]))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (saying(b"FAIL\t1\tuser=aal\ttemp\n"), '"Dovecot says temporary" mechanism=PLAIN client=192.0.2.1 login=aal'),
        (saying(b"FAIL\t1\tcode=temp_fail\n"), '"Dovecot says temporary" mechanism=PLAIN client=192.0.2.1'),
        (saying(b"OK\t1\tuser=aal\tnologin\n"), "\"Dovecot's OK says nologin or proxy"),
        (saying(b"OK\t1\n"), '"Dovecot\'s OK lacks the user"'),
        (saying(b"OK\t2\tuser=aal\n"), '"Dovecot replies to another request"'),
        (saying(b"\xff\0\n"), '"Dovecot\'s line is no reply"'),
        (saying(b"OK\t1\tuser=" + b"a" * MAX_LINE_OCTETS + b"\n"), '"Dovecot\'s line is too long"'),
        (saying(b"OK\t1\tuser=aa", greets=HANDSHAKE), '"no answer in time"'),
        (saying(greets=b"VERSION\t2\t0\nDONE\n"), '"Dovecot does not begin with VERSION 1"'),
        (saying(greets=b"VERSION\t1\t2\n" + b"MECH\tX\n" * 100), '"Dovecot\'s handshake does not end"'),
        (hang_up, '"Dovecot hung up"'),
        (hang, '"no answer in time"'),
        (drip, '"no answer in time"'),
    ],
)
def test_without_a_verdict_the_relay_hangs_up(
    bench: Bench, caplog: pytest.LogCaptureFixture, script: Script, detail: str
) -> None:
    async def scenario() -> None:
        async with bench.dovecot_does(script), bench.relay(), bench.smtpd() as smtpd:
            begun = time.monotonic()
            assert await smtpd.says(AUTH) == b""
            assert time.monotonic() - begun < DEADLINE + 0.5

    run(scenario())
    assert re.search(rf"event=login_deferred reason=DGP-9009 elapsed_ms=[\d.]+ detail={re.escape(detail)}", caplog.text)
    assert SECRET.decode() not in caplog.text


async def refuse(link: Link) -> None:
    link.close()


@pytest.mark.parametrize(("script", "away"), [(refuse, True), (drip, True), (hang_up, False), (saying(), False)])
def test_only_a_dovecot_that_is_not_reached_is_unavailable(
    bench: Bench, caplog: pytest.LogCaptureFixture, script: Script, *, away: bool
) -> None:
    async def scenario() -> None:
        async with bench.dovecot_does(script), bench.relay(), bench.smtpd() as smtpd:
            assert await smtpd.says(AUTH) == b""

    run(scenario())
    assert ("event=dovecot_unavailable" in caplog.text) == away


def test_an_outage_is_told_once_and_so_is_its_end(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with bench.relay():
            for _ in range(5):
                async with bench.smtpd() as smtpd:
                    assert await smtpd.says(AUTH) == b""
            async with bench.dovecot_does(saying(FAIL)), bench.smtpd() as smtpd:
                assert await smtpd.says(AUTH) == FAIL
                assert await smtpd.says(AUTH) == FAIL

    run(scenario())
    events = re.findall(r"event=(\w+)", caplog.text)
    assert events == ["dovecot_unavailable", *["login_deferred"] * 5, "dovecot_restored"]
    assert f'detail="{bench.dovecot}: No such file or directory"' in caplog.text


def test_a_login_that_the_user_breaks_off_is_taken_back(bench: Bench) -> None:
    async def scenario() -> None:
        script = saying(b"CONT\t2\tVXNlcm5hbWU6\n")
        async with bench.dovecot_does(script, saying(OK)), bench.relay(), bench.smtpd() as smtpd:
            assert await smtpd.says(AUTH_LOGIN) == b"CONT\t2\tVXNlcm5hbWU6\n"
            assert await smtpd.says(AUTH) == OK
            await until(lambda: b"CANCEL\t2\n" in bench.asked)

    run(scenario())


def test_a_user_who_is_silent_in_a_dialogue_does_not_hold_dovecot(bench: Bench) -> None:
    async def scenario() -> None:
        script = saying(b"CONT\t2\tVXNlcm5hbWU6\n")
        async with bench.dovecot_does(script), bench.relay(dialogue_seconds=0.2), bench.smtpd() as smtpd:
            assert await smtpd.says(AUTH_LOGIN)
            assert await smtpd.is_closed()
            await until(lambda: b"CANCEL\t2\n" in bench.asked)

    run(scenario())


def test_dovecot_restarted_in_a_dialogue(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def once(link: Link) -> None:
        await link.send(HANDSHAKE)
        for _ in range(3):
            await link.line()
        await link.send(b"CONT\t2\tVXNlcm5hbWU6\n")

    async def scenario() -> None:
        async with bench.dovecot_does(once), bench.relay(), bench.smtpd() as smtpd:
            assert await smtpd.says(AUTH_LOGIN) == b"CONT\t2\tVXNlcm5hbWU6\n"
            assert await smtpd.says(b"CONT\t2\tYWFs\n") == b""

    run(scenario())
    assert "event=login_deferred" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        b"CONT\t1\tYWFs\n",
        b"AUTH\t1\n",
        b"QUIT\n",
        b"AUTH\t1\tPLAIN\tresp=" + b"A" * MAX_LINE_OCTETS + b"\n",
        b"A" * 3 * MAX_LINE_OCTETS,
    ],
)
def test_what_smtpd_would_not_say_ends_the_connection(
    bench: Bench, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    async def scenario() -> None:
        async with bench.dovecot_does(saying(OK)), bench.relay(), bench.smtpd() as smtpd:
            assert await smtpd.says(line) == b""

    run(scenario())
    assert bench.asked == []
    assert "event=request_malformed reason=DGP-9003" in caplog.text
    assert "AAAA" not in caplog.text


def test_a_client_of_another_version_is_not_served(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with bench.relay(), bench.smtpd(b"VERSION\t2\t0\nCPID\t1\n") as smtpd:
            assert await smtpd.is_closed()

    run(scenario())
    assert "event=request_malformed" in caplog.text


def test_a_slow_login_holds_up_no_other(bench: Bench) -> None:
    async def scenario() -> None:
        scripts = (hang, saying(OK))
        async with bench.dovecot_does(*scripts), bench.relay(), bench.smtpd() as slow, bench.smtpd() as quick:
            waiting = asyncio.create_task(slow.says(AUTH))
            await until(lambda: bool(bench.asked))
            begun = time.monotonic()
            assert await quick.says(AUTH) == OK
            assert time.monotonic() - begun < DEADLINE / 2
            assert not waiting.done()
            assert await waiting == b""

    run(scenario())


def test_the_socket_is_for_its_peers(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with bench.relay(peers=frozenset({os.getuid() + 1})):
            assert stat.S_IMODE(bench.path.stat().st_mode) == 0o660
            link = await Link.to(bench.path)
            assert await link.line() == b""
            link.close()

    run(scenario())
    assert f"event=peer_refused uid={os.getuid()} pid={os.getpid()}" in caplog.text


def test_so_many_connections_and_no_more(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with bench.dovecot_does(saying(OK)), bench.relay(connections=1), bench.smtpd() as smtpd:
            link = await Link.to(bench.path)
            assert await link.line() == b""
            link.close()
            assert await smtpd.says(AUTH) == OK

    run(scenario())
    assert f"event=connections_exhausted limit=1 pid={os.getpid()}" in caplog.text


def test_at_the_end_a_login_under_way_is_answered_and_the_others_are_not_kept(bench: Bench) -> None:
    async def slowly(link: Link) -> None:
        await link.send(HANDSHAKE)
        for _ in range(3):
            await link.line()
        await asyncio.sleep(0.2)
        await link.send(OK)
        await link.line()

    async def scenario() -> None:
        async with bench.dovecot_does(slowly), bench.relay(), bench.smtpd() as busy, bench.smtpd() as idle:
            answer = asyncio.create_task(busy.says(AUTH))
            await until(lambda: AUTH in bench.asked)
            assert bench.server is not None
            assert await bench.server.stop(5) == 0
            assert await answer == OK
            assert await idle.is_closed()
            assert not bench.path.exists()

    run(scenario())


def test_at_the_end_a_login_that_takes_too_long_is_cut_off(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.dovecot_does(hang), bench.relay(), bench.smtpd() as busy:
            answer = asyncio.create_task(busy.says(AUTH))
            await until(lambda: bool(bench.asked))
            assert bench.server is not None
            assert await bench.server.stop(0.05) == 1
            assert await answer == b""

    run(scenario())


def test_an_smtpd_waits_at_systemds_socket_while_the_relay_is_restarted(bench: Bench) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(bench.path))
            listener.listen()
            async with bench.dovecot_does(saying(OK)):
                for _ in range(2):
                    early = await Link.to(bench.path)
                    with listener.dup() as inherited:
                        async with bench.relay(inherited=inherited), bench.smtpd() as late:
                            assert (await early.line()).startswith(b"VERSION\t1\t")
                            assert await late.says(AUTH) == OK
                    early.close()
                    assert bench.path.is_socket()

    run(scenario())


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.01)
