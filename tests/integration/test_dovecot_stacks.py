"""What is the same whichever Dovecot runs and however it asks authd: mailboxes, lookups, what is left behind."""

from __future__ import annotations

import contextlib
import os
import poplib
import re
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.fake_authd import MAILBOX, serving
from tests.sandbox import layout as names
from tests.sandbox import stacks
from tests.sandbox.clients import compose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway
    from tests.sandbox.clients import Account

pytestmark = [
    pytest.mark.parametrize("stack", ["2.3-checkpassword", "2.3-lua", "2.4-lua"], indirect=True, scope="module"),
    # The first use of Debian 13 on a machine makes its tree.
    pytest.mark.timeout(600),
]
WITHOUT_PENALTY: Final = 2.0


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
    # As many as keep several workers of Dovecot's busy, each with a connection of its own.
    with ThreadPoolExecutor(4) as pool:
        before = list(pool.map(lambda _: _login(gateway, trader, "wrong"), range(4)))
        assert all(answer.startswith(b"-ERR [AUTH]") for answer in before), before
        gateway.control("stop", "authd")
        gateway.control("start", "authd")
        after = list(pool.map(lambda _: _login(gateway, trader, "wrong"), range(4)))
        assert all(answer.startswith(b"-ERR [AUTH]") for answer in after), after


@pytest.mark.usefixtures("stack")
def test_doveadm_finds_mailboxes_by_login_and_by_address_and_no_password(gateway: Gateway) -> None:
    found, address = "size", f"size@{names.MAILBOX_DOMAIN}"
    with _another_authd(gateway) as requests:
        answers = {
            name: _doveadm(gateway, "user", "-f", "home", name) for name in (found, address, "nobody", "other", "temp")
        }
        password = _doveadm(gateway, "auth", "lookup", found)
    home = f"{gateway.layout.mail / MAILBOX}\n"
    assert {name: (answer.returncode, answer.stdout) for name, answer in answers.items()} == {
        found: (0, home),
        address: (0, home),
        "nobody": (os.EX_NOUSER, ""),
        "other": (os.EX_TEMPFAIL, ""),
        "temp": (os.EX_TEMPFAIL, ""),
    }
    assert requests == [f"DIGIPOORT-AUTH/1\tlookup\tservice=doveadm\tlogin={name}\n".encode() for name in answers]
    assert password.returncode != 0


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
