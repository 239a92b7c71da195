"""From a request's octets to a reply's: parse, decide, log. Every way through it ends in a reply."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from digipoort import reasons
from digipoort.directory.outages import OutageLog
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.passwords import PasswordHashError
from digipoort_auth.authentication import Accepted, Refusal, authenticate, look_up
from digipoort_auth.hashing import HashQueueFull
from digipoort_auth.limits import Limited, Repeated, Scope
from digipoort_auth.protocol import (
    FAIL,
    TEMP,
    LookupRequest,
    ResetRequest,
    StatusRequest,
    VerifyRequest,
    format_mailbox,
    format_ok,
    parse_request,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from structlog.typing import FilteringBoundLogger

    from digipoort.framing import RequestMalformed
    from digipoort.peers import Peer
    from digipoort.reasons import Reason
    from digipoort_auth.authentication import Credential, Find, FindName, Found
    from digipoort_auth.hashing import HashWorkers
    from digipoort_auth.limits import Limits
    from digipoort_auth.rehash import Rehash
    from digipoort_auth.turns import Turns

T = TypeVar("T")
# It cost no hash, and whoever read along could make a login wait with it.
_NOT_COUNTED: Final = frozenset({Refusal.NOT_ENCRYPTED})


@dataclass(frozen=True, slots=True)
class Deferred:
    """There is no verdict on a login, for a reason that is ours; `detail` is for the admin."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The login is refused; `repeated`: for a password that its network tried before, which counts once only."""

    why: Refusal
    repeated: bool


Verdict: TypeAlias = Accepted | Refused | Limited | Deferred


@dataclass(frozen=True, slots=True)
class Directory:
    """What authd asks the directory, and how many seconds it waits for an answer."""

    credential: Find
    login: FindName
    mailbox: FindName
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a verdict is made with; `decoy` is a hash of today's cost that no password belongs to."""

    directory: Directory
    workers: HashWorkers
    decoy: str
    limits: Limits
    turns: Turns
    rehash: Rehash | None


class AuthService:
    """Answers requests for the verdict on a login."""

    def __init__(self, parts: Parts, log: FilteringBoundLogger, *, deadline: float, mailbox_domain: str) -> None:
        """Take the parts; every request is answered within `deadline` seconds."""
        self._parts = parts
        self._log = log
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
            case StatusRequest():
                return self._answer_status()
            case ResetRequest() as request:
                return self._answer_reset(request)

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Log what cannot be understood and return the connection's last reply: what follows is not to be trusted."""
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=str(fault))
        return TEMP

    def refuse_peer(self, peer: Peer) -> None:
        """Log a process that may not ask."""
        self._log.warning("peer_refused", uid=peer.uid, pid=peer.pid)

    async def _answer_verify(self, request: VerifyRequest) -> bytes:
        started = time.perf_counter()
        verdict = await self._unless_deferred(self._verdict(request))
        self._log_verdict(request, verdict, (time.perf_counter() - started) * 1000)
        if isinstance(verdict, Accepted):
            if self._parts.rehash is not None:
                self._parts.rehash.consider(verdict, request.password)
            return format_mailbox(verdict.login, verdict.mailbox)
        return FAIL if isinstance(verdict, Refused) else TEMP

    async def _verdict(self, request: VerifyRequest) -> Accepted | Refused | Limited:
        """Decide on a login when its turn has come, unless it has to wait for longer."""
        parts = self._parts
        attempt = parts.limits.attempt(request.service, request.login, request.client, request.password)
        async with parts.turns.turn(attempt) as limited:
            if isinstance(limited, Repeated):
                return Refused(Refusal.REPEATED, repeated=True)
            if limited is not None:
                return limited
            verify = functools.partial(parts.workers.verify, network=attempt.network)
            verdict = await authenticate(request, self._credential, verify, parts.decoy)
            if isinstance(verdict, Accepted):
                parts.limits.succeeded(attempt, time.monotonic())
                return verdict
            counted = verdict in _NOT_COUNTED or parts.limits.failed(attempt, time.monotonic())
            return Refused(verdict, repeated=not counted)

    async def _answer_lookup(self, request: LookupRequest) -> bytes:
        found = await self._unless_deferred(look_up(request, self._login, self._mailbox, self._mailbox_domain))
        if isinstance(found, Deferred):
            self._log.warning("lookup_deferred", reason=found.reason.code, detail=found.detail, login=request.login)
            return TEMP
        return FAIL if found is None else format_mailbox(request.login.lower().decode("ascii"), found.mailbox)

    def _answer_status(self) -> bytes:
        limited = self._parts.limits.status(time.monotonic())
        return format_ok(
            ("limited", f"{one.scope} {one.failures} {math.ceil(one.seconds)} {one.key}") for one in limited
        )

    def _answer_reset(self, request: ResetRequest) -> bytes:
        scope = request.scope.decode(errors="replace")
        if scope not in set(Scope):
            return FAIL
        key = self._parts.limits.key_of(Scope(scope), request.key)
        forgotten = self._parts.limits.reset(Scope(scope), key)
        self._log.info("limits_reset", scope=scope, key=key, forgotten=forgotten)
        return format_ok([("forgotten", str(forgotten))])

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
        return await self._asked(self._parts.directory.credential(login))

    async def _login(self, login: str) -> Found | None:
        return await self._asked(self._parts.directory.login(login))

    async def _mailbox(self, mailbox: str) -> Found | None:
        return await self._asked(self._parts.directory.mailbox(mailbox))

    async def _asked(self, question: Awaitable[T]) -> T:
        """Wait for an answer of the directory for no longer than its own deadline: the hash needs time too."""
        with self._outages:
            async with asyncio.timeout(self._parts.directory.deadline):
                return await question

    def _log_verdict(self, request: VerifyRequest, verdict: Verdict, elapsed_ms: float) -> None:
        values = {
            "elapsed_ms": elapsed_ms,
            "login": request.login.lower(),
            "service": request.service,
            "client": request.client,
        }
        match verdict:
            case Accepted():
                self._log.info("login_accepted", **values)
            case Refused():
                repeated = {"repeated": "yes"} if verdict.repeated else {}
                self._log.info("login_refused", reason=verdict.why.value, **repeated, **values)
            case Limited():
                wait = math.ceil(verdict.seconds)
                self._log.info("login_limited", scope=verdict.scope, wait_seconds=wait, **values)
            case Deferred():
                self._log.warning("login_deferred", reason=verdict.reason.code, detail=verdict.detail, **values)
