"""A throw-away CA and the certificates that the sandbox's daemons show."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

import trustme

from tests.sandbox import layout

if TYPE_CHECKING:
    from pathlib import Path


def issue(folder: Path) -> None:
    """Write ca.pem, and NAME.pem with NAME.key (root-only) for gateway, agency and hop."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    names = {
        "gateway": (layout.HOSTNAME, "localhost", "127.0.0.1"),
        "agency": (layout.AGENCY_HOST,),
        "hop": ("hop.digipoort.invalid",),
    }
    for name, identities in names.items():
        certificate = authority.issue_cert(*identities)
        key = folder / f"{name}.key"
        key.touch(mode=0o600)
        certificate.private_key_pem.write_to_path(key)
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")


def fingerprint(certificate: Path) -> str:
    """Return a certificate's SHA-256 fingerprint as Postfix writes it: capital hex octets with colons."""
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    return hashlib.sha256(der).digest().hex(":").upper()
