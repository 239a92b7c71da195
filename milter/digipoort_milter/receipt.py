"""The receipt role: every notification that Postfix writes becomes a receipt that tells no physical address.

A notification that is not understood in full becomes a receipt without details; it never passes as it is. Mail with an
envelope sender is none of ours: it is let through untouched.
"""

from __future__ import annotations

import functools
import secrets
import time
from typing import TYPE_CHECKING, Final

import Milter

from digipoort import reasons
from digipoort.interface.addresses import parse_addresses
from digipoort.interface.fields import HeaderField, field_octets
from digipoort.reasons import Finding
from digipoort.references import REFERENCE_HEADER
from digipoort.resubmission import Unanswered
from digipoort_milter import resubmission_client
from digipoort_milter.outcome import Outcome, ReplaceBody, removals, sole_header
from digipoort_milter.profile_store import ProfileStore
from digipoort_milter.repetition import told
from digipoort_milter.report_reader import NotUnderstoodError, find_reference, parse_date, read_report
from digipoort_milter.report_writer import write_minimal, write_report
from digipoort_milter.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from digipoort.profiles import Profiles
    from digipoort.settings import MilterSettings
    from digipoort_milter.outcome import Change
    from digipoort_milter.report_reader import Report
    from digipoort_milter.report_writer import Receipt
    from digipoort_milter.resubmission_client import Ask

ACTIONS: Final = Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY
MAX_NOTIFICATION_OCTETS: Final = 4 * 1_048_576
# Postfix writes about ten. Each one that is removed costs it a walk through the header.
MAX_FIELDS: Final = 200
# The rest of a notification's own header may hold anything; Received cannot be removed by a milter in all cases.
_KEPT_FIELDS: Final = frozenset(
    {
        "auto-submitted",
        "content-transfer-encoding",
        "content-type",
        "date",
        "from",
        "in-reply-to",
        "message-id",
        "mime-version",
        "received",
        "references",
        "subject",
        "to",
        REFERENCE_HEADER.lower(),
    }
)


class ReceiptMessage:
    """One notification on its way to a submitter."""

    def __init__(
        self, settings: MilterSettings, profiles: Profiles | None, ask: Ask, log: FilteringBoundLogger
    ) -> None:
        """Start collecting it; without `profiles` the receipt names neither the flow nor an earlier submission."""
        self._started = time.perf_counter()
        self._settings = settings
        self._profiles = profiles
        self._ask = ask
        self._log = log
        self._fields: list[HeaderField] = []
        self._header_octets = 0
        self._body = bytearray()
        self._whole = True
        self.reference: str | None = None

    def header(self, name: str, value: bytes) -> None:
        """Keep a header field. Raises ValueError when there are more than any notification has."""
        self._header_octets += field_octets(name, value)
        if len(self._fields) >= MAX_FIELDS or self._header_octets > MAX_NOTIFICATION_OCTETS:
            raise ValueError("the header is larger than any notification's")
        self._fields.append(HeaderField(name, value))

    def body(self, chunk: bytes) -> None:
        """Keep a part of the body, up to the bound."""
        room = MAX_NOTIFICATION_OCTETS - len(self._body)
        self._whole = self._whole and len(chunk) <= room
        self._body += chunk[:room]

    def finish(self, macro: Callable[[str], str | None]) -> Outcome:
        """Put the receipt in the notification's place."""
        body = bytes(self._body)
        try:
            report = self._told(self._read(body))
            receipt = self._write(report)
        except Unanswered as cause:
            return self._wait(cause, macro("i"))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the original must not pass and the verdict must
            receipt = self._minimal(body, error, macro("i"))
        else:
            self._report(report, macro("i"))
        return Outcome(changes=self._changes(receipt))

    def _read(self, body: bytes) -> Report:
        if not self._whole:
            raise NotUnderstoodError(f"larger than {MAX_NOTIFICATION_OCTETS} octets")
        content_types = self._values("content-type")
        if len(content_types) != 1:
            raise NotUnderstoodError("not one Content-Type")
        return read_report(content_types[0], body, self._settings.logical_domains)

    def _told(self, report: Report) -> Report:
        """Return the report with what earlier submissions mean to it. Raises Unanswered."""
        self.reference = report.reference
        submitter = self._submitter()
        if self._profiles is None or submitter is None:
            return report
        return told(report, submitter, self._profiles, self._ask)

    def _wait(self, cause: Unanswered, queue_id: str | None) -> Outcome:
        """Let the notification wait: it could say too little, and nothing is lost by it."""
        reason = reasons.HISTORY_UNAVAILABLE
        self._log.warning(
            "history_unavailable", ref=self.reference, queue_id=queue_id, reason=reason.code, cause=str(cause)
        )
        return Outcome(findings=(Finding(reason),))

    def _write(self, report: Report) -> Receipt:
        dates = self._values("date")
        written = parse_date(dates[0].strip()) if dates else None
        boundary = f"receipt-{secrets.token_hex(16)}"
        return write_report(report, self._settings.gateway_name, self._flow_code(report), written, boundary)

    def _flow_code(self, report: Report) -> str | None:
        """Return the message's flow."""
        submitter = self._submitter()
        if self._profiles is None or submitter is None:
            return None
        recipients = tuple(recipient.address.lower() for recipient in report.recipients)
        flow = self._profiles.flow_for(recipients, submitter)
        return flow.code if flow else None

    def _submitter(self) -> str | None:
        """Return whom the notification is for: the message's envelope sender."""
        addressees = [mailbox for value in self._values("to") for mailbox in parse_addresses(value).mailboxes]
        return addressees[0] if len(addressees) == 1 else None

    def _minimal(self, body: bytes, error: Exception, queue_id: str | None) -> Receipt:
        verdict = error.verdict if isinstance(error, NotUnderstoodError) else None
        self.reference = find_reference(self._fields, body)
        self._log.warning(
            "receipt_minimal",
            ref=self.reference,
            queue_id=queue_id,
            elapsed_ms=self._elapsed(),
            action=verdict,
            cause=str(error) if isinstance(error, NotUnderstoodError) else repr(error),
        )
        return write_minimal(verdict, self.reference)

    def _report(self, report: Report, queue_id: str | None) -> None:
        codes = {finding.reason.code for recipient in report.recipients for finding in recipient.findings}
        self._log.info(
            "receipt_written",
            ref=self.reference,
            queue_id=queue_id,
            reason=",".join(sorted(codes)) or None,
            elapsed_ms=self._elapsed(),
            action=report.verdict,
            recipients=len(report.recipients),
        )

    def _changes(self, receipt: Receipt) -> tuple[Change, ...]:
        values = {
            "Subject": receipt.subject,
            "MIME-Version": "1.0",
            "Content-Type": receipt.content_type,
            "Content-Transfer-Encoding": receipt.transfer_encoding,
            "Auto-Submitted": "auto-replied",
        }
        if self.reference:
            values[REFERENCE_HEADER] = self.reference
        changes: list[Change] = []
        names = [field.name.lower() for field in self._fields]
        for name in sorted(set(names) - _KEPT_FIELDS):
            changes += removals(name, names.count(name))
        for name, value in values.items():
            changes += sole_header(self._fields, name, value)
        return (*changes, ReplaceBody(receipt.body))

    def _values(self, name: str) -> list[bytes]:
        return [field.value for field in self._fields if field.name.lower() == name]

    def _elapsed(self) -> float:
        return (time.perf_counter() - self._started) * 1000


@Milter.header_leading_space
class ReceiptSession(Session[ReceiptMessage]):
    """The callbacks of this role; here the sender's is answered, so that other mail costs nothing more."""

    @Milter.decode("bytes")
    def envfrom(self, sender: bytes, *parameters: bytes) -> int:
        """Begin a message, or let it through when it has a sender."""
        return self.start(sender, parameters)


def session_factory(settings: MilterSettings, log: FilteringBoundLogger) -> Callable[[], ReceiptSession]:
    """Return what makes the session of a new connection."""
    store = ProfileStore(settings.profiles_file, log)
    asking = functools.partial(resubmission_client.ask, settings.resubmission_socket, settings.resubmission_deadline)

    def begin(sender: bytes, _parameters: tuple[bytes, ...]) -> ReceiptMessage | None:
        return None if sender.strip(b" <>") else ReceiptMessage(settings, store.current(), asking, log)

    return lambda: ReceiptSession(begin, log)
