"""How fast one login may address recipients: anvil(8) counts client addresses, and many parties may stand behind one.

The generic cell rate algorithm, which is a token bucket that needs one number per login: the moment at which everything
that was admitted would have been due, had it come evenly spread. A login that was silent may use its whole allowance at
once; after that recipients are admitted at the even rate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

NANOSECONDS: Final = 1_000_000_000
# Only logins of the directory are counted, and only while they send: more than this at the same time are not expected.
MAX_LOGINS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `recipients` per login in `seconds`; 0 recipients is no limit."""

    recipients: int
    seconds: float


def admit(due: int, now: int, rate: Rate) -> int | None:
    """Return a login's new due moment when one more recipient is within `rate`, which has a limit; None when it is not.

    All moments are nanoseconds of one monotonic clock. `due` in the past, or 0 for a login without history, means that
    its whole allowance is there. Integers, so that exactly `rate.recipients` fit.
    """
    window = int(rate.seconds * NANOSECONDS)
    later = max(due, now) + window // rate.recipients
    return None if later - now > window else later


class RecipientRates:
    """The recipients that each login addressed lately."""

    def __init__(self, rate: Rate, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Take the rate that holds for each login, and a monotonic clock in nanoseconds."""
        self._rate = rate
        self._clock = clock
        self._due: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return the number of logins that are remembered, never more than MAX_LOGINS."""
        return len(self._due)

    def admits(self, login: bytes) -> bool:
        """Count one recipient of `login`; False, and not counted, when it comes too fast."""
        if not self._rate.recipients:
            return True
        now = self._clock()
        due = admit(self._due.get(login, 0), now, self._rate)
        if due is None:
            return False
        if login not in self._due and len(self._due) >= MAX_LOGINS:
            self._forget(now)
        self._due[login] = due
        return True

    def _forget(self, now: int) -> None:
        """Forget the logins that have their whole allowance again; when there are none, all: lenient for a moment."""
        busy = {login: due for login, due in self._due.items() if due > now}
        self._due = busy if len(busy) < MAX_LOGINS else {}
