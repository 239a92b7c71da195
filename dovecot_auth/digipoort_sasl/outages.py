"""Tells the admin when Dovecot goes away and when it comes back, not each login between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digipoort import reasons

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class DovecotOutages:
    """Its state is whether Dovecot's authentication server could be reached last, whatever it then said."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        """Take Dovecot to be there until it proves otherwise."""
        self._log = log
        self._available = True

    def unavailable(self, detail: str) -> None:
        """Log an outage, if it is a new one."""
        if self._available:
            self._log.error("dovecot_unavailable", reason=reasons.LOGIN_UNAVAILABLE.code, detail=detail)
        self._available = False

    def reached(self) -> None:
        """Log the end of an outage, if there was one."""
        if not self._available:
            self._log.info("dovecot_restored")
        self._available = True
