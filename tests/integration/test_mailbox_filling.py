"""A mailbox that fills up: the party is warned in it, mail waits, and what has waited too long is purged."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import poplib
import re
import socket
import subprocess
import sys
import time
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import pytest
from click.testing import CliRunner, Result

from digipoort import mailstore
from digipoort.cli import contents, main
from digipoort.directory import queries
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


def _later(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str, days: float, ahead: float = 0) -> Result:
    """Run the admin's program as it will run so many days from now, on a host whose clock is so many seconds ahead."""
    clock = f"SELECT extract(epoch FROM clock_timestamp())::bigint + {days * DAY_SECONDS:.0f}"  # noqa: S608 - a number
    monkeypatch.setattr(queries, "SECONDS_NOW", clock)
    monkeypatch.setattr(contents, "time", lambda: time.time() + days * DAY_SECONDS + ahead)
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


@pytest.mark.parametrize("ahead", [31 * DAY_SECONDS, 310, -310])
@pytest.mark.parametrize("options", [("--yes",), ("--dry-run",)], ids=" ".join)
def test_nothing_is_purged_by_a_clock_that_is_wrong(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], ahead: float
) -> None:
    pop3.deliver(gateway, *pop3.samples(1))
    words = ("mailbox", "purge", "--days", "30", *options)
    refused = _later(gateway, monkeypatch, *words, days=0, ahead=ahead)
    assert (refused.exit_code, refused.stdout) == (75, "")
    seconds = re.search(r"clock and that of the directory's server differ by (\d+) seconds", refused.stderr)
    assert seconds
    assert int(seconds[1]) == pytest.approx(abs(ahead), abs=5)
    assert len(pop3.uidls(gateway)) == 1


def test_the_earlier_of_two_clocks_that_nearly_agree_tells_the_age(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    pop3.deliver(gateway, *pop3.samples(1))
    words = ("mailbox", "purge", "--days", "30", "--dry-run")
    assert (
        pop3.READER.mailbox not in _later(gateway, monkeypatch, *words, days=30 - 200 / DAY_SECONDS, ahead=290).stdout
    )
    assert pop3.READER.mailbox in _later(gateway, monkeypatch, *words, days=30 + 200 / DAY_SECONDS, ahead=-100).stdout


def _damage(gateway: Gateway, damage: str) -> None:
    """Leave the reader's Maildir as a restore by root does that forgot the owner: all of it, or the mail alone."""
    folder = pop3.maildir(gateway)
    damaged = [folder] if damage == "no reading" else [folder / "new", folder / "cur"]
    for path in damaged:
        os.chown(path, 0, 0)
        path.chmod(0o700 if damage == "no reading" else 0o755)


def test_usage_shows_the_others_when_a_mailbox_is_damaged(gateway: Gateway) -> None:
    pop3.deliver(gateway, *pop3.samples(2))
    _damage(gateway, "no reading")
    done = gateway.digipoort("mailbox", "usage", "--json")
    assert done.returncode == 75
    shown = {row["mailbox"] for row in json.loads(done.stdout)}
    assert shown == {trader.mailbox for trader in TRADERS} - {pop3.READER.mailbox} | {names.POSTMASTER_MAILBOX}
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"digipoort: {pop3.READER.mailbox}: doveadm quota get failed: ")
    assert "Permission denied" in said


@pytest.mark.parametrize("damage", ["no reading", "no deleting"])
def test_the_others_are_purged_when_a_mailbox_is_damaged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    pop3.deliver(gateway, *pop3.samples(2))
    pop3.deliver(gateway, *pop3.samples(1), mailbox=names.POSTMASTER_MAILBOX)
    _damage(gateway, damage)
    done = _later(gateway, monkeypatch, "mailbox", "purge", "--days", "30", "--yes", days=31)
    assert done.exit_code == 75
    assert re.search(rf"^{names.POSTMASTER_MAILBOX}: \d+ deleted$", done.stdout, re.MULTILINE)
    assert pop3.READER.mailbox not in done.stdout
    assert list((pop3.maildir(gateway, names.POSTMASTER_MAILBOX) / "new").iterdir()) == []
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"digipoort: {pop3.READER.mailbox}: doveadm ")
    assert "Permission denied" in said
    assert len(_stored(gateway)) == 2
    gateway.wait_for(
        lambda: re.search(rf'event=purge_incomplete failing=1 days=30 detail="{pop3.READER.mailbox}: ', gateway.log()),
        "the log",
    )


def test_a_mailbox_that_cannot_be_locked_is_reported(gateway: Gateway) -> None:
    # Its folder was removed since its mail was counted.
    pop3.clear(gateway)
    pop3.deliver(gateway, *pop3.samples(1), mailbox=names.POSTMASTER_MAILBOX)
    store = mailstore.MailStore(gateway.layout.dovecot / "dovecot.conf", gateway.layout.mail, names.MAILBOX_DOMAIN)
    tomorrow = int(time.time()) + DAY_SECONDS
    (batch,) = mailstore.purge(store, [pop3.READER.mailbox, names.POSTMASTER_MAILBOX], tomorrow)
    assert batch.failing == {pop3.READER.mailbox: "cannot be locked: No such file or directory"}
    assert [one.mailbox for one in batch.purged] == [names.POSTMASTER_MAILBOX]
    assert not pop3.maildir(gateway).exists()


@pytest.mark.parametrize("daemon", ["authd", "dovecot"])
def test_what_may_have_been_deleted_is_told_when_it_cannot_be_counted(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, daemon: str
) -> None:
    pop3.deliver(gateway, *pop3.samples(2))
    stops = tmp_path / "doveadm"
    stops.write_text(
        f"""#!/bin/sh
{mailstore.DOVEADM} "$@" || exit
case " $* " in *" expunge "*) cd {names.CHECKOUT} && {sys.executable} -m tests.sandbox stop {daemon} >/dev/null ;; esac
""",
        encoding="utf-8",
    )
    stops.chmod(0o755)
    monkeypatch.setattr(mailstore, "DOVEADM", str(stops))
    try:
        done = _later(gateway, monkeypatch, "mailbox", "purge", "--days", "30", "--yes", days=31)
    finally:
        gateway.control("start", daemon)
    assert _stored(gateway) == []
    assert done.exit_code == 75
    assert f"{pop3.READER.mailbox}: up to 2 deleted, not counted\n" in done.stdout
    assert "doveadm search failed: " in done.stderr
    lost = f"event=mailbox_purge_uncounted mailbox={pop3.READER.mailbox} messages=2 days=30"
    gateway.wait_for(lambda: lost in gateway.log(), "the log")


def test_all_is_logged_although_nobody_reads_what_is_printed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    pop3.deliver(gateway, *pop3.samples(2))
    pop3.deliver(gateway, *pop3.samples(1), mailbox=names.POSTMASTER_MAILBOX)

    def closed(_text: str) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(click, "echo", closed)
    began = len(gateway.log())
    _later(gateway, monkeypatch, "mailbox", "purge", "--days", "30", "--yes", days=31)
    for mailbox in (pop3.READER.mailbox, names.POSTMASTER_MAILBOX):
        lost = f"event=mailbox_purged mailbox={mailbox} "
        gateway.wait_for(lambda lost=lost: lost in gateway.log()[began:], "the log")  # type: ignore[misc]


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
    # Dovecot says goodbye first.
    gateway.wait_for(lambda: not lock.exists(), "the end of the session")


# --- digipoort mailbox add, change, remove ---------------------------------------------------------------------------


def test_no_party_is_given_what_waits_for_another(gateway: Gateway) -> None:
    mailbox = f"w{time.time_ns():x}"
    parties = pop3.READER.code, TRADER2.code
    assert gateway.digipoort("mailbox", "add", parties[0], "--id", mailbox).returncode == 0
    pop3.deliver(gateway, *pop3.samples(1), mailbox=mailbox)
    try:
        for words in (("change", mailbox, "--party", parties[1]), ("remove", mailbox, "--yes")):
            refused = gateway.digipoort("mailbox", *words)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert f"Messages wait in mailbox {mailbox} on this host" in refused.stderr
        pop3.maildir(gateway, mailbox).rename(gateway.layout.mail / mailbox / "Kept")
        assert gateway.digipoort("mailbox", "change", mailbox, "--party", parties[1]).returncode == 0
        assert gateway.digipoort("mailbox", "remove", mailbox, "--yes").returncode == 0
        # Mail that was read is mail, too.
        (gateway.layout.mail / mailbox / "Kept").rename(pop3.maildir(gateway, mailbox))
        (message,) = (pop3.maildir(gateway, mailbox) / "new").iterdir()
        message.rename(pop3.maildir(gateway, mailbox) / "cur" / f"{message.name}:2,S")
        again = gateway.digipoort("mailbox", "add", parties[1], "--id", mailbox)
        assert (again.returncode, "Messages wait in" in again.stderr) == (1, True)
        assert gateway.digipoort("mailbox", "show", mailbox).returncode == 1
    finally:
        pop3.clear(gateway, mailbox)
