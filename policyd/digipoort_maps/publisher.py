"""Watches the directory's change counter, and publishes when it has moved.

The counter is one row that every writing transaction raises: reading it costs nothing, and works on a standby, where
LISTEN does not. Changes that come while maps are published are published together, the next time round. Whatever fails,
the last good maps stay.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from digipoort import mapcontents, mapfiles, maps, readiness
from digipoort.directory import queries, session
from digipoort.directory.outages import OutageLog

if TYPE_CHECKING:
    import threading

    from psycopg import Connection
    from psycopg.rows import TupleRow
    from structlog.typing import FilteringBoundLogger

    from digipoort.settings import MapsSettings

RETRY_SECONDS: Final = 5.0
# After a fault of the host's own, such as a full disk: each attempt may read the whole directory.
FAULT_RETRY_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 5.0
# What a publication waits for has limits of its own, below this: another one, the directory, postmap for each table.
LONGEST_PUBLICATION_SECONDS: Final = 3600.0
# A DSN may name many servers, and have a connect_timeout.
LONGEST_CONNECTING_SECONDS: Final = 600.0


class Publisher:
    """One host's publisher; its state is what it did last, so that a fault is told once and not at every look."""

    def __init__(self, settings: MapsSettings, log: FilteringBoundLogger, stop: threading.Event) -> None:
        """`stop` ends `run`, after the publication under way."""
        self._settings = settings
        self._log = log
        self._stop = stop
        self._done = maps.published_counter(settings.maps_directory)
        self._due = 0.0
        self._told = ""
        self._outages = OutageLog(log)

    def run(self) -> None:
        """Publish, until `stop` is set."""
        while not self._stop.is_set():
            try:
                with contextlib.ExitStack() as connected:
                    with readiness.patience(LONGEST_CONNECTING_SECONDS):
                        connection = connected.enter_context(session.connected(self._settings.directory_dsn))
                    self._watch(connection)
            except session.DirectoryFaultError as error:
                self._outages.unavailable(str(error))
                readiness.pause(self._stop, RETRY_SECONDS)

    def _watch(self, connection: Connection[TupleRow]) -> None:
        """Look at the counter until told to stop. Raises psycopg.Error, which the connection's context explains."""
        while not self._stop.is_set():
            with session.bounded(connection, LOOK_SECONDS):
                row = connection.execute(queries.CHANGE_COUNTER).fetchone()
            self._outages.answered()
            counter = int(row[0]) if row else None
            if counter != self._done or time.monotonic() >= self._due:
                with readiness.patience(LONGEST_PUBLICATION_SECONDS):
                    self._publish(counter)
            readiness.pause(self._stop, self._settings.maps_poll_seconds)

    def _publish(self, counter: int | None) -> None:
        """Publish unless an admin went back; what was refused is tried again at the next change or full check.

        What failed is tried again before long: the fault is the host's, and goes without a change of the directory.
        """
        started = time.monotonic()
        whole = started >= self._due
        try:
            published = maps.publish(self._settings, unless_held=True, changes_only=not whole)
        except (maps.PublishBusyError, maps.PublishHeldError) as error:
            # It ends some day without a change of the directory: the next look tries again.
            self._tell_once(error)
            return
        except (mapfiles.PostfixCommandError, OSError) as error:
            self._tell_once(error)
            readiness.pause(self._stop, FAULT_RETRY_SECONDS)
            return
        except mapcontents.PublishError as error:
            self._tell_once(error)
            self._done = counter
        else:
            self._told = ""
            self._done = published.counter
            if published.changed:
                self._log.info("maps_published", **published.told())
        if whole:
            self._due = started + self._settings.maps_full_check_seconds

    def _tell_once(self, error: Exception) -> None:
        if self._told == str(error):
            return
        self._told = str(error)
        if isinstance(error, maps.PublishHeldError):
            self._log.error("maps_held", detail=self._told)
        else:
            self._log.error("maps_not_published", detail=self._told)
