"""From a request's octets to a reply's: parse, ask the directory, decide, log. Every way through it ends in a reply."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from digipoort import reasons
from digipoort.decision import (
    Acceptance,
    AcceptanceRow,
    LoginFault,
    Submission,
    SubmissionRow,
    decide_acceptance,
    decide_submission,
    login_fault,
)
from digipoort.directory import queries
from digipoort.directory.outages import OutageLog
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.framing import RequestMalformed
from digipoort.reasons import Finding
from digipoort_policyd.protocol import format_reply, parse_request
from digipoort_policyd.rates import Rate, RecipientRates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import LiteralString

    from structlog.typing import FilteringBoundLogger

    from digipoort.directory.pool import Fetch
    from digipoort.settings import PolicydSettings
    from digipoort_policyd.protocol import PolicyRequest


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What Postfix is told: a finding or none; whose session it is, and why its login is refused, are for the log.

    `known`: a certificate opens the door (context `certificate`); what may pass is asked afterwards.
    """

    finding: Finding | None
    login: str | None = None
    cause: LoginFault | None = None
    known: bool = False


class PolicyService:
    """Answers policy requests."""

    def __init__(self, fetch: Fetch, log: FilteringBoundLogger, settings: PolicydSettings) -> None:
        """Take `fetch`, which returns a statement's one row, and the daemon's settings."""
        self._fetch = fetch
        self._log = log
        self._settings = settings
        self._logical_domains = frozenset(settings.logical_domains)
        self._rates = RecipientRates(Rate(settings.submission_rate_recipients, settings.submission_rate_seconds))
        self._outages = OutageLog(log)

    async def answer(self, block: bytes) -> bytes:
        """Return the reply to one request; raises nothing but CancelledError."""
        started = time.perf_counter()
        try:
            request = parse_request(block)
        except RequestMalformed as fault:
            return self.malformed(fault)
        verdict = await self._verdict(request)
        self._log_decision(request, verdict, (time.perf_counter() - started) * 1000)
        return format_reply(verdict.finding, known=verdict.known)

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Log a request that cannot be understood and return its reply, which is temporary: the fault is ours."""
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=str(fault))
        return format_reply(Finding(reasons.REQUEST_MALFORMED))

    async def _verdict(self, request: PolicyRequest) -> _Verdict:
        try:
            async with asyncio.timeout(self._settings.request_deadline):
                return await self._decide(request)
        except TimeoutError:
            return _Verdict(Finding(reasons.DEADLINE_EXCEEDED))
        except DirectoryUnavailable:
            return _Verdict(Finding(reasons.DIRECTORY_UNAVAILABLE))
        except Exception:  # noqa: BLE001 - logged; whatever it is, the message is not at fault and must wait
            self._log.exception("internal_error", reason=reasons.INTERNAL_ERROR.code, instance=request.instance)
            return _Verdict(Finding(reasons.INTERNAL_ERROR))

    async def _decide(self, request: PolicyRequest) -> _Verdict:
        if request.context == "acceptance":
            return await self._decide_acceptance(request)
        submission = Submission(
            login=request.sasl_username,
            sender=request.sender,
            recipient=request.recipient,
            encrypted=bool(request.encryption_protocol),
            client=request.client_address,
            certificate=request.certificate,
        )
        row = SubmissionRow(
            *await self._row(queries.SUBMISSION, submission.parameters(self._settings.directory_timezone))
        )
        if request.context == "certificate":
            return _Verdict(None, row.login, known=submission.encrypted and row.login is not None)
        return self._decide_submission(submission, row)

    async def _decide_acceptance(self, request: PolicyRequest) -> _Verdict:
        acceptance = Acceptance(request.sender, request.recipient, request.size)
        row = await self._row(queries.ACCEPTANCE, acceptance.parameters(self._settings.directory_timezone))
        return _Verdict(decide_acceptance(acceptance, AcceptanceRow(*row)))

    def _decide_submission(self, submission: Submission, row: SubmissionRow) -> _Verdict:
        finding = decide_submission(submission, row, self._logical_domains)
        # As the directory spells it: SASL lets a client write its login in any way.
        if finding is None and row.login is not None and not self._rates.admits(row.login.encode()):
            finding = Finding(reasons.RATE_EXCEEDED)
        return _Verdict(finding, row.login, login_fault(submission, row) if finding else None)

    async def _row(self, query: LiteralString, parameters: Mapping[str, object]) -> tuple[Any, ...]:
        with self._outages:
            row = await self._fetch(query, parameters)
        if row is None:
            raise LookupError("A statement that decides returned no row.")
        return row

    def _log_decision(self, request: PolicyRequest, verdict: _Verdict, elapsed_ms: float) -> None:
        if verdict.known:
            # The question about the same recipient follows, and has a line.
            return
        finding = verdict.finding
        values: dict[str, object] = {
            "elapsed_ms": elapsed_ms,
            "context": request.context,
            "instance": request.instance,
            "login": request.sasl_username or verdict.login or "",
            "sender": request.sender,
            "recipient": request.recipient,
            "client": request.client_address,
        }
        if request.queue_id:
            values["queue_id"] = request.queue_id
        # At acceptance it is the hop's, always.
        if request.certificate and request.context != "acceptance":
            values |= {"certificate": request.certificate.fingerprint, "subject": request.certificate.subject}
        if verdict.cause:
            values["cause"] = verdict.cause
        if request.context == "certificate" and finding is None:
            self._log.info("certificate_unknown", **values)
        elif finding is None:
            self._log.info("recipient_allowed", **values)
        elif finding.reason.temporary:
            self._log.warning("recipient_deferred", reason=finding.reason.code, **values)
        else:
            self._log.info("recipient_refused", reason=finding.reason.code, **values)
