"""From a request's octets to a reply's: parse, authenticate, log. Every way through it ends in a reply."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digipoort import reasons
from digipoort.directory.outages import OutageLog
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.passwords import PasswordHashError
from digipoort_auth.authentication import Accepted, Refusal, authenticate
from digipoort_auth.hashing import HashQueueFull
from digipoort_auth.protocol import FAIL, TEMP, format_accepted, parse_request

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from digipoort.framing import RequestMalformed
    from digipoort.reasons import Reason
    from digipoort_auth.authentication import Credential, Find, Verify
    from digipoort_auth.protocol import AuthRequest


@dataclass(frozen=True, slots=True)
class Deferred:
    """There is no verdict on a login, for a reason that is ours; `detail` is for the admin."""

    reason: Reason
    detail: str


class AuthService:
    """Answers requests for the verdict on a login."""

    def __init__(self, find: Find, verify: Verify, log: FilteringBoundLogger, *, decoy: str, deadline: float) -> None:
        """Take the functions that `authenticate` needs; every request is answered within `deadline` seconds."""
        self._find = find
        self._verify = verify
        self._log = log
        self._decoy = decoy
        self._deadline = deadline
        self._outages = OutageLog(log)

    async def answer(self, line: bytes) -> bytes:
        """Return the reply to one request line; raises RequestMalformed, CancelledError and nothing else."""
        started = time.perf_counter()
        request = parse_request(line)
        verdict = await self._verdict(request)
        self._log_verdict(request, verdict, (time.perf_counter() - started) * 1000)
        if isinstance(verdict, Accepted):
            return format_accepted(verdict.login, verdict.mailbox)
        return FAIL if isinstance(verdict, Refusal) else TEMP

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Log what cannot be understood and return the connection's last reply: what follows is not to be trusted."""
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=str(fault))
        return TEMP

    async def _verdict(self, request: AuthRequest) -> Accepted | Refusal | Deferred:
        try:
            async with asyncio.timeout(self._deadline):
                return await authenticate(request, self._find_watched, self._verify, self._decoy)
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

    async def _find_watched(self, login: str) -> Credential | None:
        with self._outages:
            return await self._find(login)

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
