"""A host that serves mail already: its own Postfix and Dovecot notice neither the gateway nor its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.provisioning import host
from tests.provisioning import world as worlds
from tests.provisioning.world import DECLARATIONS, TRADER, wait_for
from tests.sandbox.clients import compose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.provisioning.guest import Guest
    from tests.provisioning.lab import Lab
    from tests.provisioning.playbook import Played
    from tests.provisioning.world import World

pytestmark = pytest.mark.timeout(2400)
USER: Final = "jan"
# What the host has of its own before: mail by SMTP, read by IMAP. POP3, LMTP, lmdb and pcre come with the gateway,
# and could show.
_INSTALL: Final = f"""
apt-get update -qq
echo 'postfix postfix/main_mailer_type select Internet Site' | debconf-set-selections
echo "postfix postfix/mailname string $(hostname).lab.test" | debconf-set-selections
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postfix dovecot-imapd >/dev/null 2>&1
useradd --create-home {USER}
postconf "mydestination = $(hostname).lab.test, localhost" "home_mailbox = Maildir/" "inet_interfaces = all"
systemctl restart postfix
"""
# Named as Dovecot 2.3 and 2.4 each name it; in a file of the host's own.
_DOVECOT: Final = {
    "bookworm": "mail_location = maildir:~/Maildir\nssl = no\ndisable_plaintext_auth = no\n",
    "trixie": "mail_driver = maildir\nmail_path = ~/Maildir\nmail_inbox_path = ~/Maildir\nssl = no\n"
    "auth_allow_cleartext = yes\n",
}
# Each keeps a package from making the host's Dovecot serve what is the gateway's (docs/decisions/0029).
_MASK: Final = r"/usr/share/dovecot/protocols\.d/(pop3d|lmtpd)\.protocol\t0:0\tlrwxrwxrwx\t/dev/null"
_UNITS: Final = ("postfix.service", "postfix@-.service", "dovecot.service")
_FOLDERS: Final = ("/etc/postfix", "/etc/dovecot", "/usr/share/dovecot/protocols.d")


@dataclass(frozen=True, slots=True)
class Existing:
    """A mail host with a user, and what may be asked of it."""

    world: World
    guest: Guest
    password: str
    before: host.Service
    variables: dict[str, object]

    def now(self) -> host.Service:
        """Look at what it serves now."""
        return host.service(self.guest, _FOLDERS, _UNITS)


@pytest.fixture(scope="module")
def existing(release: str, package: Path, lab: Lab) -> Existing:
    world = worlds.people(lab, release, "gw1")
    guest = world.guest("gw1")
    guest.run("/bin/sh", "-euc", _INSTALL, patience=300)
    password = world.passwords[TRADER]
    guest.run("chpasswd", given=f"{USER}:{password}\n")
    guest.write("/etc/dovecot/conf.d/99-site.conf", _DOVECOT[release])
    guest.run("systemctl", "restart", "dovecot")
    world.identify(guest)
    found = host.service(guest, _FOLDERS, _UNITS)
    return Existing(world, guest, password, found, {"digipoort_package_file": str(package)})


def test_a_port_that_is_taken_stops_the_run_before_anything_changes(
    existing: Existing, converge: Callable[..., Played]
) -> None:
    inventory = existing.world.inventory(["gw1"], variables={**existing.variables, "digipoort_submission_port": 25})

    played = converge(inventory, what="a run for a port that is taken", status=2)

    assert "0.0.0.0:25" in played.output
    assert "postfix" in played.output
    assert host.changes(existing.before, existing.now()) == []


def test_its_own_mail_flows_on_before_during_and_after(
    existing: Existing, release: str, converge: Callable[..., Played], say: Callable[[str], None]
) -> None:
    world, guest = existing.world, existing.guest
    inventory = world.inventory(["gw1"], variables=existing.variables)
    sending, reading = _own_traffic(existing), _own_reader(existing)

    converge(inventory, what=f"{release}: gateway on a host with mail of its own")
    installed = existing.now()
    world.enter_parties(guest)
    world.submit(guest, TRADER, DECLARATIONS, compose(TRADER, DECLARATIONS, "Ernaast", "x\n").as_bytes())
    wait_for(lambda: world.receipts(guest, TRADER), "receipt")
    # What the packages left for the host's next reload would show now. Dovecot 2.4 cuts off who is logging out then.
    beside = reading.stop()
    for unit in ("postfix", "dovecot"):
        guest.run("systemctl", "reload", unit)
    reloaded, reading = existing.now(), _own_reader(existing)
    away = world.inventory(["gw1"], variables={**existing.variables, "digipoort_state": "absent"})
    converge(away, what=f"{release}: removal")
    removed = existing.now()
    again = converge(away, what=f"{release}: second removal")

    _judge(existing, sending.stop(), [beside, reading.stop()], say)
    _print("since the gateway came", host.changes(existing.before, installed), say)
    _print("after a reload of its own Postfix and Dovecot, in addition", host.changes(installed, reloaded), say)
    _print("since before, after the removal", host.changes(existing.before, removed), say)
    assert _others(host.changes(existing.before, installed)) == []
    assert _others(host.changes(existing.before, reloaded)) == []
    assert _left(host.changes(existing.before, removed)) == []
    assert again.changed == 0, again.output
    assert "digipoort" not in guest.run("ls", "-R", "/etc/systemd/system", "/usr/lib/systemd/system")


def test_nothing_shows_after_the_next_boot_either(existing: Existing) -> None:
    existing.guest.reboot(dies_with_us=True)

    found = existing.now()
    before = existing.before
    assert (found.ports, found.settings, found.files) == (before.ports, before.settings, before.files)
    assert _left(host.changes(before, found), "enabled") == []
    sending, reading = _own_traffic(existing), _own_reader(existing)
    wait_for(lambda: len(_delivered(existing)) > 2, "own mail")
    assert not any(record["refused"] for record in sending.stop())
    assert reading.stop()["faults"] == []


def _own_traffic(existing: Existing) -> Any:  # noqa: ANN401 - party.py tells
    host_name = existing.guest.hostname
    return existing.world.begin({
        "action": "traffic", "hosts": [host_name], "port": 25, "login": "", "sender": "piet@elsewhere.lab.test",
        "recipients": [f"{USER}@{host_name}"], "every": 1, "senders": 1, "name": "own",
    })  # fmt: skip


def _own_reader(existing: Existing) -> Any:  # noqa: ANN401 - likewise
    return existing.world.begin(
        {"action": "read", "host": existing.guest.hostname, "login": USER, "password": existing.password}
    )


def _judge(
    existing: Existing, records: list[dict[str, Any]], readers: list[dict[str, Any]], say: Callable[[str], None]
) -> None:
    logins = [reader["well"] for reader in readers]
    say(f"  own traffic: {len(records)} messages at SMTP, {sum(logins)} logins at IMAP, no fault allowed")
    assert len(records) > 20
    assert [record for record in records if record["tries"] != 1 or record["refused"]] == []
    assert min(logins) > 10
    assert [reader["faults"] for reader in readers] == [[], []]
    sent = {record["id"] for record in records}
    wait_for(lambda: sent <= _delivered(existing), "delivery of all own mail")


def _delivered(existing: Existing) -> set[str]:
    found = set()
    for path in (existing.guest.root / "home" / USER / "Maildir").glob("*/*"):
        lines = path.read_text(encoding="latin-1").splitlines() if path.is_file() else []
        found |= {line.partition(":")[2].strip() for line in lines if line.lower().startswith("message-id:")}
    return found


def _print(moment: str, lines: list[str], say: Callable[[str], None]) -> None:
    say(f"  {moment}:")
    for line in lines or ["nothing"]:
        say("    " + " ".join(line.split()))


def _others(lines: list[str]) -> list[str]:
    """Return the changes that are not the gateway's own: nothing may be gone, and nothing of others new."""
    ours = (" + digipoort", " + postgresql", " + system-postgresql")
    ports = {"587", "465", "110", "995", "10587", "5433"}
    kept = []
    for line in lines:
        kind, _, rest = line.partition(": + ")
        if kind == "files" and re.fullmatch(_MASK, rest):
            continue
        if kind == "ports" and rest.split()[0].rpartition(":")[2] in ports:
            continue
        if kind in {"enabled", "active"} and any(f": {one.strip()}" in line for one in ours):
            continue
        # A unit file that came with a package and starts nothing.
        if kind == "enabled" and rest and not rest.endswith((" enabled", " enabled-runtime")):
            continue
        kept.append(line)
    return kept


def _left(lines: list[str], *kinds: str) -> list[str]:
    """Return what is left after a removal: the packages of PostgreSQL stay with the data, but start nothing."""
    kept = []
    for line in lines:
        kind, _, rest = line.partition(": + ")
        if kind == "enabled" and rest.startswith(("postgresql", "pg_")) and not rest.endswith(" enabled"):
            continue
        if not kinds or kind in kinds:
            kept.append(line)
    return kept
