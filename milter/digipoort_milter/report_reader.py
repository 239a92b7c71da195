"""Reads a delivery status notification that Postfix wrote (RFC 3464, RFC 6522): only what its submitter may know.

Nothing of the original leaves this module but what it has judged: logical addresses, status digits, dates, the
catalogue's findings, and the submitter's own message. Physical addresses, hosts and remote replies stop here.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.interface.fields import HeaderField, parse_fields, unfolded
from digipoort.interface.mime_fields import parse_content_type, parse_transfer_encoding
from digipoort.interface.profile import CEILINGS
from digipoort.reasons import Finding, findings_in
from digipoort.references import ENVELOPE_HEADER, MEASURES_HEADER
from digipoort_milter.marks import read_digest, read_reference

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

MAX_RECIPIENTS: Final = 1000
_MAX_FIELDS: Final = 1000
# Submission takes no more; the gateway's own come last.
MAX_RETURNED_FIELDS: Final = CEILINGS["max_header_fields"] + 100
_MAX_DIAGNOSTIC_OCTETS: Final = 8192
_MAX_ENVELOPE_ID: Final = 100
_MAX_ADDRESS_OCTETS: Final = 320
_HEADERS_ONLY: Final = frozenset({"text/rfc822-headers", "message/global-headers"})
_RETURNED_TYPES: Final = _HEADERS_ONLY | {"message/rfc822", "message/global"}
_TRANSPORT_FIELDS: Final = frozenset(
    {"received", "return-path", "delivered-to", "x-original-to", MEASURES_HEADER.lower(), ENVELOPE_HEADER.lower()}
)
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_ADDRESS = re.compile(
    rb"(?:rfc822|utf-8) ?; ?((?:[!#-'*+\-./0-9=?A-Z^-~]+|\"[ !#-Z^-~]+\")@([0-9A-Za-z.-]+))", re.IGNORECASE
)
_FIELD_BREAK = re.compile(rb"\r\n(?![ \t])")


class Verdict(enum.StrEnum):
    """What a receipt says about a message or one of its recipients."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DELAYED = "delayed"


# RFC 3464 section 2.3.3. To a submitter, whatever happened after acceptance without a fault is one thing.
_VERDICTS: Final = {
    b"relayed": Verdict.ACCEPTED,
    b"delivered": Verdict.ACCEPTED,
    b"expanded": Verdict.ACCEPTED,
    b"failed": Verdict.REFUSED,
    b"delayed": Verdict.DELAYED,
}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient's fate: `address` is logical, `status` an enhanced status code."""

    address: str
    original: str | None
    verdict: Verdict
    status: str
    findings: tuple[Finding, ...]
    last_attempt: datetime | None


@dataclass(frozen=True, slots=True)
class Returned:
    """The submitter's message as it came in: header lines in CRLF form, and the body unless only headers come back."""

    media_type: str
    header: bytes
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Report:
    """A notification that was understood."""

    recipients: tuple[Recipient, ...]
    reference: str | None
    digest: str | None
    envelope_id: str | None
    arrival: datetime | None
    returned: Returned

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole."""
        return overall([recipient.verdict for recipient in self.recipients])


class NotUnderstoodError(Exception):
    """The notification cannot be passed on in full; `verdict` is set when at least that is certain."""

    def __init__(self, cause: str, verdict: Verdict | None = None) -> None:
        """`cause` is for the log: it holds nothing of the notification's text."""
        super().__init__(cause)
        self.verdict = verdict


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict of several: a refusal weighs most, then a delay."""
    return next((verdict for verdict in (Verdict.REFUSED, Verdict.DELAYED) if verdict in verdicts), Verdict.ACCEPTED)


def read_report(content_type: bytes, body: bytes, logical_domains: Collection[str]) -> Report:
    """Return what a notification says.

    `content_type` is the message's own, `body` in CRLF form; `logical_domains` in lower case. Raises NotUnderstoodError
    when its structure is not RFC 6522's, or a recipient has no address that the submitter may see.
    """
    _text, status_part, returned_part = _parts(content_type, body)
    if _media_type(status_part[0]) not in {"message/delivery-status", "message/global-delivery-status"}:
        raise NotUnderstoodError("the second part is no delivery status")
    returned = _returned(*returned_part)
    groups = [parse_fields(group, _MAX_FIELDS) for group in status_part[1].split(b"\r\n\r\n", MAX_RECIPIENTS + 2)]
    groups = [group for group in groups if group]
    if not 1 < len(groups) <= MAX_RECIPIENTS + 1:
        raise NotUnderstoodError("the number of recipients is out of bounds")
    message_fields, *recipient_groups = groups
    header = parse_fields(returned.header, MAX_RETURNED_FIELDS)
    return Report(
        recipients=_recipients(recipient_groups, logical_domains),
        reference=read_reference(header),
        digest=read_digest(header),
        envelope_id=_envelope_id(_value(message_fields, "original-envelope-id")),
        arrival=parse_date(_value(message_fields, "arrival-date")),
        returned=returned,
    )


def parse_date(value: bytes) -> datetime | None:
    """Return an RFC 5322 date, or None when it is none."""
    try:
        return parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def find_reference(fields: Sequence[HeaderField], body: bytes) -> str | None:
    """Return the reference of a notification that was not understood: its own, else the first in its body."""
    own = read_reference(fields)
    if own is not None:
        return own
    match = re.search(rb"^X-Digipoort-Reference:[^\r\n]{0,100}", body, re.MULTILINE | re.IGNORECASE)
    return read_reference(parse_fields(match[0], 1)) if match else None


def _parts(content_type: bytes, body: bytes) -> list[tuple[list[HeaderField], bytes]]:
    """Return header and contents of the three parts; the third ends at the last closing boundary, whatever it holds."""
    parsed = parse_content_type(unfolded(content_type))
    if parsed is None or parsed.boundary is None or parsed.media_type != "multipart/report":
        raise NotUnderstoodError("not a multipart/report")
    line = b"\r\n--" + parsed.boundary
    before_close, closing, _ = (b"\r\n" + body).rpartition(line + b"--")
    pieces = before_close.split(line + b"\r\n", 3)
    if not closing or len(pieces) != 4:  # noqa: PLR2004 - the preamble and RFC 6522's three parts
        raise NotUnderstoodError("not three parts")
    parts = []
    for piece in pieces[1:]:
        header, _, content = (b"\r\n" + piece).partition(b"\r\n\r\n")
        parts.append((parse_fields(header.removeprefix(b"\r\n"), _MAX_FIELDS), content))
    return parts


def _returned(fields: list[HeaderField], content: bytes) -> Returned:
    media_type = _media_type(fields)
    encoding = parse_transfer_encoding(_value(fields, "content-transfer-encoding") or b"7bit")
    if media_type not in _RETURNED_TYPES or encoding not in {"7bit", "8bit"}:
        raise NotUnderstoodError("the third part is no message")
    if media_type in _HEADERS_ONLY:
        return Returned(media_type, _as_submitted(content.rstrip(b"\r\n")), None)
    header, _, body = (b"\r\n" + content).partition(b"\r\n\r\n")
    return Returned(media_type, _as_submitted(header.removeprefix(b"\r\n")), body)


def _as_submitted(header: bytes) -> bytes:
    """Return the header lines without those that transport added on the way."""
    kept = [
        field
        for field in _FIELD_BREAK.split(header)
        if field and field.partition(b":")[0].strip().lower().decode("ascii", "replace") not in _TRANSPORT_FIELDS
    ]
    return b"".join(field + b"\r\n" for field in kept)


def _recipients(groups: list[list[HeaderField]], logical_domains: Collection[str]) -> tuple[Recipient, ...]:
    verdicts = [_VERDICTS.get(_value(group, "action").lower()) for group in groups]
    known = [verdict for verdict in verdicts if verdict is not None]
    if len(known) != len(groups):
        raise NotUnderstoodError("an action is unknown")
    recipients = [_recipient(group, verdict, logical_domains) for group, verdict in zip(groups, known, strict=True)]
    safe = [recipient for recipient in recipients if recipient is not None]
    if len(safe) != len(recipients):
        raise NotUnderstoodError("a recipient has no logical address", overall(known))
    return tuple(safe)


def _recipient(group: list[HeaderField], verdict: Verdict, logical_domains: Collection[str]) -> Recipient | None:
    original = _logical_address(_value(group, "original-recipient"), logical_domains)
    final = _logical_address(_value(group, "final-recipient"), logical_domains)
    address = final or original
    status = _value(group, "status").decode("ascii", "replace")
    if address is None or not _STATUS.fullmatch(status):
        return None
    diagnostic = _value(group, "diagnostic-code")[:_MAX_DIAGNOSTIC_OCTETS].decode("ascii", "replace")
    findings = _findings(verdict, status, diagnostic, before_delivery=final is not None)
    return Recipient(
        address=address,
        original=original,
        verdict=verdict,
        status=_status(verdict, status, findings),
        findings=findings,
        last_attempt=parse_date(_value(group, "last-attempt-date")),
    )


def _findings(verdict: Verdict, status: str, diagnostic: str, *, before_delivery: bool) -> tuple[Finding, ...]:
    """Return why a message failed or waits.

    Only a reply of our own stage is read for the catalogue's codes: a remote server's may name them too, with
    parameters that disclose it. Up to acceptance the final recipient is logical; delivery begins with the alias map.
    """
    if verdict is Verdict.ACCEPTED:
        return ()
    if verdict is Verdict.DELAYED:
        return (Finding(reasons.DELIVERY_DELAYED),)
    expired = status.startswith("4.") or status.endswith(".4.7") or "expired" in diagnostic.lower()
    if not before_delivery:
        return (Finding(reasons.DELIVERY_EXPIRED if expired else reasons.DELIVERY_REFUSED),)
    named = tuple(findings_in(diagnostic))
    if named and not all(finding.reason.temporary for finding in named):
        return named
    # A temporary fault that lasted: it alone would tell a submitter to wait for what will not come.
    return (Finding(reasons.EXPIRED_BEFORE_VERDICT if expired or named else reasons.REFUSED_UNEXPLAINED), *named)


def _status(verdict: Verdict, status: str, findings: tuple[Finding, ...]) -> str:
    """Return the status that the receipt shows: a delivery's own digits, else those of the catalogue.

    What was given up has failed for good, whatever the last attempt was told.
    """
    if verdict is Verdict.ACCEPTED:
        return "2.0.0"
    delivery = findings[0].reason in {reasons.DELIVERY_REFUSED, reasons.DELIVERY_DELAYED}
    return status if delivery else findings[0].reason.status


def _logical_address(value: bytes, logical_domains: Collection[str]) -> str | None:
    match = _ADDRESS.fullmatch(value)
    if match is None or len(match[1]) > _MAX_ADDRESS_OCTETS or match[2].decode("ascii").lower() not in logical_domains:
        return None
    return match[1].decode("ascii")


def _envelope_id(value: bytes) -> str | None:
    text = value.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() and 0 < len(text) <= _MAX_ENVELOPE_ID else None


def _media_type(fields: Sequence[HeaderField]) -> str:
    parsed = parse_content_type(_value(fields, "content-type"))
    return parsed.media_type if parsed else ""


def _value(fields: Sequence[HeaderField], name: str) -> bytes:
    """Return the value of the first field of a name (lower case) on one line, empty when there is none."""
    return next((unfolded(field.value) for field in fields if field.name.lower() == name), b"")
