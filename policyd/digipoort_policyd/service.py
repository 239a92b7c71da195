"""From a request's octets to a reply's: parse, ask the directory, decide, log. Every way through it ends in a reply."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from digipoort import reasons
from digipoort.decision import (
    Acceptance,
    AcceptanceRow,
    Submission,
    SubmissionRow,
    decide_acceptance,
    decide_submission,
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
        finding = await self._finding(request)
        self._log_decision(request, finding, (time.perf_counter() - started) * 1000)
        return format_reply(finding)

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Log a request that cannot be understood and return its reply, which is temporary: the fault is ours."""
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=str(fault))
        return format_reply(Finding(reasons.REQUEST_MALFORMED))

    async def _finding(self, request: PolicyRequest) -> Finding | None:
        try:
            async with asyncio.timeout(self._settings.request_deadline):
                return await self._decide(request)
        except TimeoutError:
            return Finding(reasons.DEADLINE_EXCEEDED)
        except DirectoryUnavailable:
            return Finding(reasons.DIRECTORY_UNAVAILABLE)
        except Exception:  # noqa: BLE001 - logged; whatever it is, the message is not at fault and must wait
            self._log.exception("internal_error", reason=reasons.INTERNAL_ERROR.code, instance=request.instance)
            return Finding(reasons.INTERNAL_ERROR)

    async def _decide(self, request: PolicyRequest) -> Finding | None:
        if request.context == "submission":
            return await self._decide_submission(request)
        acceptance = Acceptance(request.sender, request.recipient, request.size)
        row = await self._row(queries.ACCEPTANCE, acceptance.parameters(self._settings.directory_timezone))
        return decide_acceptance(acceptance, AcceptanceRow(*row))

    async def _decide_submission(self, request: PolicyRequest) -> Finding | None:
        submission = Submission(
            request.sasl_username, request.sender, request.recipient, encrypted=bool(request.encryption_protocol)
        )
        row = await self._row(queries.SUBMISSION, submission.parameters())
        finding = decide_submission(submission, SubmissionRow(*row), self._logical_domains)
        # Lower case, as the directory spells it: SASL lets a client write its login in any way.
        if finding is None and not self._rates.admits(request.sasl_username.lower()):
            return Finding(reasons.RATE_EXCEEDED)
        return finding

    async def _row(self, query: LiteralString, parameters: Mapping[str, object]) -> tuple[Any, ...]:
        with self._outages:
            row = await self._fetch(query, parameters)
        if row is None:
            raise LookupError("A statement that decides returned no row.")
        return row

    def _log_decision(self, request: PolicyRequest, finding: Finding | None, elapsed_ms: float) -> None:
        values = {
            "elapsed_ms": elapsed_ms,
            "context": request.context,
            "instance": request.instance,
            "login": request.sasl_username,
            "sender": request.sender,
            "recipient": request.recipient,
            "client": request.client_address,
        }
        if request.queue_id:
            values["queue_id"] = request.queue_id
        if finding is None:
            self._log.info("recipient_allowed", **values)
        elif finding.reason.temporary:
            self._log.warning("recipient_deferred", reason=finding.reason.code, **values)
        else:
            self._log.info("recipient_refused", reason=finding.reason.code, **values)
