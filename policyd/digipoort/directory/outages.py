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
            if self._available:
                self._log.error("directory_unavailable", reason=reasons.DIRECTORY_UNAVAILABLE.code, detail=str(error))
            self._available = False
        elif error is None:
            if not self._available:
                self._log.info("directory_restored")
            self._available = True
