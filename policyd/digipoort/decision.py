"""Who may send what to whom: the two decisions about an envelope, apart from any I/O.

The policy daemon decides with these for Postfix, and `digipoort check` for an admin: both give the same answer. What
the directory knows comes in as one row of queries.SUBMISSION or queries.ACCEPTANCE, in the order of its columns.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from digipoort import access, reasons
from digipoort.reasons import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

# The SIZE that the hop announces (RFC 1870) is that of Postfix's queue file: with the gateway's own trace headers, and
# one octet more than CRLF for each line of 128 octets or more. The milter, which counts the message as it was
# submitted, has the exact verdict; this one is only early, and must never be stricter.
GATEWAY_HEADER_ALLOWANCE: Final = 16 * 1024
QUEUE_FILE_SHARE: Final = 128


class LoginFault(StrEnum):
    """Why stage 1 refuses a session's login, whatever is sent: for the admin's log, a client is told less."""

    UNKNOWN_LOGIN = "unknown-login"
    INACTIVE = "inactive"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    NETWORK_DENIED = "network-denied"
    SERVICE_DENIED = "service-denied"
    CERTIFICATE_DENIED = "certificate-denied"


# Where, when and why a login may not be used, somebody who only has its password or its certificate must not find out.
_TOLD: Final = {
    LoginFault.SERVICE_DENIED: reasons.LOGIN_MAY_NOT_SUBMIT,
    LoginFault.CERTIFICATE_DENIED: reasons.CERTIFICATE_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The client certificate of a session, as Postfix tells of it; both are empty when the client showed none.

    `fingerprint` is SHA-256, in pairs of hexadecimal digits with colons between. `subject` is the common name, and
    empty unless Postfix trusts the certificate (SMTPD_POLICY_README).
    """

    fingerprint: bytes = b""
    subject: bytes = b""

    def __bool__(self) -> bool:
        """Tell whether there is one."""
        return bool(self.fingerprint or self.subject)


NO_CERTIFICATE: Final = Certificate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One recipient of stage 1, as the client gave it; an empty `sender` is the null one (RFC 5321 section 4.5.5).

    Without a `login`, which is empty then, it is the certificate that tells whose the session is.
    """

    login: bytes
    sender: bytes
    recipient: bytes
    encrypted: bool
    client: bytes
    certificate: Certificate = NO_CERTIFICATE

    def parameters(self, timezone: str, day: date | None = None) -> dict[str, object]:
        """Return the parameters of queries.SUBMISSION; the day is told as for Acceptance.parameters."""
        # With a login it is the login that counts, whatever certificate comes with it.
        shown = NO_CERTIFICATE if self.login else self.certificate
        return {
            "login": directory_key(self.login) if self.login else None,
            "fingerprint": (directory_key(shown.fingerprint) or "").upper() or None,
            "subject": _printable(shown.subject) or None,
            "sender": directory_key(self.sender),
            "timezone": timezone,
            "day": day,
        }


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """What the directory knows about a submission; None is false: nothing of the kind exists.

    `login` is whose the session is. `begun` and `ended` tell of its period; `networks` are where its clients may be,
    anywhere when there are none; a session needs a certificate with the fingerprint and the subject that are not None.
    """

    login: str | None
    login_active: bool | None
    begun: bool
    ended: bool
    networks: Sequence[str]
    may_submit: bool | None
    certificate_fingerprint: str | None
    certificate_subject: str | None
    owns_sender: bool | None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One recipient of stage 2; `size` is what SIZE announced in octets (RFC 1870), 0 when nothing was announced."""

    sender: bytes
    recipient: bytes
    size: int

    def parameters(self, timezone: str, day: date | None = None) -> dict[str, object]:
        """Return the parameters of queries.ACCEPTANCE; `timezone` tells whose calendar day it is, unless `day` does."""
        return {
            "sender": directory_key(self.sender),
            "recipient": directory_key(self.recipient),
            "timezone": timezone,
            "day": day,
        }


@dataclass(frozen=True, slots=True)
class AcceptanceRow:
    """What the directory knows about a pair of addresses.

    A kind is `private` or `government`, or None for an address that is unknown or whose party is inactive. `flow` and
    `size_limit` (octets) are those of the government address; `connection_periods` counts how often the private address
    was ever connected to that flow, `connection_valid` tells whether it is today.
    """

    sender_kind: str | None
    recipient_kind: str | None
    flow: str | None
    size_limit: int | None
    connection_periods: int
    connection_valid: bool


def decide_submission(request: Submission, row: SubmissionRow, logical_domains: Collection[str]) -> Finding | None:
    """Return why stage 1 refuses a recipient, or None when it does not. `logical_domains` are in lower case."""
    if not request.encrypted:
        reason = reasons.TLS_REQUIRED
    elif fault := login_fault(request, row):
        reason = _TOLD.get(fault, reasons.LOGIN_UNKNOWN)
    elif not request.sender:
        reason = reasons.NULL_SENDER
    elif not row.owns_sender:
        reason = reasons.SENDER_NOT_OWNED
    elif _domain(request.recipient) not in logical_domains:
        reason = reasons.RECIPIENT_NOT_LOGICAL
    else:
        return None
    return Finding(reason)


def login_fault(request: Submission, row: SubmissionRow) -> LoginFault | None:
    """Return why this session may not submit, whoever it sends to; None when it may."""
    if row.login is None:
        return LoginFault.UNKNOWN_LOGIN
    grounds = (
        (not row.login_active, LoginFault.INACTIVE),
        (not row.begun, LoginFault.NOT_YET_VALID),
        (row.ended, LoginFault.EXPIRED),
        (not access.admits(row.networks, request.client), LoginFault.NETWORK_DENIED),
        (not row.may_submit, LoginFault.SERVICE_DENIED),
        (not _has_certificate(request.certificate, row), LoginFault.CERTIFICATE_DENIED),
    )
    return next((fault for applies, fault in grounds if applies), None)


def _has_certificate(shown: Certificate, row: SubmissionRow) -> bool:
    """Tell whether a session's certificate is all that its credential asks for."""
    fingerprint, subject = row.certificate_fingerprint, row.certificate_subject
    return (fingerprint is None or hmac.compare_digest(shown.fingerprint.upper(), fingerprint.upper().encode())) and (
        subject is None or hmac.compare_digest(shown.subject, subject.encode())
    )


def decide_acceptance(request: Acceptance, row: AcceptanceRow) -> Finding | None:
    """Return why stage 2 refuses a recipient, or None when it does not.

    A private party that addresses anything but a government party gets one and the same finding, without parameters,
    whether that address exists or not.
    """
    if not request.sender:
        return Finding(reasons.NULL_SENDER)
    if row.sender_kind is None:
        return Finding(reasons.SENDER_UNKNOWN)
    if row.recipient_kind is None or row.sender_kind == row.recipient_kind == "private":
        return Finding(reasons.NO_SUCH_RECIPIENT)
    if row.sender_kind == row.recipient_kind:
        return Finding(reasons.BOTH_GOVERNMENT)
    return _decide_flow(request.size, row)


def _decide_flow(size: int, row: AcceptanceRow) -> Finding | None:
    """Return why a private and a government party may not exchange this message on the government address's flow."""
    flow = {"flow": row.flow or "-"}
    if row.connection_periods == 0:
        return Finding(reasons.NOT_CONNECTED, flow)
    if not row.connection_valid:
        return Finding(reasons.CONNECTION_NOT_VALID, flow)
    if row.size_limit is not None and size > _announced_at_most(row.size_limit):
        return Finding(reasons.SIZE_OVER_FLOW_LIMIT, {"size": str(size), "limit": str(row.size_limit), **flow})
    return None


def _announced_at_most(limit: int) -> int:
    """Return the largest SIZE that a message of `limit` octets may be announced with."""
    return limit + limit // QUEUE_FILE_SHARE + GATEWAY_HEADER_ALLOWANCE


def directory_key(value: bytes) -> str | None:
    """Return how the directory spells an address or login, or None when it can hold nothing like it.

    It stores ASCII in lower case (the schema's constraints). Anything else, a NUL octet included, which PostgreSQL
    cannot even be asked about, is unknown; as SQL's NULL it equals nothing.
    """
    if not value.isascii() or b"\0" in value:
        return None
    return value.lower().decode("ascii")


def _printable(subject: bytes) -> str:
    """Return a common name as the directory spells it, or nothing when it can hold nothing like it."""
    return subject.decode("ascii") if subject.isascii() and subject.decode("ascii").isprintable() else ""


def _domain(address: bytes) -> str | None:
    """Return the domain of an address in lower case, or None when it has none."""
    key = directory_key(address)
    return key.rpartition("@")[2] if key is not None and "@" in key else None
