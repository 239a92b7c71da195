"""The CLI's connections to the directory: one consistent snapshot to read, one transaction with an actor to write."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from digipoort.directory import faults, queries
from digipoort.directory.servers import connection_attempts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

_CONNECT_SECONDS: Final = 5  # per server of the DSN, unless that has a connect_timeout
_STATEMENT_SECONDS: Final = 600


class DirectoryFaultError(Exception):
    """The directory did not do what was asked; the message is a sentence for the admin."""

    def __init__(self, sentence: str, *, temporary: bool) -> None:
        """Keep the sentence, and whether trying again later can help."""
        super().__init__(sentence)
        self.temporary = temporary


@contextlib.contextmanager
def connected(
    dsn: str, connect_seconds: int | None = None, statement_seconds: int = _STATEMENT_SECONDS
) -> Iterator[Connection[TupleRow]]:
    """Yield an autocommit connection; raises DirectoryFaultError for every fault of the directory inside the block.

    Each server of the DSN has `connect_seconds` (None: the DSN's connect_timeout, or 5), each statement
    `statement_seconds`.
    """
    try:
        with _connect(dsn, connect_seconds, statement_seconds) as connection:
            yield connection
    except psycopg.Error as error:
        raise DirectoryFaultError(faults.sentence(error), temporary=faults.is_temporary(error)) from error


def _connect(dsn: str, connect_seconds: int | None, statement_seconds: int) -> Connection[TupleRow]:
    """Return a connection of the first server of the DSN that gives one. Raises psycopg.OperationalError."""
    fault = psycopg.OperationalError("The DSN names no server.")
    for conninfo in connection_attempts(dsn, statement_seconds):
        seconds = connect_seconds or conninfo_to_dict(conninfo).get("connect_timeout") or _CONNECT_SECONDS
        try:
            return psycopg.connect(conninfo, autocommit=True, connect_timeout=seconds)
        except psycopg.OperationalError as error:
            fault = error
    raise fault


@contextlib.contextmanager
def bounded(connection: Connection[TupleRow], seconds: float) -> Iterator[None]:
    """Break a connection when the block takes longer than `seconds`; what waits for the server fails then.

    For programs that nobody watches: a server that hangs keeps no statement_timeout, and psycopg waits without a limit.
    """
    timer = threading.Timer(seconds, _break, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _break(connection: Connection[TupleRow]) -> None:
    # Not closed, which is its own thread's to do: the number of a closed file may be another's at once.
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as stream:
        stream.shutdown(socket.SHUT_RDWR)


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
