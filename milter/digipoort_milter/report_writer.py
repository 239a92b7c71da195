"""Writes a receipt: a multipart/report (RFC 6522) with a delivery status (RFC 3464), all of it new.

Nothing of Postfix's own notification is copied; all that is written was judged by report_reader.py.
"""

from __future__ import annotations

import quopri
import re
import textwrap
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from digipoort_milter import receipt_text
from digipoort_milter.report_reader import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from digipoort_milter.report_reader import Recipient, Report

_ACTIONS: Final = {Verdict.ACCEPTED: "relayed", Verdict.REFUSED: "failed", Verdict.DELAYED: "delayed"}
_LINE_CHARACTERS: Final = 76
_TEXT_TYPE: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What replaces a notification: main header values, and the body in CRLF form."""

    subject: str
    content_type: str
    transfer_encoding: str
    body: bytes


def write_report(
    report: Report, gateway_name: str, flow: str | None, written: datetime | None, boundary: str
) -> Receipt:
    """Return the full receipt; `flow` is the flow's code.

    `boundary` must not be foreseeable, because the submitter's own message is enclosed.
    """
    eight_bit = not (report.returned.header.isascii() and (report.returned.body or b"").isascii())
    encoding = "8bit" if eight_bit else "7bit"
    parts = [
        _part(
            "Notification",
            _TEXT_TYPE,
            "quoted-printable",
            _quoted_printable(receipt_text.report_text(report, flow, written)),
        ),
        _part("Delivery report", "message/delivery-status", "7bit", _delivery_status(report, gateway_name)),
        _part("Message as submitted", report.returned.media_type, encoding, _returned(report)),
    ]
    line = b"--" + boundary.encode("ascii")
    body = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"
    content_type = f'multipart/report; report-type=delivery-status; boundary="{boundary}"'
    return Receipt(receipt_text.subject(report.verdict, flow, report.reference), content_type, encoding, body)


def write_minimal(verdict: Verdict | None, reference: str | None) -> Receipt:
    """Return a receipt that cannot disclose anything: the verdict, if known, and the reference."""
    body = _quoted_printable(receipt_text.minimal_text(verdict, reference))
    return Receipt(receipt_text.subject(verdict, None, reference), _TEXT_TYPE, "quoted-printable", body)


def _part(description: str, content_type: str, encoding: str, content: bytes) -> bytes:
    lines = [
        f"Content-Description: {description}",
        f"Content-Type: {content_type}",
        f"Content-Transfer-Encoding: {encoding}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("ascii") + content


def _quoted_printable(text: str) -> bytes:
    return re.sub(rb"\r?\n", b"\r\n", quopri.encodestring(text.encode("utf-8", "replace")))


def _delivery_status(report: Report, gateway_name: str) -> bytes:
    lines = [f"Reporting-MTA: dns; {gateway_name}"]
    if report.envelope_id:
        lines.append(f"Original-Envelope-Id: {report.envelope_id}")
    if report.arrival:
        lines.append(f"Arrival-Date: {format_datetime(report.arrival)}")
    for recipient in report.recipients:
        lines.append("")
        lines.extend(_recipient_lines(recipient))
    return ("\r\n".join(lines) + "\r\n").encode("ascii", "replace")


def _recipient_lines(recipient: Recipient) -> Iterator[str]:
    if recipient.original:
        yield f"Original-Recipient: rfc822;{recipient.original}"
    yield f"Final-Recipient: rfc822; {recipient.address}"
    yield f"Action: {_ACTIONS[recipient.verdict]}"
    yield f"Status: {recipient.status}"
    explained = " ".join(finding.text() for finding in recipient.findings) or "message accepted"
    diagnostic = f"Diagnostic-Code: x-digipoort; {explained}"
    yield "\r\n ".join(textwrap.wrap(diagnostic, _LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False))
    if recipient.last_attempt:
        yield f"Last-Attempt-Date: {format_datetime(recipient.last_attempt)}"


def _returned(report: Report) -> bytes:
    returned = report.returned
    return returned.header if returned.body is None else returned.header + b"\r\n" + returned.body
