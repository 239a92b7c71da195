"""Adds very many addresses at once, from CSV: checked by PostgreSQL as sets, all of them or none.

The file: UTF-8, a first line `address,party,mailbox,remote,flow`, and a line for each address. `mailbox` (an id, made
if it is new) or `remote` (`user@domain` of a destination) is its target; `flow` is for government addresses only.
Memory is that of one block of the file.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, BinaryIO, Final

import psycopg

from digipoort.directory import faults, queries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from psycopg import Connection
    from psycopg.rows import TupleRow

HEADER: Final = b"address,party,mailbox,remote,flow"
MAX_FAULTS: Final = 20
_BLOCK_OCTETS: Final = 1_048_576
# PostgreSQL tells the line of a value that a type refuses in the error's context only.
_LINE = re.compile(r"COPY incoming, line (\d+)")


class ImportRefusedError(Exception):
    """The file cannot be imported, and nothing is; the message has a sentence for each fault, each with its line."""


def load(
    connection: Connection[TupleRow], file: BinaryIO, domains: Collection[str], progress: Callable[[int], None]
) -> int:
    """Add the file's addresses in the caller's transaction and return how many; `progress` gets the octets read.

    Raises ImportRefusedError.
    """
    heading = file.readline(_BLOCK_OCTETS)
    progress(len(heading))
    first = heading.removeprefix(codecs.BOM_UTF8)
    if first.rstrip(b"\r\n") != HEADER:
        raise ImportRefusedError(f"Line 1 is not {HEADER.decode('ascii')}.")
    connection.execute(queries.INCOMING)
    try:
        with connection.cursor().copy(queries.COPY_INCOMING) as copy:
            copy.write(first)
            while block := file.read(_BLOCK_OCTETS):
                copy.write(block)
                progress(len(block))
    except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
        line = _LINE.search(error.diag.context or "")
        raise ImportRefusedError(f"Line {line[1] if line else '?'}: {faults.sentence(error)}") from error
    connection.execute(queries.INCOMING_READY)
    values = {"domains": list(domains), "most": MAX_FAULTS}
    found = connection.execute(queries.INCOMING_FAULTS, values).fetchall()
    if found:
        raise ImportRefusedError("\n".join(f"Line {line}: {what}." for line, what in found))
    connection.execute(queries.IMPORT_MAILBOXES)
    connection.execute(queries.IMPORT_REMOTES)
    return connection.execute(queries.IMPORT_ADDRESSES).rowcount
