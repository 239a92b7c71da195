"""The CLI's connections to the directory: one consistent snapshot to read, one transaction with an actor to write."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from digipoort.directory import faults, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

CONNECT_TIMEOUT: Final = "5"  # seconds, per host of a multi-host conninfo that sets none itself


class DirectoryFaultError(Exception):
    """The directory did not do what was asked; the message is a sentence for the admin."""

    def __init__(self, sentence: str, *, temporary: bool) -> None:
        """Keep the sentence, and whether trying again later can help."""
        super().__init__(sentence)
        self.temporary = temporary


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[Connection[TupleRow]]:
    """Yield an autocommit connection; raises DirectoryFaultError for every fault of the directory inside the block."""
    defaults = {"connect_timeout": CONNECT_TIMEOUT, "application_name": "digipoort"}
    conninfo = make_conninfo("", **(defaults | conninfo_to_dict(dsn)))
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise DirectoryFaultError(faults.sentence(error), temporary=faults.is_temporary(error)) from error


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
