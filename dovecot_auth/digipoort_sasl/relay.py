"""One connection of smtpd: each of its logins goes to Dovecot over a connection of its own, octet for octet.

Postfix answers 535 when Dovecot says "temporary", and 454 only when the connection to its authentication server ends.
So this ends it, whenever there is no verdict on a login. A connection to Dovecot lives as long as one login: none is
left over from before a restart of Dovecot's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import time
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.framing import RequestMalformed
from digipoort_sasl.dovecot import Dovecot, NoReply
from digipoort_sasl.link import LineTooLong
from digipoort_sasl.outages import DovecotOutages
from digipoort_sasl.protocol import Kind, check_greeting, check_response, handshake, is_auth, parse_auth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from digipoort_sasl.link import Link
    from digipoort_sasl.protocol import Login

# Less than the 150 after which Dovecot gives up a login whose user is silent (AUTH_REQUEST_TIMEOUT_SECS).
DIALOGUE_SECONDS: Final = 140.0
_END: Final = b""


class _Deferred(Exception):  # noqa: N818 - a state of affairs
    """There is no verdict on a login; `detail` is for the admin, `user` the login's name as far as Dovecot tells."""

    def __init__(self, detail: str, user: bytes = b"") -> None:
        super().__init__(detail)
        self.detail = detail
        self.user = user


class Relay:
    """Carries logins from smtpd to Dovecot's authentication server, and its replies back."""

    def __init__(
        self, dovecot: Path, log: FilteringBoundLogger, *, deadline: float, dialogue_seconds: float = DIALOGUE_SECONDS
    ) -> None:
        """Take Dovecot's socket, and the seconds that Dovecot has for an answer and a user for the next line."""
        self._dovecot = dovecot
        self._log = log
        self._deadline = deadline
        self._dialogue_seconds = dialogue_seconds
        self._outages = DovecotOutages(log)
        self._numbers = itertools.count(1)
        self._asking: set[asyncio.Task[None]] = set()
        self._finishing = False

    async def attend(self, smtpd: Link) -> None:
        """Serve one connection until its client, a fault or `finish` ends it; the caller closes it.

        Raises CancelledError and nothing else.
        """
        try:
            await self._attend(smtpd)
        except RequestMalformed as fault:
            self._malformed(str(fault))
        except LineTooLong:
            self._malformed("A line is too long.")
        except OSError:
            return  # smtpd is gone, or nothing came from it in time
        except Exception:  # noqa: BLE001 - whatever it is, smtpd is told that there is no verdict
            self._log.exception("internal_error", reason=reasons.INTERNAL_ERROR.code)

    def finish(self) -> frozenset[asyncio.Task[None]]:
        """Begin no further login; return the tasks that wait for an answer of Dovecot's, and end after it."""
        self._finishing = True
        return frozenset(self._asking)

    async def _attend(self, smtpd: Link) -> None:
        await smtpd.send(handshake(os.getpid(), next(self._numbers), secrets.token_hex(16)))
        async with asyncio.timeout(self._deadline):
            greeting = await smtpd.line() + await smtpd.line()
        if not greeting:
            return
        check_greeting(greeting)
        line = await smtpd.line()
        while line:
            line = await self._carry(smtpd, greeting, line)

    async def _carry(self, smtpd: Link, greeting: bytes, line: bytes) -> bytes:
        """Carry the login that a line begins to its end; return smtpd's next line, empty when there shall be none."""
        login = parse_auth(line)
        with contextlib.closing(Dovecot(self._dovecot, greeting, self._deadline)) as dovecot:
            continued = True
            while continued:
                started = time.perf_counter()
                try:
                    answer, continued = await self._answer(dovecot, login, line)
                except _Deferred as deferred:
                    self._log_deferred(login, deferred, (time.perf_counter() - started) * 1000)
                    return _END
                await smtpd.send(answer)
                if self._finishing:
                    return _END
                if continued:
                    async with asyncio.timeout(self._dialogue_seconds):
                        line = await smtpd.line()
                    # When the user breaks off smtpd tells nobody: the next thing it says is a new login.
                    if not line or is_auth(line):
                        return line
                    check_response(line, login)
        return await smtpd.line()

    async def _answer(self, dovecot: Dovecot, login: Login, line: bytes) -> tuple[bytes, bool]:
        """Return Dovecot's line, and whether the login goes on after it; raises _Deferred if smtpd must not get it."""
        try:
            with self._asking_now():
                answer, reply = await dovecot.ask(login, line)
        except NoReply as fault:
            if dovecot.is_there:
                self._outages.reached()
            else:
                self._outages.unavailable(str(fault))
            raise _Deferred(str(fault)) from None
        self._outages.reached()
        if reply.kind is Kind.TEMPORARY:
            raise _Deferred("Dovecot says temporary", reply.user)
        return answer, reply.kind is Kind.CONTINUED

    @contextlib.contextmanager
    def _asking_now(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - only a task runs a coroutine of asyncio
        self._asking.add(task)
        try:
            yield
        finally:
            self._asking.discard(task)

    def _log_deferred(self, login: Login, deferred: _Deferred, elapsed_ms: float) -> None:
        """Log a login without a verdict; neither the line that asked nor the one that answered may be shown."""
        self._log.warning(
            "login_deferred",
            reason=reasons.LOGIN_UNAVAILABLE.code,
            elapsed_ms=elapsed_ms,
            detail=deferred.detail,
            mechanism=login.mechanism,
            client=login.client,
            **({"login": deferred.user} if deferred.user else {}),
        )

    def _malformed(self, detail: str) -> None:
        self._log.warning("request_malformed", reason=reasons.REQUEST_MALFORMED.code, detail=detail)
