"""Backup and restore with the very commands of docs/operate.md: logins, receipts and unique-ids are as they were."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests import postgres
from tests.integration import pop3
from tests.sandbox.clients import compose
from tests.sandbox.gateway import admin_environment
from tests.sandbox.layout import CHECKOUT, MAIL_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.integration.gateway import Gateway

PAGE: Final = CHECKOUT / "docs" / "operate.md"
_BLOCK: Final = re.compile(r"<!-- test: (?P<name>[a-z-]+) -->\n```sh\n(?P<commands>.*?)```", re.DOTALL)
_FOLDER: Final = "/var/backups/digipoort"


def _commands() -> Mapping[str, str]:
    """Return the page's blocks of commands that are named for a test."""
    return {found["name"]: found["commands"] for found in _BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}


@pytest.fixture
def paste(gateway: Gateway, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Yield a function that runs a block of the page, with the sandbox's paths and daemons instead of a host's."""
    layout = gateway.layout
    sandbox = f"{sys.executable} -m tests.sandbox"
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "digipoort").write_text(f'#!/bin/sh\nexec {sys.executable} -m digipoort.cli "$@"\n')
    (programs / "digipoort").chmod(0o755)
    backups = tmp_path / "backups"
    backups.mkdir()
    # Where a host has them, and where the sandbox does.
    places = {
        _FOLDER: str(backups),
        "systemctl stop digipoort-": f"{sandbox} stop ",
        "systemctl start digipoort-": f"{sandbox} start ",
        "/var/lib/digipoort": str(layout.root),
        "/var/spool/postfix-digipoort": str(layout.spool),
        "/etc/postfix-digipoort": str(layout.postfix),
    }

    def run(name: str, **environment: str) -> str:
        text = _commands()[name]
        for there, here in places.items():
            text = text.replace(there, here)
        done = subprocess.run(
            ["/bin/bash", "-euc", text],
            env=admin_environment(layout)
            | {"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(CHECKOUT)}
            | environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        return done.stdout

    yield run
    shutil.rmtree(backups)


def test_every_block_of_commands_is_pasted_by_a_test() -> None:
    assert set(_commands()) == {
        *(f"directory-{step}" for step in ("backup", "restore", "after")),
        *(f"{what}-{step}" for what in ("mailboxes", "queue") for step in ("backup", "restore")),
    }


def _road(gateway: Gateway, subject: str) -> None:
    """Let a party submit a message and collect its receipt."""
    account, address = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    gateway.send(account, [address], compose(account.address, address, subject, "Aangifte").as_bytes())
    assert gateway.receipt(account).action == "relayed"
    assert gateway.agency_copy(subject)


def _superuser(password: str, folder: Path) -> dict[str, str]:
    """Return the environment in which PostgreSQL's programs are the superuser of a cluster."""
    return {"PGHOST": str(folder / "run"), "PGUSER": postgres.SUPERUSER, "PGPASSWORD": password}


def _known(gateway: Gateway) -> list[str]:
    """Return all that the directory holds, and what was changed of one flow."""
    shown = [gateway.digipoort(*words) for words in (("export",), ("history", "AGS", "--json"))]
    assert [one.returncode for one in shown] == [0, 0]
    return [one.stdout for one in shown]


def test_the_directory_is_restored_into_a_new_cluster(gateway: Gateway, paste: Callable[..., str]) -> None:
    gateway.settle("TRADER", "POP3_ONLY")
    folder = gateway.layout.postgresql
    password = str(conninfo_to_dict(gateway.env["DIRECTORY_DSN"])["password"])
    paste("directory-backup", **_superuser(password, folder))
    known = _known(gateway)
    # A change after the dump: it is lost, and this host's maps are newer than the directory.
    gateway.administer(("flow", "limit", "AGS", "9999999"), ("maps", "publish"))
    lost = folder.with_name("lost")
    gateway.control("stop", "postgresql")
    folder.rename(lost)
    try:
        # The superuser's password comes with the roles, as the programs' do; on a host he needs none.
        postgres.create_cluster(folder, password)
        gateway.control("start", "postgresql")
        paste("directory-restore", **_superuser(password, folder))
        paste("directory-after")
        assert _known(gateway) == known
        _road(gateway, f"restored-{secrets.token_hex(4)}")
        pop3.deliver(gateway, *pop3.samples(1))
        assert len(pop3.uidls(gateway)) == 1
        doctor = gateway.digipoort("doctor", "directory", "tables", "sockets")
        assert doctor.returncode == 0, doctor.stdout
    finally:
        gateway.control("stop", "postgresql")
        shutil.rmtree(folder, ignore_errors=True)
        lost.rename(folder)
        gateway.control("start", "postgresql")
        gateway.administer(("flow", "limit", "AGS", "10485760"), ("maps", "publish", "--allow-older"))
        pop3.clear(gateway)


def test_mailboxes_are_restored_with_their_unique_ids(gateway: Gateway, paste: Callable[..., str]) -> None:
    gateway.settle("TRADER", "POP3_ONLY")
    pop3.clear(gateway)
    before = gateway.layout.mail.with_name("mail.before")
    try:
        pop3.deliver(gateway, *pop3.samples(3))
        known = pop3.uidls(gateway)
        paste("mailboxes-backup")
        session = pop3.opened(gateway)
        session.dele(1)
        session.quit()
        pop3.deliver(gateway, *pop3.samples(1))
        (later,) = set(pop3.uidls(gateway)) - set(known)
        paste("mailboxes-restore")
        assert pop3.uidls(gateway) == known
        # What came after the backup goes back by itself.
        (file,) = [path for path in (before / pop3.READER.mailbox).rglob("*") if path.name.startswith(later)]
        target = pop3.maildir(gateway) / "new" / later
        shutil.copy2(file, target)
        os.chown(target, MAIL_UID, MAIL_UID)
        assert pop3.uidls(gateway) == [*known, later]
        pop3.deliver(gateway, *pop3.samples(1))
        assert len(set(pop3.uidls(gateway))) == 5
    finally:
        if before.exists():
            shutil.rmtree(before)
        pop3.clear(gateway)


def test_a_queue_that_is_moved_loses_nothing(gateway: Gateway, paste: Callable[..., str]) -> None:
    gateway.settle("TRADER")
    account, address = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    marks = [f"moved-{secrets.token_hex(4)}" for _ in range(3)]
    gateway.control("stop", "milter-acceptance")
    try:
        for mark in marks:
            gateway.send(account, [address], compose(account.address, address, mark, "Aangifte").as_bytes())
        gateway.wait_for(lambda: gateway.postfix("postqueue", "-j").count('"deferred"') == len(marks), "deferred mail")
        paste("queue-backup")
        for name in ("deferred", "defer"):
            for path in (gateway.layout.spool / name).rglob("*"):
                if path.is_file():
                    path.unlink()
    finally:
        gateway.control("start", "milter-acceptance")
    # postsuper tells what it renamed, as Postfix's user, when no postlogd is there yet to write it. A host has syslog.
    log = gateway.layout.mail_log
    log.chmod(0o666)
    try:
        paste("queue-restore")
    finally:
        log.chmod(0o644)
    assert {report.action for report in gateway.receipts(account, len(marks))} == {"relayed"}
    assert all(gateway.agency_copies(mark) for mark in marks)
