"""What the schema's CHECK constraints ask of a credential, asked before a statement is sent.

PostgreSQL logs the row that a CHECK refuses (`DETAIL: Failing row contains …`), 64 octets of each value: all of a
bcrypt hash. The constraints stay the rules; a test compares the two.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from digipoort.directory.faults import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digipoort.directory.objects import Credential

_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,127}")
_HASH: Final = re.compile(r"\$[!-~]+")
_FINGERPRINT: Final = re.compile(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}")
_SUBJECT: Final = re.compile(r"[ -~]{1,256}")
_MAX_NETWORKS: Final = 64


class NotStorableError(Exception):
    """The directory would refuse an object; the message is the sentence of `constraint`."""

    def __init__(self, constraint: str) -> None:
        """Keep the name of the constraint, one of faults.SENTENCES."""
        super().__init__(SENTENCES[constraint])
        self.constraint = constraint


def require_storable(item: Credential) -> None:
    """Refuse a credential that one of the schema's CHECK constraints would refuse. Raises NotStorableError."""
    for constraint in _broken(item):
        raise NotStorableError(constraint)


def _broken(item: Credential) -> Iterator[str]:
    """Yield the constraints that a credential breaks."""
    if not _LOGIN.fullmatch(item.login):
        yield "credential_login_check"
    if isinstance(item.password, str) and not _HASH.fullmatch(item.password):
        yield "credential_password_hash_check"
    if not item.services or not {"pop3", "submission"}.issuperset(item.services):
        yield "credential_services_check"
    if "pop3" in item.services and item.mailbox is None:
        yield "credential_pop3_needs_mailbox"
    if item.valid_from is not None and item.valid_until is not None and item.valid_until < item.valid_from:
        yield "credential_period_check"
    if len(item.networks) > _MAX_NETWORKS:
        yield "credential_networks_check"
    yield from _broken_by_certificate(item)


def _broken_by_certificate(item: Credential) -> Iterator[str]:
    fingerprint, subject = item.certificate_fingerprint, item.certificate_subject
    if fingerprint is not None and not _FINGERPRINT.fullmatch(fingerprint):
        yield "credential_certificate_fingerprint_check"
    if subject is not None and not _SUBJECT.fullmatch(subject):
        yield "credential_certificate_subject_check"
    if item.certificate_suffices and ("submission" not in item.services or fingerprint is subject is None):
        yield "credential_certificate_suffices_check"
