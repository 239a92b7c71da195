"""Tells the admin when the directory goes away and when it comes back, not each request between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digipoort import reasons
from digipoort.directory.pool import DirectoryUnavailable

if TYPE_CHECKING:
    from types import TracebackType

    from structlog.typing import FilteringBoundLogger


class OutageLog:
    """A context for asking the directory, many requests at a time; its state is whether the directory answered last.

    Any other exception than DirectoryUnavailable, and a request that is cancelled, says nothing about the directory.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        """Take the directory to be there until it proves otherwise."""
        self._log = log
        self._available = True

    def __enter__(self) -> None:
        """Begin to ask."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Log a change, with what libpq said about an outage; every exception goes on to the caller."""
        if isinstance(error, DirectoryUnavailable):
            self.unavailable(str(error))
        elif error is None:
            self.answered()

    def unavailable(self, detail: str) -> None:
        """Log an outage, if it is a new one."""
        if self._available:
            self._log.error("directory_unavailable", reason=reasons.DIRECTORY_UNAVAILABLE.code, detail=detail)
        self._available = False

    def answered(self) -> None:
        """Log the end of an outage, if there was one."""
        if not self._available:
            self._log.info("directory_restored")
        self._available = True
