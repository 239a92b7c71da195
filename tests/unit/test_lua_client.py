"""The Lua passdb and userdb as Dovecot calls them: one interpreter that asks again and again, and a hostile authd."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from digipoort_auth.protocol import VerifyRequest, parse_request
from tests.sandbox.layout import CHECKOUT
from tests.unit import authd_replies
from tests.unit.authd_replies import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM: Final = CHECKOUT / "dovecot_auth" / "lua" / "digipoort_auth.lua"
DRIVER: Final = CHECKOUT / "tests" / "unit" / "lua_client.lua"
FIELDS: Final = "userdb_gid=61305 userdb_home=/srv/mail/abcd1234 userdb_uid=61304"
TEMPORARY: Final = "INTERNAL_FAILURE"


@dataclass(frozen=True, slots=True)
class Worker:
    """One of Dovecot's workers with the Lua client in it."""

    process: subprocess.Popen[bytes]

    def __call__(
        self,
        login: bytes = b"trader",
        password: bytes = b"secret",
        *,
        verb: str = "verify",
        protocol: bytes = b"pop3",
        address: bytes = b"192.0.2.1",
        secured: bytes = b"",
    ) -> tuple[str, str]:
        """Return the name of the result and the fields or the sentence that comes with it."""
        words = " ".join([verb, *(word.hex() for word in (login, password, protocol, address, secured))])
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(words.encode() + b"\n")
        self.process.stdin.flush()
        result, _, detail = self.process.stdout.readline().decode(errors="replace").rstrip("\n").partition("\t")
        return result, detail


@contextlib.contextmanager
def _worker(path: Path, seconds: str = "5", dovecot: str = "2.4") -> Iterator[Worker]:
    command = ["lua5.4", str(DRIVER), str(PROGRAM), str(path), seconds, dovecot]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "authd.sock"


@pytest.fixture
def worker(path: Path) -> Iterator[Worker]:
    with _worker(path) as worker:
        yield worker


@dataclass(frozen=True, slots=True)
class Seen:
    """What authd saw: the number of connections and every request."""

    connections: list[int]
    requests: list[bytes]


@contextlib.contextmanager
def authd(path: Path, *connections: list[tuple[bytes, ...]], pause: float = 0.02) -> Iterator[Seen]:
    """Serve these connections one after another; each is a list of replies, and each reply is sent in pieces.

    After its last reply a connection is closed, unless that reply ends in an empty piece: then it is held open.
    """
    seen = Seen([], [])
    ended = threading.Event()

    def serve() -> None:
        for number, replies in enumerate(connections):
            client, _ = listener.accept()
            with client, client.makefile("rb") as stream, contextlib.suppress(OSError):
                if ended.is_set():
                    return
                seen.connections.append(number)
                for pieces in replies:
                    seen.requests.append(stream.readline())
                    for piece in pieces:
                        client.sendall(piece)
                        ended.wait(pause)
                    if pieces and pieces[-1] == b"":
                        ended.wait(30)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            with socket.socket(socket.AF_UNIX) as last:
                last.connect_ex(str(path))
            thread.join()
            path.unlink()


@pytest.mark.parametrize("dovecot", ["2.3", "2.4"])
@pytest.mark.parametrize("secured", [b"", b"TLS", b"secured"])
def test_authd_is_asked_with_what_dovecot_gave(path: Path, dovecot: str, secured: bytes) -> None:
    with authd(path, [(ACCEPTED,)]) as seen, _worker(path, dovecot=dovecot) as worker:
        assert worker(b"Trader", b"\0\1\t\r\n\xff=", secured=secured) == ("OK", FIELDS)
    expected = (
        b"DIGIPOORT-AUTH/1\tverify\tservice=pop3\tlogin=trader\tpassword=\x010\x011\x01t\x01r\x01n\xff=\tip=192.0.2.1"
    )
    assert seen.requests == [expected + (b"\tsecured=yes\n" if secured else b"\n")]
    request = parse_request(seen.requests[0])
    assert isinstance(request, VerifyRequest)
    assert request.password == b"\0\1\t\r\n\xff="


def test_a_login_without_an_address_is_asked_without_one(path: Path, worker: Worker) -> None:
    with authd(path, [(b"fail\n",)]) as seen:
        worker(address=b"")
    assert b"\tip=" not in seen.requests[0]


def test_a_refused_login_is_a_wrong_password(path: Path, worker: Worker) -> None:
    with authd(path, [(b"fail\n",)]):
        assert worker()[0] == "PASSWORD_MISMATCH"


def test_a_login_without_mailbox_has_no_home(path: Path, worker: Worker) -> None:
    with authd(path, [(b"ok\tlogin=trader\n",)]):
        assert worker(protocol=b"smtp") == ("OK", FIELDS.replace("/srv/mail/abcd1234", "/nonexistent"))


@pytest.mark.parametrize("size", [4096, 4097])
def test_credentials_longer_than_a_request_are_refused_without_asking(path: Path, worker: Worker, size: int) -> None:
    fixed = len(b"DIGIPOORT-AUTH/1\tverify\tservice=pop3\tlogin=trader\tpassword=\tip=192.0.2.1\n")
    with authd(path, [(ACCEPTED,)]) as seen:
        result, _ = worker(password=b"x" * (size - fixed))
    assert (result, len(seen.requests)) == (("OK", 1) if size == 4096 else ("PASSWORD_MISMATCH", 0))


@pytest.mark.parametrize(
    "reply",
    authd_replies.NO_VERDICT,
    ids=lambda reply: repr(reply[:40]),
)
def test_a_reply_that_is_no_verdict_is_temporary(path: Path, worker: Worker, reply: bytes) -> None:
    # A reply without a word is asked for once more.
    with authd(path, [(reply,)], [(reply,)]):
        result, detail = worker()
    assert result == TEMPORARY
    assert "secret" not in detail
    assert "attempt to" not in detail


@pytest.mark.parametrize(
    "reply", [b"ok\tmailbox=abcd1234\tlogin=trader\n", b"ok\tlogin=trader\tmailbox=abcd1234\tuid=0\thome=/\n"]
)
def test_what_a_newer_authd_says_too_is_passed_over(path: Path, worker: Worker, reply: bytes) -> None:
    with authd(path, [(reply,)]):
        assert worker() == ("OK", FIELDS)


@pytest.mark.parametrize("login", [b"a/b", b"a" * 129, b"", "hándelaar".encode()])
def test_a_login_that_cannot_exist_is_not_accepted_even_by_authd(path: Path, worker: Worker, login: bytes) -> None:
    with authd(path, [(b"ok\tlogin=" + login + b"\tmailbox=abcd1234\n",)]):
        assert worker(login)[0] == TEMPORARY


def test_an_authd_that_is_absent_is_temporary_and_found_when_it_is_there(path: Path, worker: Worker) -> None:
    assert worker() == (TEMPORARY, f"authd cannot be reached at {path}: No such file or directory")
    with authd(path, [(ACCEPTED,)]):
        assert worker() == ("OK", FIELDS)


def test_a_connection_is_kept_for_the_next_login(path: Path, worker: Worker) -> None:
    with authd(path, [(ACCEPTED,), (b"fail\n",), (ACCEPTED,)]) as seen:
        assert [worker()[0] for _ in range(3)] == ["OK", "PASSWORD_MISMATCH", "OK"]
    assert seen.connections == [0]


def test_an_authd_that_was_restarted_costs_no_login(path: Path, worker: Worker) -> None:
    for _ in range(2):
        with authd(path, [(ACCEPTED,)]):
            assert worker() == ("OK", FIELDS)


def test_an_authd_that_goes_while_it_is_asked_is_asked_once_more(path: Path, worker: Worker) -> None:
    with authd(path, [(ACCEPTED,), ()], [(ACCEPTED,)]) as seen:
        assert worker() == ("OK", FIELDS)
        assert worker() == ("OK", FIELDS)
    assert (seen.connections, len(seen.requests)) == ([0, 1], 3)


def test_a_new_connection_that_ends_without_a_word_is_temporary_and_not_asked_again(path: Path, worker: Worker) -> None:
    with authd(path, [()], [(ACCEPTED,)]) as seen:
        assert worker() == (TEMPORARY, "authd closed the connection")
        assert seen.connections == [0]


def test_a_reply_in_pieces_is_put_together(path: Path, worker: Worker) -> None:
    with authd(path, [(ACCEPTED[:5], ACCEPTED[5:20], ACCEPTED[20:])]):
        assert worker() == ("OK", FIELDS)


@pytest.mark.parametrize("reply", [(b"",), (ACCEPTED[:-1], b""), tuple(bytes([octet]) for octet in ACCEPTED)])
def test_an_authd_that_hangs_or_drips_gets_no_more_time(path: Path, reply: tuple[bytes, ...]) -> None:
    with authd(path, [reply], pause=0.1), _worker(path, "0.4") as worker:
        started = time.monotonic()
        assert worker() == (TEMPORARY, "no verdict in time")
    assert 0.35 <= time.monotonic() - started < 5


def test_an_authd_that_accepts_nobody_is_temporary_in_time(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as clients:
        listener.bind(str(path))
        listener.listen(0)
        for _ in range(3):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            client.connect_ex(str(path))
        with _worker(path, "0.4") as worker:
            assert worker()[0] == TEMPORARY


def test_an_answer_that_comes_late_is_not_the_next_logins(path: Path) -> None:
    late = (b"", ACCEPTED)
    with authd(path, [late], [(b"fail\n",)], pause=0.35), _worker(path, "0.3") as worker:
        assert worker() == (TEMPORARY, "no verdict in time")
        # Until the first connection's answer has come and gone.
        time.sleep(0.5)
        assert worker()[0] == "PASSWORD_MISMATCH"


def test_octets_that_nobody_asked_for_are_not_the_next_logins_answer(path: Path, worker: Worker) -> None:
    with authd(path, [(b"fail\n", ACCEPTED)], [(b"fail\n",)], pause=0.1) as seen:
        assert worker()[0] == "PASSWORD_MISMATCH"
        time.sleep(0.3)
        assert worker()[0] == "PASSWORD_MISMATCH"
    assert seen.connections == [0, 1]


def test_a_lookup_of_a_mailbox_has_no_password(path: Path, worker: Worker) -> None:
    login = b"abcd1234@postbus.digipoort.invalid"
    with authd(path, [(b"ok\tlogin=" + login + b"\tmailbox=abcd1234\n",), (b"fail\n",), (b"temp\n",)]) as seen:
        assert worker(login, b"", verb="lookup", protocol=b"doveadm") == ("OK", FIELDS.replace("userdb_", ""))
        assert worker(b"nobody", b"", verb="lookup", protocol=b"doveadm")[0] == "USER_UNKNOWN"
        assert worker(b"trader", b"", verb="lookup", protocol=b"doveadm")[0] == TEMPORARY
    assert seen.requests[0] == b"DIGIPOORT-AUTH/1\tlookup\tservice=doveadm\tlogin=" + login + b"\n"


def test_a_lookup_of_a_password_vouches_for_nobody(path: Path, worker: Worker) -> None:
    with authd(path, [(ACCEPTED,)]) as seen:
        assert worker(verb="passdb")[0] == TEMPORARY
    assert seen.requests == []


@pytest.mark.parametrize("seconds", ["0", "-1", "61", "soon"])
def test_a_deadline_that_cannot_be_used_stops_the_client_when_it_is_loaded(path: Path, seconds: str) -> None:
    command = ["lua5.4", str(DRIVER), str(PROGRAM), str(path), seconds]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "seconds must be over 0 and at most 60" in ended.stderr
