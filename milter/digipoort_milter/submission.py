"""The submission role: gives a message its reference, digest and size, after removing what only pretends to be such."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import Milter

from digipoort import reasons
from digipoort.reasons import Finding
from digipoort.references import (
    DIGEST_HEADER,
    ENVELOPE_HEADER,
    REFERENCE_HEADER,
    SIZE_HEADER,
    new_reference,
)
from digipoort_milter.envelope import kept_parameters
from digipoort_milter.message import Meter, is_gateway_header
from digipoort_milter.outcome import AddHeader, Outcome, removals
from digipoort_milter.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

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
        """Mark the message, or refuse one that is full of the gateway's own headers."""
        flood = self._client_header_count > MAX_CLIENT_GATEWAY_HEADERS
        finding = Finding(reasons.GATEWAY_HEADERS_SENT, {"limit": str(MAX_CLIENT_GATEWAY_HEADERS)})
        digest = self._meter.digest()
        self._log.info(
            "submission_refused" if flood else "message_submitted",
            ref=self.reference,
            queue_id=macro("i"),
            reason=finding.reason.code if flood else None,
            elapsed_ms=(time.perf_counter() - self._started) * 1000,
            sender=self._sender.strip(b"<>"),
            login=macro("{auth_authen}") or "-",
            client=macro("{client_addr}") or "-",
            octets=self._meter.octets,
            digest=digest,
        )
        return Outcome(findings=(finding,)) if flood else Outcome(changes=self._marks(digest))

    def _marks(self, digest: str) -> tuple[Change, ...]:
        changes = [change for name, count in self._client_headers.items() for change in removals(name, count)]
        changes.append(AddHeader(REFERENCE_HEADER, self.reference))
        changes.append(AddHeader(DIGEST_HEADER, digest))
        changes.append(AddHeader(SIZE_HEADER, str(self._meter.octets)))
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
