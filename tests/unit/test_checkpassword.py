"""checkpassword as Dovecot runs it: a process of its own with descriptors 3 and 4, and an authd that may be hostile."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from digipoort_auth import checkpassword
from digipoort_auth.protocol import VerifyRequest, parse_request
from tests.unit import authd_replies
from tests.unit.authd_replies import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(checkpassword.__file__)
CREDENTIALS = b"trader\0secret\0\0"
DOVECOT = {
    "SERVICE": "pop3",
    "TCPREMOTEIP": "192.0.2.1",
    "AUTH_SECURED": "secured",
    "ORIG_UID": "103",
    "PATH": "/usr/bin:/bin",
}
# Stands in for Dovecot's checkpassword-reply: tells descriptor 4 what it was given.
REPLY = """#!/bin/sh
printf '%s\\n' "$USER" "$HOME" "$userdb_uid" "$userdb_gid" "$EXTRA" "$ORIG_UID" "$*" >&4
[ -z "$AUTHORIZED" ] || echo "AUTHORIZED=$AUTHORIZED" >&4
for number in 3 5 6 7 8 9; do [ ! -e /proc/$$/fd/$number ] || echo "$number is open" >&4; done
"""
NO_VERDICT = 111


@dataclass(frozen=True, slots=True)
class Outcome:
    """What Dovecot sees of one run; `lines` is what came over descriptor 4."""

    status: int
    said: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Run:
    """Runs checkpassword in a folder of its own, where authd.sock may or may not be served."""

    directory: Path

    @property
    def socket(self) -> Path:
        """Return where authd is expected."""
        return self.directory / "authd.sock"

    def arguments(self, seconds: str = "5") -> list[str]:
        """Return the words that stand in dovecot.conf and those that Dovecot appends."""
        return [
            str(self.socket),
            "/srv/mail",
            "61304",
            "61305",
            seconds,
            str(self.directory / "reply"),
            "more",
            "words",
        ]

    def __call__(
        self,
        credentials: bytes = CREDENTIALS,
        environment: dict[str, str] | None = None,
        arguments: list[str] | None = None,
    ) -> Outcome:
        """Run checkpassword to its end."""
        given, returned = self.directory / "given", self.directory / "returned"
        if not given.is_fifo():
            given.write_bytes(credentials)
        returned.write_bytes(b"")
        command = [str(SCRIPT), *(self.arguments() if arguments is None else arguments)]
        # A shell puts descriptors at numbers; opened for both, a FIFO has no end of file.
        shell = f"exec 3<>{shlex.quote(str(given))} 4>{shlex.quote(str(returned))}; exec {shlex.join(command)}"
        ended = subprocess.run(
            ["/bin/sh", "-c", shell],
            env=DOVECOT | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert ended.stdout == b""
        return Outcome(ended.returncode, ended.stderr.decode(), returned.read_text().splitlines())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    reply = tmp_path / "reply"
    reply.write_text(REPLY)
    reply.chmod(0o755)
    return Run(tmp_path)


@contextlib.contextmanager
def authd(path: Path, *answers: bytes, pause: float = 0, hold: bool = False) -> Iterator[list[bytes]]:
    """Answer one connection with pieces, `pause` seconds between them; yield the list that its request lands in."""
    requests: list[bytes] = []
    released = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            with client, client.makefile("rb") as stream:
                requests.extend([line] if (line := stream.readline()) else [])
                for answer in answers:
                    client.sendall(answer)
                    released.wait(pause)
                if hold:
                    released.wait(30)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield requests
        finally:
            released.set()
            # Wakes a thread that still waits for its connection.
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join()


def test_an_accepted_login_executes_the_reply_program_with_its_environment(run: Run) -> None:
    with authd(run.socket, ACCEPTED):
        outcome = run()
    assert outcome.status == 0
    assert outcome.said == ""
    # After the arguments would come descriptors: neither 3 nor the connection to authd is left behind.
    assert outcome.lines == [
        "trader",
        "/srv/mail/abcd1234",
        "61304",
        "61305",
        "userdb_uid userdb_gid",
        "103",
        "more words",
    ]


def test_a_login_without_mailbox_has_no_home(run: Run) -> None:
    with authd(run.socket, b"ok\tlogin=trader\n"):
        outcome = run(environment={"SERVICE": "smtp"})
    assert (outcome.status, outcome.lines[1]) == (0, "/nonexistent")


def test_a_login_in_capitals_becomes_lower_case(run: Run) -> None:
    with authd(run.socket, ACCEPTED):
        outcome = run(b"Trader\0secret\0\0")
    assert (outcome.status, outcome.lines[0]) == (0, "trader")


def test_a_refused_login_is_status_1_and_says_nothing(run: Run) -> None:
    with authd(run.socket, b"fail\n"):
        assert run() == Outcome(1, "", [])


@pytest.mark.parametrize(
    ("credentials", "login", "password"),
    [
        (CREDENTIALS, b"trader", b"secret"),
        (b"trader\0secret\0", b"trader", b"secret"),
        (b"trader\0secret\0timestamp\0", b"trader", b"secret"),
        (b"\0\0\0", b"", b""),
        ("hándelaar\0wáchtwoord\0\0".encode(), "hándelaar".encode(), "wáchtwoord".encode()),
        (b"\xff\xfe\0\x80\xff\0\0", b"\xff\xfe", b"\x80\xff"),
        (b"a\tb\nc\1d\re\0\tx\ny\1z\r1t\0\0", b"a\tb\nc\1d\re", b"\tx\ny\1z\r1t"),
        (b"u" * 252 + b"\0" + b"\1" * 256 + b"\0\0", b"u" * 252, b"\1" * 256),
        (b"u\0" + b"p" * 508 + b"\0\0", b"u", b"p" * 508),
    ],
)
def test_authd_is_asked_with_the_octets_that_dovecot_gave(
    run: Run, credentials: bytes, login: bytes, password: bytes
) -> None:
    with authd(run.socket, b"fail\n") as requests:
        assert run(credentials).status == 1
    assert [parse_request(line) for line in requests] == [
        VerifyRequest(service=b"pop3", login=login, password=password, client=b"192.0.2.1", secured=True)
    ]


def test_an_unencrypted_connection_is_not_vouched_for(run: Run) -> None:
    with authd(run.socket, b"fail\n") as requests:
        run(environment={"AUTH_SECURED": ""})
    (request,) = map(parse_request, requests)
    assert isinstance(request, VerifyRequest)
    assert not request.secured


def test_the_client_address_comes_from_what_dovecot_tells(run: Run) -> None:
    with authd(run.socket, b"fail\n") as requests:
        run(environment={"TCPREMOTEIP": "", "AUTH_RIP": "2001:db8::1"})
    (request,) = map(parse_request, requests)
    assert isinstance(request, VerifyRequest)
    assert request.client == b"2001:db8::1"


@pytest.mark.parametrize("credentials", [b"", b"trader", b"trader\0secret", b"trader\0" + b"x" * 505 + b"\0"])
def test_credentials_cut_off_or_too_long_are_no_verdict(run: Run, credentials: bytes) -> None:
    outcome = run(credentials)
    assert outcome.status == NO_VERDICT
    assert outcome.said.startswith("checkpassword: the credentials are ")


@pytest.mark.parametrize("size", [511, 512])
def test_credentials_up_to_512_octets_are_taken(run: Run, size: int) -> None:
    with authd(run.socket, ACCEPTED):
        assert run(b"trader\0" + b"x" * (size - 9) + b"\0\0").status == 0


@pytest.mark.parametrize(
    "reply",
    authd_replies.NO_VERDICT,
)
def test_a_reply_that_is_no_verdict_is_status_111(run: Run, reply: bytes) -> None:
    with authd(run.socket, reply):
        outcome = run()
    assert (outcome.status, outcome.lines) == (NO_VERDICT, [])
    assert outcome.said.startswith("checkpassword: ")
    assert "Traceback" not in outcome.said


def test_a_login_that_cannot_exist_is_not_accepted_even_by_authd(run: Run) -> None:
    with authd(run.socket, b"ok\tlogin=a/b\tmailbox=abcd1234\n"):
        assert run(b"a/b\0secret\0\0").status == NO_VERDICT


def test_a_reply_in_pieces_is_put_together(run: Run) -> None:
    with authd(run.socket, ACCEPTED[:5], ACCEPTED[5:20], ACCEPTED[20:], pause=0.02):
        assert run().status == 0


def test_an_authd_that_is_absent_is_no_verdict(run: Run) -> None:
    outcome = run()
    assert outcome.status == NO_VERDICT
    assert outcome.said == f"checkpassword: authd cannot be reached at {run.socket}: No such file or directory\n"


def test_an_authd_that_hangs_is_no_verdict_in_time(run: Run) -> None:
    with authd(run.socket, hold=True):
        started = time.perf_counter()
        outcome = run(arguments=run.arguments("0.3"))
    assert outcome == Outcome(NO_VERDICT, "checkpassword: no verdict in time\n", [])
    assert 0.3 <= time.perf_counter() - started < 5


def test_an_authd_that_drips_gets_no_more_time(run: Run) -> None:
    with authd(run.socket, *[bytes([octet]) for octet in ACCEPTED], pause=0.1):
        started = time.perf_counter()
        assert run(arguments=run.arguments("0.4")).status == NO_VERDICT
    assert time.perf_counter() - started < 5


def test_an_authd_that_accepts_nobody_is_no_verdict_in_time(run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as clients:
        listener.bind(str(run.socket))
        listener.listen(0)
        for _ in range(3):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            client.connect_ex(str(run.socket))
        assert run(arguments=run.arguments("0.3")).status == NO_VERDICT


def test_credentials_that_another_process_holds_open_are_taken(run: Run) -> None:
    given = run.directory / "given"
    os.mkfifo(given)
    holder = os.open(given, os.O_RDWR)
    try:
        os.write(holder, CREDENTIALS)
        with authd(run.socket, ACCEPTED):
            assert run(arguments=run.arguments("2")).status == 0
    finally:
        os.close(holder)


def test_credentials_that_never_end_are_no_verdict_in_time(run: Run) -> None:
    os.mkfifo(run.directory / "given")
    assert run(arguments=run.arguments("0.3")).said == "checkpassword: no verdict in time\n"


@pytest.mark.parametrize("environment", [{}, {"AUTHORIZED": "1"}])
def test_a_lookup_of_a_password_is_temporary(run: Run, environment: dict[str, str]) -> None:
    with authd(run.socket, ACCEPTED) as requests:
        outcome = run(b"trader\0\0\0", environment | {"CREDENTIALS_LOOKUP": "1", "SCHEME": "PLAIN"})
    assert (outcome.status, outcome.lines) == (NO_VERDICT, [])
    assert requests == []


@pytest.mark.parametrize("login", [b"trader", b"k3v9x2mq@postbus.digipoort.invalid"])
def test_a_lookup_of_a_mailbox_asks_without_password_and_says_so_to_the_reply_program(run: Run, login: bytes) -> None:
    with authd(run.socket, b"ok\tlogin=" + login + b"\tmailbox=k3v9x2mq\n") as requests:
        outcome = run(login + b"\0\0\0", {"AUTHORIZED": "1", "SERVICE": "doveadm"})
    assert requests == [b"DIGIPOORT-AUTH/1\tlookup\tservice=doveadm\tlogin=" + login + b"\n"]
    assert (outcome.status, outcome.lines[:2]) == (0, [login.decode(), "/srv/mail/k3v9x2mq"])
    assert outcome.lines[-1] == "AUTHORIZED=2"


@pytest.mark.parametrize(("reply", "status"), [(b"fail\n", 3), (b"temp\n", NO_VERDICT), (b"", NO_VERDICT)])
def test_a_lookup_that_finds_nothing_is_status_3_and_a_temporary_failure_is_none(
    run: Run, reply: bytes, status: int
) -> None:
    with authd(run.socket, reply):
        outcome = run(b"nobody\0\0\0", {"AUTHORIZED": "1", "SERVICE": "doveadm"})
    assert (outcome.status, outcome.lines) == (status, [])


@pytest.mark.parametrize(("secured", "told"), [("secured", b"\tsecured=yes"), ("TLS", b"\tsecured=yes"), ("", b"")])
def test_authd_is_told_that_the_connection_is_encrypted(run: Run, secured: str, told: bytes) -> None:
    with authd(run.socket, b"fail\n") as requests:
        run(environment={"AUTH_SECURED": secured})
    fields = b"service=pop3\tlogin=trader\tpassword=secret\tip=192.0.2.1"
    assert requests == [b"DIGIPOORT-AUTH/1\tverify\t" + fields + told + b"\n"]


@pytest.mark.parametrize(
    "changed",
    [
        {2: "0"},
        {3: "root"},
        {2: "-1"},
        {3: "61304 "},
        {4: "0"},
        {4: "-1"},
        {4: "soon"},
        {4: "nan"},
        {4: "inf"},
        {4: "61"},
        {0: "/" + "x" * 200},
        {5: "/absent/reply"},
    ],
)
def test_arguments_that_cannot_be_used_are_no_verdict(run: Run, changed: dict[int, str]) -> None:
    arguments = [changed.get(place, word) for place, word in enumerate(run.arguments())]
    with authd(run.socket, ACCEPTED):
        outcome = run(arguments=arguments)
    assert (outcome.status, outcome.lines) == (NO_VERDICT, [])
    assert "Traceback" not in outcome.said


@pytest.mark.parametrize("words", [0, 1, 5])
def test_too_few_arguments_are_no_verdict_and_a_usage_line(run: Run, words: int) -> None:
    outcome = run(arguments=run.arguments()[:words])
    assert outcome.status == NO_VERDICT
    assert outcome.said.startswith("checkpassword: usage: checkpassword AUTHD_SOCKET ")


def test_a_descriptor_3_that_is_not_there_is_no_verdict(run: Run) -> None:
    ended = subprocess.run([SCRIPT, *run.arguments()], env=DOVECOT, capture_output=True, timeout=30, check=False)
    assert ended.returncode == NO_VERDICT


def test_standard_error_that_is_closed_does_not_make_it_a_refusal(run: Run) -> None:
    shell = f"exec 2>&-; exec {shlex.join([str(SCRIPT), *run.arguments()])}"
    assert subprocess.run(["/bin/sh", "-c", shell], env=DOVECOT, timeout=30, check=False).returncode == NO_VERDICT


def test_nothing_slow_is_imported() -> None:
    """Modules that are not part of the interpreter cost milliseconds in every single login."""
    loaded = subprocess.run(
        ["/usr/bin/python3", "-ISX", "importtime", SCRIPT], env=DOVECOT, capture_output=True, timeout=30, check=False
    )
    assert loaded.returncode == NO_VERDICT
    bare = subprocess.run(
        ["/usr/bin/python3", "-ISX", "importtime", "-c", ""], env=DOVECOT, capture_output=True, timeout=30, check=True
    )
    assert _modules(loaded.stderr) - _modules(bare.stderr) <= {"_socket"}


def _modules(importtime: bytes) -> set[str]:
    return {line.rpartition("|")[2].strip() for line in importtime.decode().splitlines() if line.count("|") == 2}
