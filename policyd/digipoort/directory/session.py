"""The CLI's connections to the directory: one consistent snapshot to read, one transaction with an actor to write."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import psycopg

from digipoort.directory import faults, queries
from digipoort.directory.servers import connection_attempts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

_CONNECT_SECONDS: Final = 5  # per server of the DSN
_STATEMENT_SECONDS: Final = 600


class DirectoryFaultError(Exception):
    """The directory did not do what was asked; the message is a sentence for the admin."""

    def __init__(self, sentence: str, *, temporary: bool) -> None:
        """Keep the sentence, and whether trying again later can help."""
        super().__init__(sentence)
        self.temporary = temporary


@contextlib.contextmanager
def connected(
    dsn: str, connect_seconds: int = _CONNECT_SECONDS, statement_seconds: int = _STATEMENT_SECONDS
) -> Iterator[Connection[TupleRow]]:
    """Yield an autocommit connection; raises DirectoryFaultError for every fault of the directory inside the block.

    Each server of the DSN has `connect_seconds`, each statement `statement_seconds`.
    """
    try:
        with _connect(dsn, connect_seconds, statement_seconds) as connection:
            yield connection
    except psycopg.Error as error:
        raise DirectoryFaultError(faults.sentence(error), temporary=faults.is_temporary(error)) from error


def _connect(dsn: str, connect_seconds: int, statement_seconds: int) -> Connection[TupleRow]:
    """Return a connection of the first server of the DSN that gives one. Raises psycopg.OperationalError."""
    fault = psycopg.OperationalError("The DSN names no server.")
    for conninfo in connection_attempts(dsn, statement_seconds):
        try:
            return psycopg.connect(conninfo, autocommit=True, connect_timeout=connect_seconds)
        except psycopg.OperationalError as error:
            fault = error
    raise fault


@contextlib.contextmanager
def reading(dsn: str) -> Iterator[Connection[TupleRow]]:
    """Yield a connection inside one read-only snapshot: all its statements see the directory at the same moment."""
    with connected(dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            yield connection


@contextlib.contextmanager
def writing(dsn: str, actor: str) -> Iterator[Connection[TupleRow]]:
    """Yield a connection inside one transaction, committed at the end, whose changes the log ascribes to `actor`."""
    with connected(dsn) as connection, connection.transaction():
        connection.execute(queries.BOUND_LOCK_WAIT)
        connection.execute(queries.SET_ACTOR, {"actor": actor})
        yield connection
