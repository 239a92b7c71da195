"""From a request's octets to a reply's: parse, authenticate, log. Every way through it ends in a reply."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digipoort import reasons
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.passwords import PasswordHashError
from digipoort.unixserver import Reply
from digipoort_auth.authentication import Accepted, Refusal, authenticate
from digipoort_auth.hashing import HashQueueFull
from digipoort_auth.protocol import FAIL, TEMP, RequestMalformed, format_accepted, parse_request

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from digipoort.reasons import Reason
    from digipoort_auth.authentication import Credential, Find, Verify
    from digipoort_auth.protocol import AuthRequest


@dataclass(frozen=True, slots=True)
class Deferred:
    """There is no verdict on a login, for a reason that is ours; `detail` is for the admin."""

    reason: Reason
    detail: str


class AuthService:
    """Answers requests; its only state is whether the directory answered last time, so that a change is logged."""

    def __init__(self, find: Find, verify: Verify, log: FilteringBoundLogger, *, decoy: str, deadline: float) -> None:
        """Take the functions that `authenticate` needs; every request is answered within `deadline` seconds."""
        self._find = find
        self._verify = verify
        self._log = log
        self._decoy = decoy
        self._deadline = deadline
        self._directory_available = True

    async def answer(self, line: bytes) -> Reply:
        """Return the reply to one request line; raises nothing but CancelledError."""
        started = time.perf_counter()
        try:
            request = parse_request(line)
        except RequestMalformed as fault:
            return self.malformed(str(fault))
        verdict = await self._verdict(request)
        self._log_verdict(request, verdict, (time.perf_counter() - started) * 1000)
        if isinstance(verdict, Accepted):
            return Reply(format_accepted(verdict.login, verdict.mailbox))
        return Reply(FAIL if isinstance(verdict, Refusal) else TEMP)

    def malformed(self, fault: str) -> Reply:
        """Log what cannot be understood and return the connection's last reply: what follows is not to be trusted."""
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=fault)
        return Reply(TEMP, last=True)

    async def _verdict(self, request: AuthRequest) -> Accepted | Refusal | Deferred:
        try:
            async with asyncio.timeout(self._deadline):
                return await authenticate(request, self._find_noting, self._verify, self._decoy)
        except TimeoutError:
            return Deferred(reasons.DEADLINE_EXCEEDED, "no verdict in time")
        except HashQueueFull:
            return Deferred(reasons.DEADLINE_EXCEEDED, "too many logins wait")
        except DirectoryUnavailable as error:
            return Deferred(reasons.DIRECTORY_UNAVAILABLE, str(error))
        except PasswordHashError as error:
            return Deferred(reasons.INTERNAL_ERROR, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets its reply
            self._log.exception("internal_error", reason=reasons.INTERNAL_ERROR.code)
            return Deferred(reasons.INTERNAL_ERROR, type(error).__name__)

    async def _find_noting(self, login: str) -> Credential | None:
        """Find a credential, and log when the directory goes away and when it comes back, not each login in between."""
        try:
            credential = await self._find(login)
        except DirectoryUnavailable as error:
            if self._directory_available:
                self._log.error("directory_unavailable", reason=reasons.DIRECTORY_UNAVAILABLE.code, detail=str(error))
            self._directory_available = False
            raise
        if not self._directory_available:
            self._log.info("directory_restored")
        self._directory_available = True
        return credential

    def _log_verdict(self, request: AuthRequest, verdict: Accepted | Refusal | Deferred, elapsed_ms: float) -> None:
        values = {
            "elapsed_ms": elapsed_ms,
            "login": request.login.lower(),
            "service": request.service,
            "client": request.client,
        }
        if isinstance(verdict, Accepted):
            self._log.info("login_accepted", **values)
        elif isinstance(verdict, Refusal):
            self._log.info("login_refused", reason=verdict.value, **values)
        else:
            self._log.warning("login_deferred", reason=verdict.reason.code, detail=verdict.detail, **values)
