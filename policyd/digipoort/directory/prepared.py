"""One connection of a daemon that asks few different statements very often: prepared once, sent by libpq itself.

psycopg connects, knows the types and explains faults; its cursors are left out. They decide anew for every statement
whether to prepare it, and make an event and register the socket for every wait, which costs more than the statement:
docs/decisions/0017. What is used of psycopg.pq is its documented interface to libpq (libpq's chapter "Asynchronous
Command Processing").
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import LiteralString

    from psycopg import abc

    from digipoort.directory.servers import Connection, Row

_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s|%%")
_DONE: Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as PostgreSQL's protocol has it: `$1`, `$2`, …, and whose parameter's value each of them is."""

    sql: bytes
    names: tuple[str, ...]


def numbered(query: LiteralString) -> Statement:
    """Return a statement of queries.py, with psycopg's `%(name)s` and `%%`, as the protocol has it."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return Statement(_PLACEHOLDER.sub(number, query).encode("utf-8"), tuple(names))


@dataclass(slots=True)
class _Prepared:
    """A statement on the server, by its name there; `rows` turns its columns into values once it knows their types."""

    name: bytes
    rows: abc.Transformer
    knows_types: bool = False


def _nothing() -> None:
    """Do nothing: nobody waits, or a statement was only prepared."""


class PreparedConnection:
    """Asks one statement at a time; after a fault, or a request that was cancelled, it can only be closed."""

    def __init__(self, connection: Connection) -> None:
        """Take over an open connection in autocommit mode, whose other methods must not be used any more."""
        self._connection = connection
        self._libpq = connection.pgconn
        self._values: abc.Transformer = Transformer(connection)
        self._statements: dict[LiteralString, Statement] = {}
        # The values' types are part of a prepared statement: an int is a smallint or a bigint by its size.
        self._prepared: dict[tuple[LiteralString, tuple[int, ...] | None], _Prepared] = {}
        self._answer: asyncio.Future[pq.abc.PGresult | None] | None = None
        self._result: pq.abc.PGresult | None = None
        self._free: Callable[[], None] = _nothing
        self._fault: psycopg.Error | None = None
        self._loop = asyncio.get_running_loop()
        self._socket = self._libpq.socket
        self._loop.add_reader(self._socket, self._read)

    async def fetch_one(
        self, query: LiteralString, parameters: Mapping[str, object], free: Callable[[], None] = _nothing
    ) -> Row | None:
        """Return the first row of a statement, or None when it has no rows.

        `free` is called as soon as the answer is there and is no fault: the next statement can be sent before this
        one's row is read. Raises psycopg.Error: DataError when PostgreSQL cannot take a parameter.
        """
        statement = self._statements.get(query)
        if statement is None:
            statement = self._statements[query] = numbered(query)
        values = [parameters[name] for name in statement.names]
        dumped = self._values.dump_sequence(values, [PyFormat.AUTO] * len(values))
        formats, key = self._values.formats, (query, self._values.types)
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._prepared[key] = await self._prepare(statement.sql, key[1])
        result = await self._ask(lambda: self._libpq.send_query_prepared(prepared.name, dumped, formats), free)
        # That they are still the same is the server's care: it fails the statement when they are not.
        prepared.rows.set_pgresult(result, set_loaders=not prepared.knows_types)
        prepared.knows_types = True
        return prepared.rows.load_row(0, tuple)

    async def close(self) -> None:
        """Close the connection; who still waits for an answer gets an error."""
        self._fail(psycopg.OperationalError("The connection was closed."))
        await self._connection.close()

    async def _prepare(self, sql: bytes, types: Sequence[int] | None) -> _Prepared:
        name = b"s%d" % len(self._prepared)
        await self._ask(lambda: self._libpq.send_prepare(name, sql, types), _nothing)
        return _Prepared(name, Transformer(self._connection))

    async def _ask(self, send: Callable[[], None], free: Callable[[], None]) -> pq.abc.PGresult:
        """Send one command and return its result; `free` as in fetch_one. Raises psycopg.Error."""
        if self._fault is not None:
            raise self._fault
        self._result, self._free = None, free
        send()
        if self._libpq.flush():
            self._loop.add_writer(self._socket, self._write)
        answer: asyncio.Future[pq.abc.PGresult | None] = self._loop.create_future()
        self._answer = answer
        result = await answer
        if result is None:
            raise psycopg.OperationalError("The server gave no answer.")
        if result.status not in _DONE:
            raise _error(result)
        return result

    def _write(self) -> None:
        """Send what the socket did not take at once."""
        try:
            if not self._libpq.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._fail(error)

    def _read(self) -> None:
        """Take in what came: an answer, a part of it, or the end of the connection, with or without a word about it."""
        try:
            self._libpq.consume_input()
            while not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is None:
                    self._answered()
                    return
                # Of a command that fails after its first row, the fault counts.
                if self._result is None or result.status not in _DONE:
                    self._result = result
                if result.status not in _DONE:
                    # Raises when libpq closed it, which it does by itself where it no longer understands the server.
                    _ = self._libpq.socket
        except psycopg.Error as error:
            self._fail(error)

    def _answered(self) -> None:
        answer, result = self._answer, self._result
        if answer is not None and not answer.done():
            if result is not None and result.status in _DONE:
                # First, so that whose turn it is goes on before who has the answer: the server works meanwhile.
                self._free()
            answer.set_result(result)

    def _fail(self, fault: psycopg.Error) -> None:
        """Ask nothing more of this connection."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(fault)
        if self._fault is None:
            self._fault = fault
            # A socket at its end is readable for ever; one that libpq closed already is nobody's.
            for remove in (self._loop.remove_reader, self._loop.remove_writer):
                with contextlib.suppress(OSError):
                    remove(self._socket)


def _error(result: pq.abc.PGresult) -> psycopg.Error:
    """Return the exception of the result's SQLSTATE."""
    code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode("ascii")
    message = result.error_message.decode("utf-8", "replace").strip()
    try:
        kind: type[psycopg.Error] = psycopg.errors.lookup(code)
    except KeyError:
        kind = psycopg.DatabaseError
    return kind(message)
