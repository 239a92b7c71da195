"""Who may send what to whom: the two decisions about an envelope, apart from any I/O.

The policy daemon decides with these for Postfix, and `digipoort check` for an admin: both give the same answer. What
the directory knows comes in as one row of queries.SUBMISSION or queries.ACCEPTANCE, in the order of its columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.reasons import Finding

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

# The SIZE that the hop announces (RFC 1870) is that of Postfix's queue file: with the gateway's own trace headers, and
# one octet more than CRLF for each line of 128 octets or more. The milter, which counts the message as it was
# submitted, has the exact verdict; this one is only early, and must never be stricter.
GATEWAY_HEADER_ALLOWANCE: Final = 16 * 1024
QUEUE_FILE_SHARE: Final = 128


@dataclass(frozen=True, slots=True)
class Submission:
    """One recipient of stage 1, as the client gave it; an empty `sender` is the null one (RFC 5321 section 4.5.5)."""

    login: bytes
    sender: bytes
    recipient: bytes
    encrypted: bool

    def parameters(self) -> dict[str, object]:
        """Return the parameters of queries.SUBMISSION."""
        return {"login": directory_key(self.login), "sender": directory_key(self.sender)}


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """What the directory knows about a submission; None is false: nothing of the kind exists."""

    login_active: bool | None
    may_submit: bool | None
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
    elif not request.sender:
        reason = reasons.NULL_SENDER
    elif not row.login_active:
        reason = reasons.LOGIN_UNKNOWN
    elif not row.may_submit:
        reason = reasons.LOGIN_MAY_NOT_SUBMIT
    elif not row.owns_sender:
        reason = reasons.SENDER_NOT_OWNED
    elif _domain(request.recipient) not in logical_domains:
        reason = reasons.RECIPIENT_NOT_LOGICAL
    else:
        return None
    return Finding(reason)


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


def _domain(address: bytes) -> str | None:
    """Return the domain of an address in lower case, or None when it has none."""
    key = directory_key(address)
    return key.rpartition("@")[2] if key is not None and "@" in key else None
