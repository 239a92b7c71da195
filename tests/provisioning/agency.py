"""An agency's mail server on a guest: Debian's own Postfix, which takes mail over TLS only, into a Maildir."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from tests.provisioning.guest import Guest
    from tests.provisioning.pki import Pair

PHYSICAL_DOMAIN: Final = "intern.lab.test"
_MAILDIR: Final = "var/agency/mail"
_INSTALL: Final = """
apt-get update -qq
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postfix >/dev/null 2>&1
install -d -o nobody -g nogroup /var/agency
cp /usr/share/postfix/main.cf.tls /etc/postfix/main.cf
"""
# Physical local parts that no logical address has, so that a search for one finds every disclosure.
REFUSED: Final = "loket-99"


def prepare(guest: Guest, identity: Pair) -> None:
    """Install and start it."""
    guest.run("/bin/sh", "-euc", _INSTALL, patience=300)
    guest.write("/etc/postfix/agency.pem", identity.key + identity.certificate, 0o600)
    guest.write("/etc/postfix/refused", f"{REFUSED}@{PHYSICAL_DOMAIN} 550 5.1.1 no such user\n")
    guest.run(
        "postconf",
        "compatibility_level = 3.6",
        f"myhostname = {guest.hostname}",
        "mydestination =",
        f"virtual_mailbox_domains = {PHYSICAL_DOMAIN}",
        "virtual_mailbox_base = /var/agency",
        "virtual_mailbox_maps = static:mail/",
        "virtual_uid_maps = static:65534",
        "virtual_gid_maps = static:65534",
        "smtpd_tls_security_level = encrypt",
        "smtpd_tls_chain_files = /etc/postfix/agency.pem",
        "smtpd_recipient_restrictions = check_recipient_access texthash:/etc/postfix/refused",
        "smtpd_relay_restrictions = reject_unauth_destination",
    )
    guest.run("systemctl", "restart", "postfix")


def received(guest: Guest) -> list[bytes]:
    """Return each message that it took."""
    return [path.read_bytes() for path in _new(guest).glob("*")]


def _new(guest: Guest) -> Path:
    return guest.root / _MAILDIR / "new"
