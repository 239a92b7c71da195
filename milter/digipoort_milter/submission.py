"""The submission role: marks a message with reference, digest and measures, and removes what pretends to be such."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import Milter

from digipoort import reasons
from digipoort.interface.fields import is_gateway_header
from digipoort.interface.measures import Meter
from digipoort.interface.profile import CEILINGS
from digipoort.reasons import Finding
from digipoort.references import (
    DIGEST_HEADER,
    ENVELOPE_HEADER,
    MEASURES_HEADER,
    REFERENCE_HEADER,
    new_reference,
)
from digipoort_milter.envelope import kept_parameters
from digipoort_milter.outcome import AddHeader, Outcome, removals
from digipoort_milter.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from digipoort.interface.measures import Measures
    from digipoort.settings import MilterSettings
    from digipoort_milter.outcome import Change

ACTIONS: Final = Milter.ADDHDRS | Milter.CHGHDRS
# Each removal costs Postfix a walk through the header.
MAX_CLIENT_GATEWAY_HEADERS: Final = 100


class Submission:
    """One message on its way in."""

    def __init__(self, sender: bytes, parameters: tuple[bytes, ...], log: FilteringBoundLogger) -> None:
        """Start measuring; `parameters` are those of MAIL FROM."""
        self._started = time.perf_counter()
        self._log = log
        self._sender = sender
        self._envelope = kept_parameters(parameters)
        self._meter = Meter()
        self._client_headers: dict[str, int] = {}
        self._client_header_count = 0
        self.reference = new_reference()

    def header(self, name: str, value: bytes) -> None:
        """Measure a field, or note it for removal when only the gateway may set it."""
        if not is_gateway_header(name):
            self._meter.add_field(name, value)
            return
        self._client_header_count += 1
        if self._client_header_count <= MAX_CLIENT_GATEWAY_HEADERS:
            key = name.strip().lower()
            self._client_headers[key] = self._client_headers.get(key, 0) + 1

    def body(self, chunk: bytes) -> None:
        """Measure a part of the body."""
        self._meter.add_body(chunk)

    def finish(self, macro: Callable[[str], str | None]) -> Outcome:
        """Mark the message, or refuse one with more header fields than anything after it could take."""
        digest, measures = self._meter.digest(), self._meter.measures()
        finding = self._flood(measures)
        self._log.info(
            "submission_refused" if finding else "message_submitted",
            ref=self.reference,
            queue_id=macro("i"),
            reason=finding.reason.code if finding else None,
            elapsed_ms=(time.perf_counter() - self._started) * 1000,
            sender=self._sender.strip(b"<>"),
            login=macro("{auth_authen}") or "-",
            client=macro("{client_addr}") or "-",
            octets=measures.octets,
            digest=digest,
        )
        return Outcome(findings=(finding,)) if finding else Outcome(changes=self._marks(digest, measures))

    def _flood(self, measures: Measures) -> Finding | None:
        if self._client_header_count > MAX_CLIENT_GATEWAY_HEADERS:
            return Finding(reasons.GATEWAY_HEADERS_SENT, {"limit": str(MAX_CLIENT_GATEWAY_HEADERS)})
        most = CEILINGS["max_header_fields"]
        return Finding(reasons.TOO_MANY_FIELDS, {"limit": str(most)}) if measures.fields > most else None

    def _marks(self, digest: str, measures: Measures) -> tuple[Change, ...]:
        changes = [change for name, count in self._client_headers.items() for change in removals(name, count)]
        changes.append(AddHeader(REFERENCE_HEADER, self.reference))
        changes.append(AddHeader(DIGEST_HEADER, digest))
        changes.append(AddHeader(MEASURES_HEADER, measures.text()))
        if self._envelope:
            changes.append(AddHeader(ENVELOPE_HEADER, self._envelope))
        return tuple(changes)


@Milter.header_leading_space
class SubmissionSession(Session[Submission]):
    """The callbacks of this role: recipients are the policy daemon's concern."""

    @Milter.noreply
    @Milter.decode("bytes")
    def envfrom(self, sender: bytes, *parameters: bytes) -> int:
        """Begin a message."""
        return self.start(sender, parameters)


def session_factory(_settings: MilterSettings, log: FilteringBoundLogger) -> Callable[[], SubmissionSession]:
    """Return what makes the session of a new connection."""

    def begin(sender: bytes, parameters: tuple[bytes, ...]) -> Submission:
        return Submission(sender, parameters, log)

    return lambda: SubmissionSession(begin, log)
