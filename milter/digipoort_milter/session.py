"""The bridge between pymilter's callbacks and a role's handler of one message.

Every message gets a handler of its own, so that nothing of one message can reach the next on the same connection. No
exception reaches pymilter: it is logged, the rest of the message is let pass by, and the answer at its end is DGP-9007.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, assert_never

import Milter

from digipoort import reasons
from digipoort.reasons import Finding
from digipoort_milter.outcome import AddHeader, ChangeHeader, ChangeSender, Outcome, ReplaceBody

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from digipoort_milter.outcome import Change

# libmilter refuses larger chunks (MILTER_CHUNK_SIZE).
BODY_CHUNK_OCTETS: Final = 65535


class Handler(Protocol):
    """What a role does with one message."""

    @property
    def reference(self) -> str | None:
        """The message's reference, once it is known."""

    def header(self, name: str, value: bytes) -> None:
        """Take the next header field; `value` with its leading space and its folds."""

    def body(self, chunk: bytes) -> None:
        """Take the next octets of the body, in CRLF form."""

    def finish(self, macro: Callable[[str], str | None]) -> Outcome:
        """Decide. `macro` gives Postfix's macros by name, e.g. `i` for the queue id."""


HandlerT = TypeVar("HandlerT", bound=Handler)


class Session(Milter.Base, Generic[HandlerT]):
    """One connection of Postfix; roles derive from it and name the callbacks that they need.

    A derived class must be decorated with `Milter.header_leading_space` itself: pymilter keeps the set of callbacks on
    the class, and a class inherits that of its base.
    """

    def __init__(self, begin: Callable[[bytes, tuple[bytes, ...]], HandlerT | None], log: FilteringBoundLogger) -> None:
        """`begin` makes the handler of a message from MAIL FROM's address and parameters, or None to leave it alone."""
        self._begin = begin
        self._log = log
        self._handler: HandlerT | None = None
        self._failed = False

    def start(self, sender: bytes, parameters: tuple[bytes, ...]) -> int:
        """Begin a message; what is known of an earlier one is gone."""
        self._failed = False
        self._handler = None
        try:
            self._handler = self._begin(sender, parameters)
        except Exception as error:  # noqa: BLE001 - nothing may reach pymilter's own exception policy
            self._fail(error)
        return Milter.CONTINUE if self._handler is not None or self._failed else Milter.ACCEPT

    def guarded(self, take: Callable[[HandlerT], None]) -> None:
        """Hand something to the handler; a failure is remembered for the end of the message."""
        if self._handler is None:
            return
        try:
            take(self._handler)
        except Exception as error:  # noqa: BLE001 - as in start
            self._fail(error)

    @Milter.noreply
    @Milter.decode("bytes")
    def header(self, name: str, value: bytes) -> int:
        """Take a header field."""
        if self._handler is not None:
            try:
                self._handler.header(name, value)
            except Exception as error:  # noqa: BLE001 - as in start
                self._fail(error)
        return Milter.CONTINUE

    @Milter.noreply
    def body(self, chunk: bytes) -> int:
        """Take a part of the body."""
        if self._handler is not None:
            try:
                self._handler.body(chunk)
            except Exception as error:  # noqa: BLE001 - as in start
                self._fail(error)
        return Milter.CONTINUE

    def eom(self) -> int:
        """Answer for the whole message."""
        if self._handler is None:
            return self._refuse((Finding(reasons.INTERNAL_ERROR),))
        try:
            outcome = self._handler.finish(self.getsymval)
            if outcome.findings:
                return self._refuse(outcome.findings)
            for change in outcome.changes:
                self._apply(change)
        except Exception as error:  # noqa: BLE001 - as in start
            self._fail(error)
            return self._refuse((Finding(reasons.INTERNAL_ERROR),))
        self._handler = None
        return Milter.ACCEPT

    def abort(self) -> int:
        """Forget the message; the connection may bring another."""
        self._handler = None
        return Milter.CONTINUE

    def close(self) -> int:
        """Let go of what refers back to this session."""
        self._handler = None
        self.__dict__.pop("header_bytes", None)
        return Milter.CONTINUE

    def _refuse(self, findings: tuple[Finding, ...]) -> int:
        self._handler = None
        first = findings[0].reason
        # libmilter takes a lone % for a format and then drops the whole reply.
        lines = [finding.text().replace("%", "%%") for finding in findings]
        self.setreply(str(first.smtp), first.status, *lines)
        return Milter.TEMPFAIL if first.temporary else Milter.REJECT

    def _apply(self, change: Change) -> None:
        # With P_HDR_LEADSPC the milter, not Postfix, writes the space after the colon.
        space = " " if self._protocol & Milter.P_HDR_LEADSPC else ""
        match change:
            case AddHeader(name, value):
                self.addheader(name, space + value)
            case ChangeHeader(name, index, value):
                self.chgheader(name, index, space + value if value else "")
            case ChangeSender(address, parameters):
                self.chgfrom(address, parameters)
            case ReplaceBody(content):
                for start in range(0, len(content), BODY_CHUNK_OCTETS):
                    self.replacebody(content[start : start + BODY_CHUNK_OCTETS])
            case _:
                assert_never(change)

    def _fail(self, error: Exception) -> None:
        reference = self._handler.reference if self._handler is not None else None
        self._handler, self._failed = None, True
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._log.error(
            "internal_error",
            ref=reference,
            queue_id=self.getsymval("i"),
            reason=reasons.INTERNAL_ERROR.code,
            error=f"{type(error).__name__}: {error}",
            where=f"{frame.name}:{frame.lineno}",
        )
