"""Every kind of login over every door, on Dovecot 2.3 with checkpassword, on 2.3 with Lua and on 2.4 with Lua.

A row says what a login is told; what differs between two stacks, or between two doors, is said in the row. All rows of
one state of the gateway are tried at the same time, so that waiting for one costs nothing for the others.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from digipoort_auth import checkpassword
from tests.integration.fake_authd import SECRET, serving
from tests.sandbox import stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BufferedRWPair as Stream

    from tests.integration.gateway import Gateway

GOOD: Final = "accepted"
WRONG: Final = "wrong"
TEMP: Final = "temporary"
# The octets cannot be a login: the dialogue itself is refused, and no verdict is told.
NONSENSE: Final = "nonsense"
SECONDS: Final = 40
STACKS: Final = ("2.3-checkpassword", "2.3-lua", "2.4-lua")

# States of the gateway.
REAL: Final = "as it is"
NO_DIRECTORY: Final = "directory down"
NO_AUTHD: Final = "authd down"
FAKE: Final = "another authd"
LOCKED: Final = "after wrong passwords"
STATES: Final = (REAL, LOCKED, NO_DIRECTORY, NO_AUTHD, FAKE)
# The real authd has a password to verify for each, which takes a processor; the other one only waits.
AT_ONCE: Final = {REAL: 6, LOCKED: 8, NO_DIRECTORY: 12, NO_AUTHD: 12, FAKE: 24}


@dataclass(frozen=True, slots=True)
class Row:
    """One login. `login` and `password` may be keys of `.instance/env`; `differs` is told per door or per stack."""

    state: str
    name: str
    login: str | bytes
    password: str | bytes
    told: str
    differs: Mapping[str, str] | None = None

    def expected(self, stack: str, door: str) -> str:
        """Return what the login must be told."""
        differs = self.differs or {}
        return differs.get(stack) or differs.get(door) or differs.get(door.partition(" ")[0]) or self.told


ROWS: Final = (
    Row(REAL, "good", "TRADER_LOGIN", "TRADER_PASSWORD", GOOD),
    Row(REAL, "capitals", b"K7-Inlog", "TRADER_PASSWORD", GOOD),
    Row(REAL, "wrong", "TRADER_LOGIN", "wrong", WRONG),
    Row(REAL, "another's password", "TRADER_LOGIN", "TRADER2_PASSWORD", WRONG),
    Row(REAL, "empty password", "TRADER_LOGIN", b"", WRONG),
    Row(REAL, "unknown", "nobody", "wrong", WRONG),
    Row(REAL, "disabled", "INACTIVE_LOGIN", "INACTIVE_PASSWORD", WRONG),
    Row(REAL, "POP3 only", "POP3_ONLY_LOGIN", "POP3_ONLY_PASSWORD", WRONG, {"POP3": GOOD, "POP3S": GOOD}),
    Row(REAL, "submission only", "AGENCY_LOGIN", "AGENCY_PASSWORD", GOOD, {"POP3": WRONG, "POP3S": WRONG}),
    Row(REAL, "mailbox address", b"b1f0aa27c3d94e01@postbus.digipoort.invalid", "TRADER_PASSWORD", WRONG),
    Row(REAL, "login with slash", b"k7/inlog", "TRADER_PASSWORD", WRONG),
    Row(REAL, "login in UTF-8", "hándelaar".encode(), "wrong", WRONG),
    Row(REAL, "login with tab", b"k7-inlog\tx", "TRADER_PASSWORD", WRONG),
    Row(REAL, "login with newline", b"k7-inlog\nx", "TRADER_PASSWORD", WRONG),
    Row(REAL, "password in UTF-8", "TRADER_LOGIN", "wáchtwoord".encode(), WRONG),
    Row(REAL, "password with tab", "TRADER_LOGIN", b"x\tlogin=k7-inlog", WRONG),
    Row(REAL, "password with newline", "TRADER_LOGIN", b"x\nok", WRONG),
    Row(REAL, "password with NUL", "TRADER_LOGIN", b"x\0y", WRONG),
    Row(REAL, "password of 3,000 octets", "TRADER_LOGIN", b"x" * 3000, WRONG, {"POP3 USER": NONSENSE}),
    Row(REAL, "expired", "ENDED_LOGIN", "ENDED_PASSWORD", WRONG),
    Row(REAL, "not valid yet", "EARLY_LOGIN", "EARLY_PASSWORD", WRONG),
    Row(REAL, "wrong network", "ELSEWHERE_LOGIN", "ELSEWHERE_PASSWORD", WRONG),
    Row(REAL, "right network", "HERE_LOGIN", "HERE_PASSWORD", GOOD),
    Row(LOCKED, "good", "TRADER_LOGIN", "TRADER_PASSWORD", TEMP),
    Row(LOCKED, "another login", "TRADER2_LOGIN", "TRADER2_PASSWORD", GOOD),
    Row(NO_DIRECTORY, "good", "TRADER_LOGIN", "TRADER_PASSWORD", TEMP),
    Row(NO_DIRECTORY, "wrong", "TRADER_LOGIN", "wrong", TEMP),
    Row(NO_DIRECTORY, "unknown", "nobody", "wrong", TEMP),
    Row(NO_AUTHD, "good", "TRADER_LOGIN", "TRADER_PASSWORD", TEMP),
    Row(NO_AUTHD, "wrong", "TRADER_LOGIN", "wrong", TEMP),
    Row(FAKE, "octet for octet", "exact", SECRET, GOOD),
    Row(FAKE, "without a mailbox", "submits", "x", GOOD, {"POP3": TEMP, "POP3S": TEMP}),
    Row(FAKE, "in pieces", "pieces", "x", GOOD),
    Row(FAKE, "more than is known", "extra", "x", GOOD),
    Row(FAKE, "no verdict", "temp", "x", TEMP),
    Row(FAKE, "hanging", "hang", "x", TEMP),
    Row(FAKE, "drip", "drip", "x", TEMP),
    Row(FAKE, "gone without a word", "gone", "x", TEMP),
    Row(FAKE, "another login", "other", "x", TEMP),
    Row(FAKE, "path for a mailbox", "path", "x", TEMP),
    Row(FAKE, "slash in the mailbox", "slash", "x", TEMP),
    Row(FAKE, "mailbox in capitals", "capitals", "x", TEMP),
    Row(FAKE, "empty mailbox", "empty", "x", TEMP),
    Row(FAKE, "NUL in the mailbox", "nul", "x", TEMP),
    Row(FAKE, "bare ok", "bare", "x", TEMP),
    Row(FAKE, "5,000 octets", "long", "x", TEMP),
    Row(FAKE, "mailbox of 5,000 octets", "longok", "x", TEMP),
    Row(FAKE, "no LF", "noline", "x", TEMP),
    Row(FAKE, "two lines", "twolines", "x", TEMP),
    Row(FAKE, "garbage", "garbage", "x", TEMP),
    # Dovecot hands checkpassword login, password and three NULs in 512 octets at most, and refuses more itself.
    Row(FAKE, "511 octets", "size.a", b"x" * (511 - 9), GOOD),
    Row(FAKE, "512 octets", "size.a", b"x" * (512 - 9), GOOD),
    Row(FAKE, "513 octets", "size.a", b"x" * (513 - 9), GOOD, {"2.3-checkpassword": WRONG}),
)  # fmt: skip


@contextlib.contextmanager
def _connection(gateway: Gateway, port: str, *before_tls: bytes) -> Iterator[Stream]:
    """Connect, say what comes before TLS, and yield the encrypted stream."""
    context = ssl.create_default_context(cafile=gateway.env["CA_FILE"])
    host = gateway.env["GATEWAY_HOST"]
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((host, int(gateway.env[port])), timeout=SECONDS))
        if before_tls:
            with plain.makefile("rwb") as stream:
                _reply(stream)
                for line in before_tls:
                    _say(stream, line)
        secured = stack.enter_context(context.wrap_socket(plain, server_hostname=host))
        yield stack.enter_context(secured.makefile("rwb"))


def _say(stream: Stream, line: bytes) -> bytes:
    stream.write(line + b"\r\n")
    stream.flush()
    return _reply(stream)


def _reply(stream: Stream) -> bytes:
    """Return a reply's last line: SMTP's may have several."""
    while (line := stream.readline())[3:4] == b"-" and line[:3].isdigit():
        continue
    return line


def _plain(login: bytes, password: bytes) -> bytes:
    return base64.b64encode(b"\0" + login + b"\0" + password)


def _pop3_user(gateway: Gateway, login: bytes, password: bytes) -> bytes:
    with _connection(gateway, "POP3_PORT", b"STLS") as stream:
        if {*b"\r\n\0"} & {*login, *password}:
            # Such octets have no place in a line; SASL carries them all.
            return _sasl_login(stream, login, password)
        _say(stream, b"USER " + login)
        return _say(stream, b"PASS " + password)


def _pop3s_plain(gateway: Gateway, login: bytes, password: bytes) -> bytes:
    with _connection(gateway, "POP3S_PORT") as stream:
        _reply(stream)
        return _say(stream, b"AUTH PLAIN " + _plain(login, password))


def _smtp_plain(gateway: Gateway, login: bytes, password: bytes) -> bytes:
    with _connection(gateway, "SUBMISSION_PORT", b"EHLO client.test", b"STARTTLS") as stream:
        _say(stream, b"EHLO client.test")
        return _say(stream, b"AUTH PLAIN " + _plain(login, password))


def _smtp_login(gateway: Gateway, login: bytes, password: bytes) -> bytes:
    with _connection(gateway, "SUBMISSIONS_PORT") as stream:
        _reply(stream)
        _say(stream, b"EHLO client.test")
        return _sasl_login(stream, login, password)


def _sasl_login(stream: Stream, login: bytes, password: bytes) -> bytes:
    reply = _say(stream, b"AUTH LOGIN")
    for answer in (login, password):
        if not reply.startswith((b"334 ", b"+ ")):
            break
        reply = _say(stream, base64.b64encode(answer))
    return reply


DOORS: Final[Mapping[str, Callable[[Gateway, bytes, bytes], bytes]]] = {
    "POP3 USER": _pop3_user,
    "POP3S PLAIN": _pop3s_plain,
    "SMTP PLAIN": _smtp_plain,
    "SMTP LOGIN": _smtp_login,
}
MEANINGS: Final = {
    b"+OK": GOOD, b"-ERR [AUTH]": WRONG, b"-ERR [SYS/TEMP]": TEMP, b"235 ": GOOD, b"535 ": WRONG, b"454 ": TEMP,
}  # fmt: skip


def _cases() -> Iterator[object]:
    for stack in STACKS:
        for state in STATES:
            for row in ROWS:
                for door in DOORS:
                    if row.state == state:
                        name = f"{stack}-{state}-{row.name}-{door}".replace(" ", "_")
                        yield pytest.param(stack, state, row, door, id=name)


@pytest.fixture(scope="module")
def answers(gateway: Gateway, stack: str, request: pytest.FixtureRequest) -> Mapping[tuple[str, str], bytes]:
    """Bring the gateway into a state, and try every row of it over every door."""
    assert stacks.current(gateway.layout).name == stack
    rows = [row for row in ROWS if row.state == request.param]
    with _state(gateway, request.param), ThreadPoolExecutor(AT_ONCE[request.param]) as pool:
        tried = {
            (row.name, name): pool.submit(door, gateway, _octets(gateway, row.login), _octets(gateway, row.password))
            for row in rows
            for name, door in DOORS.items()
        }
        return {case: future.result() for case, future in tried.items()}


@contextlib.contextmanager
def _state(gateway: Gateway, state: str) -> Iterator[None]:
    if state == LOCKED:
        with _few_failures(gateway):
            _lock(gateway, gateway.env["TRADER_LOGIN"])
            yield
        return
    stopped = {NO_DIRECTORY: "postgresql", NO_AUTHD: "authd", FAKE: "authd"}.get(state)
    if stopped is None:
        yield
        return
    gateway.control("stop", stopped)
    try:
        with serving(gateway.layout.authd_run / "authd.sock") if state == FAKE else contextlib.nullcontext():
            yield
    finally:
        gateway.control("start", stopped)


@contextlib.contextmanager
def _few_failures(gateway: Gateway) -> Iterator[None]:
    """Let authd make a pair wait after its first wrong password."""
    settings = gateway.layout.settings / "authd.env"
    before = settings.read_text(encoding="utf-8")
    gateway.control("stop", "authd")
    settings.write_text(f"{before}AUTH_FREE_FAILURES_PAIR=1\n", encoding="utf-8")
    gateway.control("start", "authd")
    try:
        yield
    finally:
        gateway.control("stop", "authd")
        settings.write_text(before, encoding="utf-8")
        gateway.control("start", "authd")


def _lock(gateway: Gateway, login: str) -> None:
    """Make a login from this host wait for sixteen seconds."""
    with socket.socket(socket.AF_UNIX) as authd:
        authd.connect(str(gateway.layout.authd_run / "authd.sock"))
        for number, wait in enumerate((1, 2, 4, 8, 0)):
            password = f"wrong{number}".encode()
            authd.sendall(checkpassword.request(b"pop3", login.encode(), password, b"127.0.0.1", secured=True))
            assert authd.recv(100) == b"fail\n"
            # The time is what the limits are about: it must pass.
            time.sleep(wait)


def _octets(gateway: Gateway, word: str | bytes) -> bytes:
    return word if isinstance(word, bytes) else gateway.env.get(word, word).encode()


# The first use of Debian 13 on a machine makes its tree.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("stack", "answers", "row", "door"), _cases(), indirect=["stack", "answers"], scope="module")
def test_login(stack: str, answers: Mapping[tuple[str, str], bytes], row: Row, door: str) -> None:
    answer = answers[row.name, door]
    told = next((meaning for start, meaning in MEANINGS.items() if answer.startswith(start)), NONSENSE)
    assert told == row.expected(stack, door), answer
