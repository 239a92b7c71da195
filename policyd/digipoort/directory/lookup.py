"""What an admin is shown of the directory: lists, and one object with what refers to it. No password hash is read."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from digipoort.directory import names, queries, snapshot
from digipoort.directory.objects import (
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    Party,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from psycopg import Connection
    from psycopg.rows import TupleRow

# Of each kind that refers to an object, so many names are told, and how many there are.
MAX_REFERENCES: Final = 20
_ROWS_AT_A_TIME: Final = 2000


@dataclass(frozen=True, slots=True)
class _View:
    """How one kind is listed, by which parameters beside its key a list is filtered, and what refers to an object.

    `details` are columns for programs, and for who is shown one object: a list for people says the same in fewer words.
    """

    listing: LiteralString
    filters: tuple[str, ...]
    references: LiteralString | None
    details: frozenset[str] = frozenset()


_VIEWS: Final[Mapping[type[DirectoryObject], _View]] = {
    Party: _View(queries.LIST_PARTIES, ("kind",), queries.PARTY_REFERENCES),
    Flow: _View(queries.LIST_FLOWS, ("party",), queries.FLOW_REFERENCES),
    Destination: _View(queries.LIST_DESTINATIONS, (), queries.DESTINATION_REFERENCES),
    Mailbox: _View(queries.LIST_MAILBOXES, ("party",), queries.MAILBOX_REFERENCES),
    Address: _View(queries.LIST_ADDRESSES, ("party", "flow", "mailbox", "domain"), queries.ADDRESS_REFERENCES),
    FlowConnection: _View(queries.LIST_CONNECTIONS, ("party", "address", "flow"), None),
    Credential: _View(
        queries.LIST_CREDENTIALS,
        ("party", "mailbox", "expiring"),
        None,
        frozenset({"active", "certificate_fingerprint", "certificate_subject", "certificate_suffices"}),
    ),
}


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects of one kind: the columns' names, and a row per object, to be read once."""

    columns: tuple[str, ...]
    rows: Iterator[TupleRow]

    def without(self, details: frozenset[str]) -> Listing:
        """Return the same objects without these columns."""
        kept = [number for number, column in enumerate(self.columns) if column not in details]
        rows = (tuple(row[number] for number in kept) for row in self.rows)
        return Listing(tuple(self.columns[number] for number in kept), rows)


@dataclass(frozen=True, slots=True)
class References:
    """The objects of one kind that refer to an object: how many there are, and the first MAX_REFERENCES of them."""

    kind: str
    total: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        """Return them as they stand in a sentence."""
        more = self.total - len(self.first)
        return f"{self.kind} {', '.join(self.first)}" + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class Shown:
    """All there is to show of one object."""

    values: Mapping[str, Any]
    references: tuple[References, ...]


def filters(kind: type[DirectoryObject]) -> tuple[str, ...]:
    """Return the names of the parameters that a list of this kind may be filtered by."""
    return _VIEWS[kind].filters


def details(kind: type[DirectoryObject]) -> frozenset[str]:
    """Return the names of the columns that a list for people does without."""
    return _VIEWS[kind].details


def today(connection: Connection[TupleRow], timezone: str) -> date:
    """Return the directory's day, by which credentials and connections begin and end."""
    rows: list[tuple[date]] = connection.execute(queries.DAY_IN_TIMEZONE, {"timezone": timezone}).fetchall()
    ((day,),) = rows
    return day


@contextlib.contextmanager
def listed(
    connection: Connection[TupleRow],
    kind: type[DirectoryObject],
    wanted: Mapping[str, object],
    limit: int | None = None,
    timezone: str | None = None,
) -> Iterator[Listing]:
    """Yield the objects of a kind in the order of their keys, at most `limit`; memory stays flat.

    `wanted` has values for some of `filters(kind)`, or the key; without `timezone` no day is known, nor a credential's
    state by it. Runs in the caller's transaction.
    """
    with connection.cursor(name="listing") as cursor:
        cursor.itersize = _ROWS_AT_A_TIME
        cursor.execute(_VIEWS[kind].listing, _parameters(kind, wanted, limit, timezone))
        yield Listing(tuple(column.name for column in cursor.description or ()), iter(cursor))


def shown(
    connection: Connection[TupleRow], kind: type[DirectoryObject], key: Mapping[str, Any], timezone: str | None = None
) -> Shown:
    """Return one object with what refers to it; `timezone` as for `listed`, raises as snapshot.one does."""
    cursor = connection.execute(_VIEWS[kind].listing, _parameters(kind, key, None, timezone))
    columns = tuple(column.name for column in cursor.description or ())
    row = snapshot.only(connection, kind, key, cursor.fetchall())
    return Shown(dict(zip(columns, row, strict=True)), references(connection, kind, key))


def rows(
    connection: Connection[TupleRow], kind: type[DirectoryObject], wanted: Mapping[str, object], limit: int
) -> list[dict[str, Any]]:
    """Return the first `limit` objects of a kind that have the wanted key or filters, as a list has them."""
    with listed(connection, kind, wanted, limit) as found:
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def references(
    connection: Connection[TupleRow], kind: type[DirectoryObject], key: Mapping[str, Any]
) -> tuple[References, ...]:
    """Return what refers to an object, by kind."""
    query = _VIEWS[kind].references
    if query is None:
        return ()
    totals: dict[str, int] = {}
    first: dict[str, list[str]] = {}
    for referring, total, name in connection.execute(query, {**key, "most": MAX_REFERENCES}):
        totals[referring] = total
        first.setdefault(referring, []).append(name)
    return tuple(References(referring, total, tuple(first[referring])) for referring, total in totals.items())


def _parameters(
    kind: type[DirectoryObject], given: Mapping[str, object], limit: int | None, timezone: str | None
) -> dict[str, object]:
    known = dict.fromkeys((*names.key_parameters(kind), *_VIEWS[kind].filters))
    return {**known, **given, "limit": limit, "timezone": timezone}
