"""A host that serves mail of its own: Debian's Postfix and Dovecot with one user, and clients that must notice nothing.

They see neither the gateway that comes beside them nor its end; `others` and `left` judge what anybody could see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.provisioning import host
from tests.provisioning.world import wait_for

if TYPE_CHECKING:
    from tests.provisioning.guest import Guest
    from tests.provisioning.world import Running, World

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
_OUR_UNITS: Final = ("digipoort", "postgresql", "system-postgresql")
_OUR_PORTS: Final = frozenset({"587", "465", "110", "995", "10587"})


@dataclass(frozen=True, slots=True)
class OwnMail:
    """A mail host with a user."""

    world: World
    guest: Guest
    password: str

    def now(self) -> host.Service:
        """Look at what it serves now."""
        return host.service(self.guest, _FOLDERS, _UNITS)

    def reload(self) -> None:
        """Have its Postfix and Dovecot read their files again."""
        for unit in ("postfix", "dovecot"):
            self.guest.run("systemctl", "reload", unit)

    def use(self) -> Use:
        """Begin to send mail to its user, and to read it."""
        name = self.guest.hostname
        sending = self.world.begin({
            "action": "traffic", "hosts": [name], "port": 25, "login": "", "sender": "piet@elsewhere.lab.test",
            "recipients": [f"{USER}@{name}"], "every": 1, "senders": 1, "name": "own",
        })  # fmt: skip
        reading = self.world.begin({"action": "read", "host": name, "login": USER, "password": self.password})
        return Use(self, sending, reading)

    def delivered(self) -> set[str]:
        """Return the Message-IDs in its user's mailbox."""
        found = set()
        for path in (self.guest.root / "home" / USER / "Maildir").glob("*/*"):
            lines = path.read_text(encoding="latin-1").splitlines() if path.is_file() else []
            found |= {line.partition(":")[2].strip() for line in lines if line.lower().startswith("message-id:")}
        return found


@dataclass(frozen=True, slots=True)
class Use:
    """Clients of the host's own mail, at work."""

    own: OwnMail
    sending: Running[Any]
    reading: Running[Any]

    def unharmed(self) -> str:
        """End it, and say how much there was; a fault, a second try and a message that did not arrive fail the test."""
        records, reader = self.sending.stop(), self.reading.stop()
        assert records
        assert [record for record in records if record["tries"] != 1 or record["refused"]] == []
        assert reader["well"] > 0
        assert reader["faults"] == []
        sent = {record["id"] for record in records}
        wait_for(lambda: sent <= self.own.delivered(), "delivery of all own mail")
        return f"{len(records)} messages of its own and {reader['well']} logins at IMAP, no fault"


def prepare(world: World, guest: Guest) -> OwnMail:
    """Make a mail host of a bare Debian."""
    guest.run("/bin/sh", "-euc", _INSTALL, patience=300)
    password = "own-of-the-host"  # noqa: S105 - in a lab without a way out
    guest.run("chpasswd", given=f"{USER}:{password}\n")
    guest.write("/etc/dovecot/conf.d/99-site.conf", _DOVECOT[guest.release])
    guest.run("systemctl", "restart", "dovecot")
    return OwnMail(world, guest, password)


def others(lines: list[str]) -> list[str]:
    """Return the changes that are not the gateway's own: nothing may be gone, and nothing of others new."""
    kept = []
    for line in lines:
        kind, _, rest = line.partition(": + ")
        if kind == "files" and re.fullmatch(_MASK, rest):
            continue
        if kind == "ports" and rest.split()[0].rpartition(":")[2] in _OUR_PORTS:
            continue
        if kind in {"enabled", "active"} and rest.startswith(_OUR_UNITS):
            continue
        # A unit file that came with a package and starts nothing.
        if kind == "enabled" and rest and not rest.endswith((" enabled", " enabled-runtime")):
            continue
        kept.append(line)
    return kept


def left(lines: list[str], *kinds: str) -> list[str]:
    """Return what is left after a removal, of some kinds or all: PostgreSQL's packages stay, but start nothing."""
    kept = []
    for line in lines:
        kind, _, rest = line.partition(": + ")
        if kind == "enabled" and rest.startswith(("postgresql", "pg_")) and not rest.endswith(" enabled"):
            continue
        if not kinds or kind in kinds:
            kept.append(line)
    return kept
