"""From a request's octets to a reply's: parse, decide, log. Every way through it ends in a reply."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digipoort import reasons
from digipoort.directory.outages import OutageLog
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.passwords import PasswordHashError
from digipoort_auth.authentication import Accepted, Refusal, authenticate, look_up
from digipoort_auth.hashing import HashQueueFull
from digipoort_auth.protocol import FAIL, TEMP, LookupRequest, VerifyRequest, format_mailbox, parse_request

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import TypeVar

    from structlog.typing import FilteringBoundLogger

    from digipoort.framing import RequestMalformed
    from digipoort.peers import Peer
    from digipoort.reasons import Reason
    from digipoort_auth.authentication import Credential, Find, FindName, Found, Verify

    T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deferred:
    """There is no verdict on a login, for a reason that is ours; `detail` is for the admin."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Directory:
    """What authd asks the directory, and how many seconds it waits for an answer."""

    credential: Find
    login: FindName
    mailbox: FindName
    deadline: float


class AuthService:
    """Answers requests for the verdict on a login."""

    def __init__(  # noqa: PLR0913 - each is another part
        self,
        directory: Directory,
        verify: Verify,
        log: FilteringBoundLogger,
        *,
        decoy: str,
        deadline: float,
        mailbox_domain: str = "",
    ) -> None:
        """Take the functions that decide; every request is answered within `deadline` seconds."""
        self._directory = directory
        self._verify = verify
        self._log = log
        self._decoy = decoy
        self._deadline = deadline
        self._mailbox_domain = mailbox_domain.lower().encode()
        self._outages = OutageLog(log)

    async def answer(self, line: bytes) -> bytes:
        """Return the reply to one request line; raises RequestMalformed, CancelledError and nothing else."""
        match parse_request(line):
            case VerifyRequest() as request:
                return await self._answer_verify(request)
            case LookupRequest() as request:
                return await self._answer_lookup(request)
            case _:
                return TEMP

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Log what cannot be understood and return the connection's last reply: what follows is not to be trusted."""
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=str(fault))
        return TEMP

    def refuse_peer(self, peer: Peer) -> None:
        """Log a process that may not ask."""
        self._log.warning("peer_refused", uid=peer.uid, pid=peer.pid)

    async def _answer_verify(self, request: VerifyRequest) -> bytes:
        started = time.perf_counter()
        verdict = await self._unless_deferred(authenticate(request, self._credential, self._verify, self._decoy))
        self._log_verdict(request, verdict, (time.perf_counter() - started) * 1000)
        if isinstance(verdict, Accepted):
            return format_mailbox(verdict.login, verdict.mailbox)
        return FAIL if isinstance(verdict, Refusal) else TEMP

    async def _answer_lookup(self, request: LookupRequest) -> bytes:
        found = await self._unless_deferred(look_up(request, self._login, self._mailbox, self._mailbox_domain))
        if isinstance(found, Deferred):
            self._log.warning("lookup_deferred", reason=found.reason.code, detail=found.detail, login=request.login)
            return TEMP
        return FAIL if found is None else format_mailbox(request.login.lower().decode("ascii"), found.mailbox)

    async def _unless_deferred(self, deciding: Awaitable[T]) -> T | Deferred:
        """Return what is decided, or why there is no verdict: nothing but a cancellation comes out as an exception."""
        try:
            async with asyncio.timeout(self._deadline):
                return await deciding
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

    async def _credential(self, login: str) -> Credential | None:
        return await self._asked(self._directory.credential(login))

    async def _login(self, login: str) -> Found | None:
        return await self._asked(self._directory.login(login))

    async def _mailbox(self, mailbox: str) -> Found | None:
        return await self._asked(self._directory.mailbox(mailbox))

    async def _asked(self, question: Awaitable[T]) -> T:
        """Wait for an answer of the directory for no longer than its own deadline: the hash needs time too."""
        with self._outages:
            async with asyncio.timeout(self._directory.deadline):
                return await question

    def _log_verdict(self, request: VerifyRequest, verdict: Accepted | Refusal | Deferred, elapsed_ms: float) -> None:
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
