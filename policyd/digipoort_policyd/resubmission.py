"""The memory of submissions, for all gateway hosts in the directory's table `submission`: asks, decides, prunes.

Every statement may be sent twice, as DirectoryPool.fetch_one does after a broken connection: a claim that is repeated
finds its own reference, and what is deleted stays so.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from digipoort import reasons
from digipoort.decision import directory_key
from digipoort.directory import queries
from digipoort.directory.outages import OutageLog
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.framing import RequestMalformed
from digipoort.resubmission import (
    History,
    Question,
    Request,
    Standing,
    Submitted,
    format_answer,
    format_unanswered,
    parse_question,
)

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from digipoort.directory.pool import Fetch
    from digipoort.settings import PolicydSettings

PRUNE_SECONDS: Final = 600.0
# One statement deletes so few rows that nobody waits for it; one round so many that it keeps up with any gateway.
PRUNE_BATCH: Final = 1000
_MAX_BATCHES: Final = 1000


def message_key(message: Submitted) -> bytes:
    """Return the 32 octets under which a party's submission is kept: a Message-ID may be as long as a header field."""
    return hashlib.sha256(message.message_id + b"\0" + message.recipient.lower()).digest()


def standing(message: Submitted, kept: tuple[str, bytes] | None) -> History:
    """Return what a message is to the reference and digest kept under its key; its own reference is the hop's retry."""
    if kept is None or kept[0] == message.reference:
        return History(Standing.FIRST)
    same = bytes(kept[1]) == bytes.fromhex(message.digest)
    return History(Standing.REPEATED if same else Standing.REUSED, kept[0])


class ResubmissionService:
    """Answers the milters' questions about earlier submissions."""

    def __init__(self, fetch: Fetch, log: FilteringBoundLogger, settings: PolicydSettings) -> None:
        """Take `fetch`, which returns a statement's first row from DIRECTORY_WRITE_DSN, and the daemon's settings."""
        self._fetch = fetch
        self._log = log
        self._deadline = settings.request_deadline
        self._window = timedelta(days=settings.resubmission_window_days)
        self._outages = OutageLog(log.bind(server="DIRECTORY_WRITE_DSN"))

    async def answer(self, block: bytes) -> bytes:
        """Return the answer to one question; raises nothing but CancelledError."""
        started = time.perf_counter()
        try:
            question = parse_question(block)
        except RequestMalformed as fault:
            return self.malformed(fault)
        try:
            async with asyncio.timeout(self._deadline):
                history = await self._history(question)
        except TimeoutError:
            reason, detail = reasons.DEADLINE_EXCEEDED, "no row within the deadline"
        except DirectoryUnavailable as fault:
            reason, detail = reasons.DIRECTORY_UNAVAILABLE, str(fault)
        except Exception:  # noqa: BLE001 - logged; the message is not at fault and must wait
            self._log.exception("internal_error", ref=question.message.reference, reason=reasons.INTERNAL_ERROR.code)
            reason, detail = reasons.INTERNAL_ERROR, "see internal_error"
        else:
            self._log_history(question, history, _elapsed(started))
            return format_answer(history)
        self._log.warning(
            "resubmission_unanswered",
            ref=question.message.reference,
            reason=reason.code,
            elapsed_ms=_elapsed(started),
            request=question.request.value,
            detail=detail,
        )
        return format_unanswered(reason.code)

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Log a question that cannot be understood and say so: the fault is ours, the message waits."""
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=str(fault))
        return format_unanswered(reasons.REQUEST_MALFORMED.code)

    async def prune(self) -> None:
        """Delete what is older than the window, in small batches; what cannot be done now is left to the next round."""
        pruned = 0
        try:
            for _ in range(_MAX_BATCHES):
                async with asyncio.timeout(self._deadline):
                    row = await self._row(queries.PRUNE_SUBMISSIONS, {"window": self._window, "batch": PRUNE_BATCH})
                pruned += row[0] if row else 0
                if row is None or row[0] < PRUNE_BATCH:
                    break
        except (DirectoryUnavailable, TimeoutError) as error:
            self._log.warning("submissions_not_pruned", detail=str(error) or "too slow")
        except Exception:  # noqa: BLE001 - logged; the next round must come
            self._log.exception("internal_error", reason=reasons.INTERNAL_ERROR.code)
        if pruned:
            self._log.info("submissions_pruned", rows=pruned)

    async def _history(self, question: Question) -> History:
        message = question.message
        keys: dict[str, object] = {"sender": directory_key(message.sender), "message": message_key(message)}
        own: dict[str, object] = {"reference": message.reference, "digest": bytes.fromhex(message.digest)}
        match question.request:
            case Request.CLAIM:
                row = await self._row(queries.CLAIM_SUBMISSION, keys | own | {"window": self._window})
                if row is None:
                    raise DirectoryUnavailable("The sender's address is not on the server of DIRECTORY_WRITE_DSN.")
                return standing(message, (row[0], row[1]))
            case Request.RECALL:
                row = await self._row(queries.RECALL_SUBMISSION, keys)
                return standing(message, (row[0], row[1]) if row else None)
            case Request.RELEASE:
                row = await self._row(queries.RELEASE_SUBMISSION, keys | {"reference": message.reference})
                if row is not None:
                    self._log.info("submission_released", ref=message.reference)
                return History(Standing.FIRST)

    async def _row(self, query: Any, parameters: dict[str, object]) -> tuple[Any, ...] | None:  # noqa: ANN401
        with self._outages:
            return await self._fetch(query, parameters)

    def _log_history(self, question: Question, history: History, elapsed_ms: float) -> None:
        if question.request is Request.CLAIM and history.earlier is not None:
            self._log.info(
                "resubmission_recognised",
                ref=question.message.reference,
                elapsed_ms=elapsed_ms,
                standing=history.standing.value,
                earlier=history.earlier,
                sender=question.message.sender,
                recipient=question.message.recipient,
            )


async def keep_pruned(service: ResubmissionService) -> None:
    """Prune again and again, until cancelled."""
    while True:
        await asyncio.sleep(PRUNE_SECONDS)
        await service.prune()


def _elapsed(started: float) -> float:
    return (time.perf_counter() - started) * 1000
