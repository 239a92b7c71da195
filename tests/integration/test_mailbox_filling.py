"""A mailbox that fills up: the party is warned in it, mail waits, and what has waited too long is purged."""

from __future__ import annotations

import contextlib
import json
import os
import poplib
import re
import socket
import subprocess
import time
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner, Result

from digipoort import mailstore
from digipoort.cli import contents, main
from tests.integration import pop3
from tests.sandbox import layout as names
from tests.sandbox.clients import compose
from tests.sandbox.gateway import admin_environment
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway

GIBIBYTE: Final = 1024**3
TRADER2: Final = next(trader for trader in TRADERS if trader.key == "TRADER2")
DAY_SECONDS: Final = 86_400


@pytest.fixture(autouse=True)
def _empty(gateway: Gateway) -> Iterator[None]:
    """Begin with mailboxes that have Dovecot's folders and no mail; leave none."""
    pop3.clear(gateway)
    pop3.deliver(gateway, *pop3.samples(1))
    for path in (pop3.maildir(gateway) / "new").iterdir():
        path.unlink()
    yield
    pop3.clear(gateway)


def _stored(gateway: Gateway) -> list[bytes]:
    """Return the mails that were delivered to the reader."""
    return [path.read_bytes() for path in (pop3.maildir(gateway) / "new").iterdir()]


def _warnings(gateway: Gateway) -> list[str]:
    """Return the per cent of each warning that was delivered to the reader, in no order."""
    marks = [
        re.search(rb"^X-Digipoort-Warning: mailbox-filling; percent=(\d+)$", raw, re.MULTILINE)
        for raw in _stored(gateway)
    ]
    return [mark[1].decode() for mark in marks if mark]


def _warns(gateway: Gateway) -> bool:
    """Tell whether the program that warns is at work."""
    program = str(gateway.layout.library / "quota-warning").encode()
    found = False
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found |= program in path.read_bytes()
    return found


def _cross(gateway: Gateway, percent: int, expected: list[str], *, domain: str = "") -> None:
    """Let a message take the mailbox beyond so many per cent and others follow; these warnings must be all there are.

    Dovecot notices a crossing with the delivery after it, and does not wait for the program that it runs then.
    """
    message = b"Subject: x\r\n\r\n" + b"x" * 70 * 20 + b"\r\n"
    held = sum(int(path.name.rpartition(",W=")[2]) for path in (pop3.maildir(gateway) / "new").iterdir())
    with pop3.filled(gateway, GIBIBYTE * percent // 100 - 2000 - held):
        pop3.deliver(gateway, *[message] * 2, domain=domain)
        gateway.wait_for(lambda: _warnings(gateway) == expected, f"the warnings {expected}")
        pop3.deliver(gateway, *[message] * 3, domain=domain)
        gateway.wait_for(lambda: not _warns(gateway), "the end of the program that warns")
    assert _warnings(gateway) == expected


@pytest.mark.parametrize("percent", [80, 95])
@pytest.mark.parametrize("domain", [names.MAILBOX_DOMAIN, f"receipts.{names.MAILBOX_DOMAIN}"], ids=["mail", "receipts"])
def test_a_party_is_warned_once_when_its_mailbox_fills(gateway: Gateway, percent: int, domain: str) -> None:
    _cross(gateway, percent, [str(percent)], domain=domain)


def test_the_warning_is_a_proper_mail_that_discloses_nothing(gateway: Gateway) -> None:
    _cross(gateway, 80, ["80"])
    session = pop3.opened(gateway)
    mails = [session.message(number + 1) for number in range(session.stat()[0])]
    session.quit()
    (raw,) = (mail for mail in mails if b"X-Digipoort-Warning" in mail)
    gateway.record(raw)
    mail = BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)
    assert mail["From"] == f"postmaster@{names.HOSTNAME}"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Return-Path"] == "<>"
    assert mail["Message-ID"].endswith(f"@{names.HOSTNAME}>")
    assert mail["Content-Language"] == "nl, en"
    assert mail["Date"].datetime.timestamp() == pytest.approx(time.time(), abs=60)
    text = mail.get_content()
    assert "voor meer dan 80% vol" in text
    assert "more than 80% full" in text
    for secret in (pop3.READER.mailbox, names.MAILBOX_DOMAIN, pop3.READER.login, str(gateway.layout.root)):
        assert secret.encode() not in raw


def test_a_mailbox_that_stays_at_the_limit_is_warned_once_an_hour(gateway: Gateway) -> None:
    for _ in range(3):
        _cross(gateway, 80, ["80"])
    mark = gateway.layout.mail / pop3.READER.mailbox / "quota-warning-80"
    an_hour_ago = time.time() - 3601
    os.utime(mark, (an_hour_ago, an_hour_ago))
    _cross(gateway, 80, ["80", "80"])


def test_a_warning_that_cannot_be_stored_is_logged_and_costs_no_mail(gateway: Gateway) -> None:
    (gateway.layout.mail / pop3.READER.mailbox / "quota-warning-80").mkdir()
    _cross(gateway, 80, [])
    assert len(_stored(gateway)) == 5
    said = f"quota-warning: {pop3.READER.mailbox} at 80% was not told"
    gateway.wait_for(lambda: said in gateway.log(), "why it was not told")


def test_mail_for_a_full_mailbox_comes_once_the_party_has_emptied_it(gateway: Gateway) -> None:
    mark = f"Leeggemaakt{time.time_ns()}"
    agency, trader = gateway.account("AGENCY", gateway.env["AGS_ADDRESS"]), gateway.account("TRADER2")
    gateway.settle("TRADER2")
    with pop3.filled(gateway, GIBIBYTE, TRADER2.mailbox) as filler:
        gateway.send(agency, [trader.address], compose(agency.address, trader.address, mark, "x\n").as_bytes())
        gateway.wait_for(lambda: "452 4.2.2" in gateway.log(), "a temporary refusal")
        gateway.wait_for(lambda: "Quota exceeded" in gateway.postfix("postqueue", "-j"), "the message waits")
        session = pop3.opened(gateway, "TRADER2")
        session.dele(1)
        session.quit()
        assert not filler.exists()
    gateway.postfix("postqueue", "-f")
    received = gateway.wait_for(lambda: gateway.fetch(trader), "the message, once there is room")
    assert mark.encode() in received[0]


# --- digipoort mailbox usage, purge ----------------------------------------------------------------------------------


def _later(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str, days: float) -> Result:
    """Run the admin's program as it will run so many days from now."""
    monkeypatch.setattr(contents, "time", lambda: time.time() + days * DAY_SECONDS)
    return CliRunner(mix_stderr=False).invoke(main, list(arguments), env=admin_environment(gateway.layout))


def test_usage_shows_the_fullest_mailbox_first(gateway: Gateway) -> None:
    with pop3.filled(gateway, GIBIBYTE // 2):
        done = gateway.digipoort("mailbox", "usage", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows[0] == {
        "mailbox": pop3.READER.mailbox,
        "party": pop3.READER.code,
        "logins": [pop3.READER.login],
        "messages": 1,
        "kibibytes": 1024 * 1024 // 2,
        "percent": 50,
    }
    assert {row["mailbox"] for row in rows} == {trader.mailbox for trader in TRADERS} | {names.POSTMASTER_MAILBOX}
    # Looking makes no folder.
    assert {row["messages"] for row in rows if not pop3.maildir(gateway, row["mailbox"]).exists()} <= {0}
    assert "percent" in gateway.digipoort("mailbox", "usage").stdout.lower()


def test_usage_without_dovecot_is_temporary(gateway: Gateway) -> None:
    gateway.control("stop", "dovecot")
    try:
        done = gateway.digipoort("mailbox", "usage")
    finally:
        gateway.control("start", "dovecot")
    assert done.returncode == 75
    assert "doveadm quota get failed" in done.stderr


def test_purge_deletes_what_is_older_and_nothing_else(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    pop3.deliver(gateway, *pop3.samples(3))
    pop3.deliver(gateway, *pop3.samples(1), mailbox=names.POSTMASTER_MAILBOX)
    before = pop3.uidls(gateway)
    words = ("mailbox", "purge", "--days", "30")
    assert pop3.READER.mailbox not in _later(gateway, monkeypatch, *words, "--yes", days=29.9).stdout
    looked = _later(gateway, monkeypatch, *words, "--dry-run", days=30.1)
    assert f"{pop3.READER.mailbox}: 3 older than 30 days\n" in looked.stdout
    unasked = _later(gateway, monkeypatch, *words, days=30.1)
    assert (unasked.exit_code, "--yes" in unasked.stderr) == (1, True)
    assert pop3.uidls(gateway) == before
    purged = _later(gateway, monkeypatch, *words, "--yes", days=30.1)
    assert purged.exit_code == 0, purged.stderr
    assert f"{pop3.READER.mailbox}: 3 deleted\n" in purged.stdout
    assert f"{names.POSTMASTER_MAILBOX}: " in purged.stdout
    assert pop3.uidls(gateway) == []
    assert list((pop3.maildir(gateway, names.POSTMASTER_MAILBOX) / "new").iterdir()) == []
    gateway.wait_for(
        lambda: f"event=mailbox_purged mailbox={pop3.READER.mailbox} messages=3 days=30" in gateway.log(), "the log"
    )
    assert "nothing is deleted" in _later(gateway, monkeypatch, *words, "--yes", days=30.1).stdout


def test_nothing_is_purged_where_mail_is_kept(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    pop3.deliver(gateway, *pop3.samples(1))
    refused = _later(gateway, monkeypatch, "mailbox", "purge", "--yes", days=9999)
    assert (refused.exit_code, "MAIL_RETENTION_DAYS is 0" in refused.stderr) == (1, True)
    assert _later(gateway, monkeypatch, "mailbox", "purge", "--days", "0", days=9999).exit_code == 2
    assert len(pop3.uidls(gateway)) == 1


def test_purge_takes_nothing_from_an_open_session(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    pop3.deliver(gateway, *pop3.samples(2))
    session = pop3.opened(gateway)
    assert session.stat()[0] == 2
    words = ("mailbox", "purge", "--days", "30", "--yes")
    done = _later(gateway, monkeypatch, *words, days=31)
    assert f"{pop3.READER.mailbox}: a POP3 session is open, 2 are left until the next time\n" in done.stdout
    assert b"Aangifte 0" in session.message(1)
    assert b"Aangifte 1" in session.message(2)
    session.dele(1)
    session.quit()
    assert f"{pop3.READER.mailbox}: 1 deleted\n" in _later(gateway, monkeypatch, *words, days=31).stdout
    gateway.wait_for(lambda: f"event=mailbox_busy mailbox={pop3.READER.mailbox} messages=2" in gateway.log(), "the log")


def test_no_session_begins_while_a_mailbox_is_purged(gateway: Gateway) -> None:
    with mailstore.session_lock(pop3.maildir(gateway)) as held:
        assert held
        with pytest.raises(poplib.error_proto, match="IN-USE"):
            pop3.opened(gateway).stat()
    assert pop3.uidls(gateway) == []


def test_a_purge_that_was_killed_keeps_nobody_out(gateway: Gateway) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock = pop3.maildir(gateway) / mailstore.SESSION_LOCK
    lock.write_text(f"{gone.pid}:{socket.gethostname()}", encoding="ascii")
    with mailstore.session_lock(pop3.maildir(gateway)) as held:
        assert not held
    began = time.monotonic()
    assert pop3.uidls(gateway) == []
    assert time.monotonic() - began < 8
    assert not lock.exists()
