"""Certificates and keys in PEM files: what is in them, without a library that a mail host does not have."""

from __future__ import annotations

import hashlib
import re
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from digipoort.doctor import commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_OPENSSL: Final = "/usr/bin/openssl"
_BLOCK: Final = re.compile(r"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----.*?-----END (?P=kind)-----", re.DOTALL)
_END_DATE: Final = re.compile(r"^notAfter=(.+)$", re.MULTILINE)
_PUBLIC: Final = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class PemError(Exception):
    """A file that has not what it should; the message is a sentence, and holds nothing of the file."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key: what counts of both, nothing of what is secret."""

    certificate_file: Path
    key_file: Path
    fingerprint: str
    ends: datetime
    key_matches: bool
    key_uid: int
    key_mode: int
    names_host: bool = True


@dataclass(frozen=True, slots=True)
class _Block:
    file: Path
    kind: str
    text: str


def pairs(files: Sequence[Path], host_name: str = "") -> list[Pair]:
    """Return what is in files as Postfix reads them (smtpd_tls_chain_files): each key, and the certificate after it.

    Raises PemError, and OSError for a file that cannot be read.
    """
    found, key = [], None
    for block in _blocks(files):
        if block.kind.endswith("PRIVATE KEY"):
            key = block
        elif block.kind == "CERTIFICATE" and key is not None:
            found.append(_pair(block, key, host_name))
            # What follows up to the next key are its issuers.
            key = None
    if not found:
        raise PemError(f"there is no key with a certificate after it in {', '.join(map(str, files))}")
    return found


def fingerprint(der: bytes) -> str:
    """Return a certificate's SHA-256 fingerprint as Postfix writes it."""
    return hashlib.sha256(der).digest().hex(":").upper()


def _blocks(files: Iterable[Path]) -> Iterable[_Block]:
    for file in files:
        text = file.read_text(encoding="ascii", errors="replace")
        for found in _BLOCK.finditer(text):
            yield _Block(file, found["kind"], found[0] + "\n")


def _pair(certificate: _Block, key: _Block, host_name: str) -> Pair:
    shown = commands.run([_OPENSSL, "x509", "-noout", "-enddate", "-pubkey"], stdin=certificate.text)
    end, public = _END_DATE.search(shown.output), _PUBLIC.search(shown.output)
    if shown.status != 0 or end is None or public is None:
        raise PemError(f"{certificate.file} has no certificate that openssl can read")
    # An empty password: a key that needs one is of no use to a daemon, and openssl must not ask for it.
    own = commands.run([_OPENSSL, "pkey", "-pubout", "-passin", "pass:"], stdin=key.text)
    if own.status != 0:
        raise PemError(f"{key.file} has no key that openssl can read without a password")
    found = key.file.stat()
    return Pair(
        certificate_file=certificate.file,
        key_file=key.file,
        fingerprint=fingerprint(ssl.PEM_cert_to_DER_cert(certificate.text)),
        ends=datetime.fromtimestamp(ssl.cert_time_to_seconds(end[1]), UTC),
        key_matches=own.output.strip() == public[0].strip(),
        key_uid=found.st_uid,
        key_mode=stat.S_IMODE(found.st_mode),
        names_host=not host_name or _names(certificate.text, host_name),
    )


def _names(certificate: str, host_name: str) -> bool:
    said = commands.run([_OPENSSL, "x509", "-noout", "-checkhost", host_name], stdin=certificate)
    return "does match" in said.output
