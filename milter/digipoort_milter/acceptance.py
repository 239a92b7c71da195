"""The acceptance role: judges a message against its flow's interface; Postfix turns the verdict into the receipt."""

from __future__ import annotations

import functools
import hashlib
import time
from typing import TYPE_CHECKING, Final

import Milter

from digipoort import reasons
from digipoort.interface.addresses import normalised
from digipoort.interface.fields import MAX_SHOWN_NAME, HeaderField, is_gateway_header
from digipoort.interface.inspection import MAX_FINDINGS, Inspection
from digipoort.reasons import Finding
from digipoort.references import ENVELOPE_HEADER, MEASURES_HEADER
from digipoort.resubmission import Submitted, Unanswered
from digipoort_milter import resubmission_client
from digipoort_milter.envelope import parse_envelope
from digipoort_milter.marks import read_marks
from digipoort_milter.outcome import ChangeSender, Outcome, removals
from digipoort_milter.profile_store import ProfileStore
from digipoort_milter.repetition import refusals, sole_message_id
from digipoort_milter.session import Session

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from digipoort.profiles import FlowProfile, Profiles
    from digipoort.settings import MilterSettings
    from digipoort_milter.marks import Marks
    from digipoort_milter.outcome import Change
    from digipoort_milter.resubmission_client import Ask

ACTIONS: Final = Milter.CHGHDRS | Milter.CHGFROM
_MAX_RECIPIENTS: Final = 1000
_MAX_GATEWAY_HEADERS: Final = 20
# Callbacks that only keep a field hardly ever meet another session's for Python's lock.
_BATCH_FIELDS: Final = 200
_BATCH_OCTETS: Final = 65_536
# One is wanted; of two it is known that they are too many.
_MAX_MESSAGE_IDS: Final = 2


class Acceptance:
    """One message before its verdict."""

    def __init__(self, sender: bytes, profiles: Profiles | None, ask: Ask, log: FilteringBoundLogger) -> None:
        """`profiles` are those in force, None when none could ever be read; `ask` asks about earlier submissions."""
        self._started = time.perf_counter()
        self._log = log
        self._sender = sender
        self._profiles = profiles
        self._ask = ask
        self._recipients: tuple[str, ...] = ()
        self._fields: list[HeaderField] = []
        self._field_octets = 0
        self._gateway_fields: list[HeaderField] = []
        self._message_ids: list[bytes] = []
        self._hash = hashlib.sha256()
        self._flow: FlowProfile | None = None
        self._inspection: Inspection | None = None
        self._hidden: re.Pattern[bytes] | None = None
        self._named: Finding | None = None
        self.reference: str | None = None

    def recipient(self, address: bytes) -> None:
        """Take a recipient; the hop sends one at a time, a few more do no harm."""
        if len(self._recipients) >= _MAX_RECIPIENTS:
            raise ValueError(f"more than {_MAX_RECIPIENTS} recipients")
        self._recipients += (normalised(address),)

    def header(self, name: str, value: bytes) -> None:
        """Take a header field; a few are looked at together."""
        self._fields.append(HeaderField(name, value))
        self._field_octets += len(value)
        if self._field_octets > _BATCH_OCTETS or len(self._fields) > _BATCH_FIELDS:
            self._read_fields()

    def body(self, chunk: bytes) -> None:
        """Digest and inspect a part of the body."""
        if self._fields:
            self._read_fields()
        self._hash.update(chunk)
        if self._inspection is not None:
            self._inspection.body(chunk)

    def finish(self, macro: Callable[[str], str | None]) -> Outcome:
        """Give the verdict."""
        self._read_fields()
        marks = read_marks(self._gateway_fields)
        self.reference = marks.reference if marks else None
        findings = self._findings(marks)
        self._report(macro("i"), findings)
        if marks is None or findings:
            return Outcome(findings=tuple(findings))
        return Outcome(changes=self._hand_over(marks))

    def _read_fields(self) -> None:
        """Inspect the fields that have come, and keep those that are the gateway's own."""
        self._open()
        for field in self._fields:
            if is_gateway_header(field.name):
                if len(self._gateway_fields) < _MAX_GATEWAY_HEADERS:
                    self._gateway_fields.append(field)
            elif self._inspection is not None:
                self._inspection.header(field.name, field.value)
                self._look_for_hidden_names(field)
                if field.name.strip().lower() == "message-id" and len(self._message_ids) < _MAX_MESSAGE_IDS:
                    self._message_ids.append(field.value)
        self._fields.clear()
        self._field_octets = 0

    def _look_for_hidden_names(self, field: HeaderField) -> None:
        """Note the first field in which a government party names its own hosts: they are hidden from the others."""
        if self._hidden is not None and self._named is None and self._hidden.search(field.value):
            self._named = Finding(reasons.PHYSICAL_NAME, {"header": field.name[:MAX_SHOWN_NAME]})

    def _open(self) -> None:
        """Find the flow, once the envelope is known."""
        if self._flow is not None or self._profiles is None:
            return
        sender = normalised(self._sender)
        self._flow = self._profiles.flow_for(self._recipients, sender)
        if self._flow is not None:
            self._inspection = Inspection(self._flow, sender, self._recipients)
            if reasons.PHYSICAL_NAME.code not in self._flow.interface.off:
                self._hidden = self._profiles.hidden_names(sender)

    def _findings(self, marks: Marks | None) -> list[Finding]:
        if self._profiles is None:
            return [Finding(reasons.INTERNAL_ERROR)]
        if marks is None:
            return [Finding(reasons.STAGE_ONE_MARK_MISSING)]
        if marks.digest != f"sha256={self._hash.hexdigest()}":
            return [Finding(reasons.BODY_CHANGED)]
        if self._flow is None or self._inspection is None:
            return [Finding(reasons.NOT_YET_PUBLISHED)]
        found = self._inspection.finish(marks.measures)
        if self._named is not None:
            found = [self._named, *found][:MAX_FINDINGS]
        # Last, because it remembers the message: one that is refused anyway was never received.
        return found or self._earlier(marks, self._flow)

    def _earlier(self, marks: Marks, flow: FlowProfile) -> list[Finding]:
        """Remember the message, and return why what was received before speaks against it."""
        identifier = sole_message_id(self._message_ids)
        if identifier is None or not flow.recognises_resubmissions:
            return []
        sender, digest = _octets(normalised(self._sender)), marks.digest.removeprefix("sha256=")
        messages = [
            Submitted(marks.reference, sender, _octets(recipient), identifier, digest) for recipient in self._recipients
        ]
        try:
            return refusals(flow, messages, self._ask)
        except Unanswered as cause:
            reason = reasons.HISTORY_UNAVAILABLE
            self._log.warning("history_unavailable", ref=marks.reference, reason=reason.code, cause=str(cause))
            return [Finding(reason)]

    def _hand_over(self, marks: Marks) -> tuple[Change, ...]:
        """Remove what was only for this stage, and give the envelope back what the hop could not carry."""
        names = [field.name.lower() for field in self._gateway_fields]
        changes: list[Change] = []
        for name in (MEASURES_HEADER, ENVELOPE_HEADER):
            changes += removals(name, names.count(name.lower()))
        envelope = parse_envelope(marks.envelope)
        if envelope:
            changes.append(ChangeSender(self._sender.decode("utf-8", "surrogateescape"), envelope))
        return tuple(changes)

    def _report(self, queue_id: str | None, findings: list[Finding]) -> None:
        codes = [finding.reason.code for finding in findings]
        if not findings:
            log, event = self._log.info, "message_accepted"
        elif not findings[0].reason.temporary:
            log, event = self._log.info, "message_refused"
        else:
            # A changed body is the one thing that must never happen: the gateway itself is at fault.
            grave = reasons.BODY_CHANGED.code in codes
            log, event = (self._log.error if grave else self._log.warning), "message_deferred"
        log(
            event,
            ref=self.reference,
            queue_id=queue_id,
            reason=",".join(codes) or None,
            elapsed_ms=(time.perf_counter() - self._started) * 1000,
            flow=self._flow.code if self._flow else None,
            sender=self._sender.strip(b"<>"),
            recipient=",".join(self._recipients),
        )


def _octets(address: str) -> bytes:
    return address.encode("utf-8", "surrogateescape")


@Milter.header_leading_space
class AcceptanceSession(Session[Acceptance]):
    """The callbacks of this role."""

    @Milter.noreply
    @Milter.decode("bytes")
    def envfrom(self, sender: bytes, *parameters: bytes) -> int:
        """Begin a message."""
        return self.start(sender, parameters)

    @Milter.noreply
    @Milter.decode("bytes")
    def envrcpt(self, recipient: bytes, *_parameters: bytes) -> int:
        """Take a recipient."""
        self.guarded(lambda handler: handler.recipient(recipient))
        return Milter.CONTINUE


def session_factory(settings: MilterSettings, log: FilteringBoundLogger) -> Callable[[], AcceptanceSession]:
    """Return what makes the session of a new connection."""
    store = ProfileStore(settings.profiles_file, log)
    asking = functools.partial(resubmission_client.ask, settings.resubmission_socket, settings.resubmission_deadline)

    def begin(sender: bytes, _parameters: tuple[bytes, ...]) -> Acceptance:
        return Acceptance(sender, store.current(), asking, log)

    return lambda: AcceptanceSession(begin, log)
