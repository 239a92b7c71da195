"""A throw-away CA for the sandbox's daemons, and another one for its parties' client certificates."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import trustme

from tests.sandbox import layout

if TYPE_CHECKING:
    from pathlib import Path

# The common name that a credential of the sandbox asks for. It has what xtext must quote.
SUBJECT: Final = "Zegel + Transport B.V."


def issue(folder: Path) -> None:
    """Write ca.pem, and NAME.pem with NAME.key (root-only) for gateway, agency and hop, and those of the clients."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    names = {
        "gateway": (layout.HOSTNAME, "localhost", "127.0.0.1"),
        "agency": (layout.AGENCY_HOST,),
        "hop": ("hop.digipoort.invalid",),
    }
    for name, identities in names.items():
        _write(folder, name, authority.issue_cert(*identities))
    _issue_clients(folder)


def _issue_clients(folder: Path) -> None:
    """Write the folder client-ca and certificates: for three credentials, and for what must be refused.

    `client-pinned`, `client-named` and `client-bearer` are meant; `client-other` is of the same CA with another name,
    `client-expired` has the right name, and so has `client-stranger`, of a CA that nobody trusts.
    """
    authority, stranger = trustme.CA(), trustme.CA()
    trusted = folder / "client-ca"
    trusted.mkdir(mode=0o755)
    authority.cert_pem.write_to_path(trusted / "ca.pem")
    subprocess.run(["/usr/bin/openssl", "rehash", trusted], check=True)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    clients = {
        "pinned": stranger.issue_cert(common_name="Any name"),
        "named": authority.issue_cert(common_name=SUBJECT),
        "bearer": authority.issue_cert(common_name="Bearer"),
        "other": authority.issue_cert(common_name="Somebody else"),
        "expired": authority.issue_cert(
            common_name=SUBJECT, not_before=yesterday - timedelta(days=1), not_after=yesterday
        ),
        "stranger": stranger.issue_cert(common_name=SUBJECT),
    }
    for name, certificate in clients.items():
        _write(folder, f"client-{name}", certificate)


def _write(folder: Path, name: str, certificate: trustme.LeafCert) -> None:
    key = folder / f"{name}.key"
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")


def fingerprint(certificate: Path) -> str:
    """Return a certificate's SHA-256 fingerprint as Postfix writes it: capital hex octets with colons."""
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    return hashlib.sha256(der).digest().hex(":").upper()
