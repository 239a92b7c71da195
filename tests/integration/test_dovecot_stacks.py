"""What is the same whichever Dovecot runs and however it asks authd: mailboxes, lookups, what is left behind."""

from __future__ import annotations

import contextlib
import poplib
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.fake_authd import MAILBOX, serving
from tests.sandbox import stacks
from tests.sandbox.clients import compose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway
    from tests.sandbox.clients import Account

pytestmark = pytest.mark.parametrize(
    "stack", ["2.3-checkpassword", "2.3-lua", "2.4-lua"], indirect=True, scope="module"
)
WITHOUT_PENALTY: Final = 2.0
TEMPORARY: Final = b"-ERR [SYS/TEMP]"


@contextlib.contextmanager
def _session(gateway: Gateway) -> Iterator[poplib.POP3]:
    session = poplib.POP3(gateway.env["GATEWAY_HOST"], int(gateway.env["POP3_PORT"]), timeout=60)
    try:
        session.stls(ssl.create_default_context(cafile=gateway.env["CA_FILE"]))
        yield session
    finally:
        session.close()


def _login(gateway: Gateway, account: Account, password: str = "") -> bytes:
    """Return what a login is told."""
    with _session(gateway) as session:
        session.user(account.login)
        try:
            return session.pass_(password or account.password)
        except poplib.error_proto as error:
            return bytes(error.args[0])


def _doveadm(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    config = str(gateway.layout.dovecot / "dovecot.conf")
    command = stacks.current(gateway.layout).command("/usr/bin/doveadm", "-c", config, *words)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextlib.contextmanager
def _another_authd(gateway: Gateway) -> Iterator[list[bytes]]:
    """Put the tests' own authd in the place of the real one; yield what it is asked."""
    gateway.control("stop", "authd")
    try:
        with serving(gateway.layout.authd_run / "authd.sock") as fake:
            yield fake.requests
    finally:
        gateway.control("start", "authd")


@pytest.mark.usefixtures("stack")
def test_wrong_logins_do_not_make_the_next_one_wait(gateway: Gateway) -> None:
    trader, other = gateway.account("TRADER"), gateway.account("TRADER2")
    for _ in range(6):
        assert _login(gateway, trader, "wrong").startswith(b"-ERR [AUTH]")
    started = time.monotonic()
    assert _login(gateway, other).startswith(b"+OK")
    assert time.monotonic() - started < WITHOUT_PENALTY


@pytest.mark.usefixtures("stack")
def test_an_authd_that_was_restarted_costs_no_login(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    for _ in range(3):
        assert _login(gateway, trader).startswith(b"+OK")
        gateway.control("stop", "authd")
        gateway.control("start", "authd")
    assert _login(gateway, trader).startswith(b"+OK")


@pytest.mark.usefixtures("stack")
def test_authd_is_told_of_the_connections_encryption_and_address(gateway: Gateway) -> None:
    with _another_authd(gateway) as requests:
        _login(gateway, gateway.account("TRADER"))
    words = requests[0].rstrip(b"\n").split(b"\t")
    assert words[:4] == [b"DIGIPOORT-AUTH/1", b"verify", b"service=pop3", b"login=k7-inlog"]
    assert {b"ip=127.0.0.1", b"secured=yes"} < set(words)


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("exact@postbus.digipoort.invalid", None),
        ("size", MAILBOX),
        ("size@postbus.digipoort.invalid", MAILBOX),
        ("nobody", None),
    ],
)
@pytest.mark.usefixtures("stack")
def test_doveadm_finds_a_mailbox(gateway: Gateway, name: str, home: str | None) -> None:
    with _another_authd(gateway) as requests:
        found = _doveadm(gateway, "user", "-f", "home", name)
    assert found.stdout.strip() == (str(gateway.layout.mail / home) if home else "")
    assert (found.returncode == 0) == (home is not None), found.stderr
    assert requests == [f"DIGIPOORT-AUTH/1\tlookup\tservice=doveadm\tlogin={name}\n".encode()]


@pytest.mark.usefixtures("stack")
def test_doveadm_takes_an_outage_for_no_answer(gateway: Gateway) -> None:
    with _another_authd(gateway):
        outage, unknown = (_doveadm(gateway, "user", name) for name in ("temp", "nobody"))
    # "No such user" is 67 (EX_NOUSER), a failure to look is 75 (EX_TEMPFAIL).
    assert (outage.returncode, unknown.returncode) == (75, 67), (outage.stderr, unknown.stderr)


@pytest.mark.usefixtures("stack")
def test_a_lookup_of_a_password_vouches_for_nobody(gateway: Gateway) -> None:
    with _another_authd(gateway) as requests:
        found = _doveadm(gateway, "auth", "lookup", "size")
    assert found.returncode != 0
    assert requests == []


@pytest.mark.usefixtures("stack")
def test_a_mailbox_keeps_its_unique_ids_without_dovecots_index_and_its_mail_unread(gateway: Gateway) -> None:
    gateway.settle("TRADER")
    trader = gateway.account("TRADER")
    gateway.send(
        trader,
        [gateway.env["AGS_ADDRESS"]],
        compose(trader.address, gateway.env["AGS_ADDRESS"], "Uidl", "x\n").as_bytes(),
    )
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    maildir = gateway.layout.mail / MAILBOX / "Maildir"
    before = _unique_ids(gateway, trader)
    assert len(before) == 1
    names = [path.name for path in (maildir / "new").iterdir()]
    assert [name.partition(",")[0] for name in names] == [identity.partition(",")[0] for identity in before]
    for path in maildir.glob("dovecot*"):
        path.unlink()
    assert _unique_ids(gateway, trader) == before
    gateway.fetch(trader)


def _unique_ids(gateway: Gateway, account: Account) -> list[str]:
    with _session(gateway) as session:
        session.user(account.login)
        session.pass_(account.password)
        session.retr(1)
        found = [line.decode().partition(" ")[2] for line in session.uidl()[1]]
        session.quit()
        return found


@pytest.mark.usefixtures("stack")
def test_a_mailbox_is_open_in_one_session_at_a_time(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    with _session(gateway) as first:
        first.user(trader.login)
        first.pass_(trader.password)
        assert _login(gateway, trader).startswith(b"-ERR [IN-USE]")
        first.quit()


@pytest.mark.usefixtures("stack")
def test_nothing_is_left_of_many_logins(gateway: Gateway) -> None:
    accounts = [(gateway.account("TRADER"), ""), (gateway.account("TRADER"), "wrong"), (gateway.account("TRADER2"), "")]
    for account, password in accounts * 2:
        _login(gateway, account, password)
    gateway.wait_for(lambda: not _sessions(gateway), "the end of the sessions")
    before = _descriptors(gateway)
    for account, password in accounts * 5:
        _login(gateway, account, password)
    gateway.wait_for(lambda: not _sessions(gateway), "the end of the sessions")
    gateway.wait_for(lambda: _descriptors(gateway) <= before, f"no more descriptors than {before}")


def _processes(gateway: Gateway, pattern: str) -> list[Path]:
    """Return the processes below Dovecot's master whose command line matches."""
    master = int((gateway.layout.pids / "dovecot.pid").read_text())
    found, parents = [], {master}
    for entry in sorted(
        (path for path in Path("/proc").iterdir() if path.name.isdigit()), key=lambda path: int(path.name)
    ):
        with contextlib.suppress(OSError):
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent in parents:
                parents.add(int(entry.name))
                if re.search(pattern, entry.joinpath("cmdline").read_text().replace("\0", " ")):
                    found.append(entry)
    return found


def _sessions(gateway: Gateway) -> list[Path]:
    return _processes(gateway, r"checkpassword|/pop3(\s|$)")


def _descriptors(gateway: Gateway) -> int:
    """Return how many descriptors Dovecot's auth and its workers have."""
    return sum(len(list(process.joinpath("fd").iterdir())) for process in _processes(gateway, r"/auth(\s|$)"))
