"""Day two of one gateway: changes, upgrades, certificates, restores, each while parties go on handing in mail."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.provisioning import host
from tests.provisioning import world as worlds
from tests.provisioning.site import UNITS
from tests.provisioning.world import DECLARATIONS, OTHER, TRADER, wait_for
from tests.sandbox.clients import compose

if TYPE_CHECKING:
    from pathlib import Path

    from tests.provisioning.guest import Guest
    from tests.provisioning.site import Site

pytestmark = pytest.mark.timeout(1200)
NEXT_VERSION: Final = "0.1.1"
_BACKUPS: Final = "/var/backups/digipoort"
_POSTGRES: Final = ("runuser", "-u", "postgres", "--", "env", "PGHOST=/run/postgresql", "PGPORT=5433")


def test_a_check_tells_what_a_run_would_do_and_does_nothing(site: Site, release: str) -> None:
    folders = ("/etc", "/usr/lib/systemd", "/usr/lib/digipoort")
    before = host.service(site.gateway, folders, host.MAIL)

    same = site.play(f"{release}: check of what is", "--check", "--diff")
    # Of Postfix and of one daemon: the differences must show the lines.
    different = site.play(
        f"{release}: check of two changed settings", "--check", "--diff",
        digipoort_delay_warning_time="5h", digipoort_submission_rate_recipients=700,
    )  # fmt: skip

    assert same.changed == 0, same.output
    assert different.changed > 0
    for line in (
        "-delay_warning_time = 4h", "+delay_warning_time = 5h",
        '-SUBMISSION_RATE_RECIPIENTS="600"', '+SUBMISSION_RATE_RECIPIENTS="700"',
    ):  # fmt: skip
        assert line in different.output
    assert host.changes(before, host.service(site.gateway, folders, host.MAIL)) == []


def test_changed_settings_restart_only_what_they_must(site: Site, release: str) -> None:
    restarted = site.change(
        f"{release}: settings of Postfix, of Dovecot and of policyd",
        digipoort_delay_warning_time="5h", digipoort_mailbox_quota="900M", digipoort_submission_rate_recipients=700,
    )  # fmt: skip

    assert restarted == {"digipoort-policyd.service"}
    said = site.gateway.run("postconf", "-c", "/etc/postfix-digipoort", "-h", "delay_warning_time")
    assert said.strip() == "5h"
    assert "900" in site.gateway.run("doveconf", "-c", "/etc/dovecot-digipoort/dovecot.conf", "-n")


def test_a_new_version_and_the_one_before_lose_nothing(site: Site, release: str, tmp_path: Path) -> None:
    newer = worlds.package(tmp_path, NEXT_VERSION)

    restarted = site.change(f"{release}: upgrade to {NEXT_VERSION}", digipoort_package_file=str(newer))
    assert _version(site.gateway) == NEXT_VERSION
    assert set(host.DAEMONS) <= restarted

    site.change(f"{release}: rollback")
    assert _version(site.gateway) != NEXT_VERSION


def test_a_renewed_certificate_is_served_without_a_restart(site: Site) -> None:
    before = host.started(site.gateway, UNITS)
    session = site.world.hold(site.gateway, OTHER)
    traffic = site.world.traffic(site.gateway)

    # Twice: Dovecot 2.4.1's master dies at a second reload when it has a name of its own.
    for _ in range(2):
        old = site.world.certificates(site.gateway)
        site.world.identify(site.gateway)
        new = _plain(site.gateway.run("cat", "/etc/ssl/gateway/gateway.pem"))
        assert new not in map(_plain, old.values())
        wait_for(functools.partial(_shows, site, new), "new certificate on all ports", 60)

    assert session.stop() > 1
    site.unharmed("two renewed certificates", traffic)
    assert host.started(site.gateway, UNITS) == before
    assert site.gateway.state() == "running", site.gateway.failed_units()


def _shows(site: Site, certificate: str) -> bool:
    return {_plain(one) for one in site.world.certificates(site.gateway).values()} == {certificate}


def test_directory_and_mailboxes_come_back_from_a_backup(site: Site) -> None:
    world, gateway = site.world, site.gateway
    gateway.run("install", "-d", "-o", "postgres", "-m", "0700", _BACKUPS)
    _submit_as(site, OTHER, "Bewaard")
    wait_for(lambda: len(world.uidls(gateway, OTHER)) == 1, "receipt")
    before, exported = world.uidls(gateway, OTHER), gateway.run("digipoort", "export")
    _paste(gateway, "directory-backup", as_postgres=True)
    _paste(gateway, "mailboxes-backup")

    # The disaster: what came after the backup is gone, and so is the whole database.
    _submit_as(site, OTHER, "Verloren")
    wait_for(lambda: len(world.uidls(gateway, OTHER)) == 2, "second receipt")
    gateway.run(
        *_POSTGRES, "psql", "--quiet", "--command", "ALTER DATABASE digipoort ALLOW_CONNECTIONS false",
        "--command", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'digipoort'",
        "--command", "ALTER DATABASE digipoort RENAME TO broken",
    )  # fmt: skip
    _paste(gateway, "directory-restore", as_postgres=True)
    _paste(gateway, "directory-after")
    _paste(gateway, "mailboxes-restore")

    assert gateway.run("digipoort", "export") == exported
    assert world.uidls(gateway, OTHER) == before
    _submit_as(site, TRADER, "Daarna")
    assert wait_for(lambda: world.receipts(gateway, TRADER), "receipt after the restore")
    assert gateway.state() == "running", gateway.failed_units()


def _submit_as(site: Site, sender: str, subject: str) -> None:
    message = compose(sender, DECLARATIONS, subject, "x\n").as_bytes()
    wait_for(lambda: _taken(site, sender, message), f"answer to {subject}")


def _taken(site: Site, sender: str, message: bytes) -> bool:
    """Hand a message in as a party does: what is refused for the moment is tried again."""
    try:
        site.world.submit(site.gateway, sender, DECLARATIONS, message)
    except worlds.PartyError:
        return False
    return True


def _paste(gateway: Guest, name: str, *, as_postgres: bool = False) -> None:
    """Run the commands that the documentation marks with a name, as they stand there."""
    text = (worlds.CHECKOUT / "docs/operate.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert found, f"docs/operate.md marks no commands with {name}"
    gateway.run(*(_POSTGRES if as_postgres else ()), "/bin/bash", "-c", found[1])


def _version(gateway: Guest) -> str:
    return gateway.run("dpkg-query", "--show", "--showformat=${Version}", "digipoort")


def _plain(certificate: str) -> str:
    return "".join(certificate.split())
