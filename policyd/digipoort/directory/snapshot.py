"""Reads the directory as the objects that a description has: all of it, or one object."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from digipoort.directory import names, queries
from digipoort.directory.objects import (
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    Party,
    Remote,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from psycopg import Connection
    from psycopg.rows import TupleRow

_ROWS_AT_A_TIME: Final = 2000


class AmbiguousNameError(Exception):
    """More than one object has what was given of its key; the message is a sentence for the admin."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """How the objects of one kind are read: all of them, one of them, and what a row becomes."""

    all: LiteralString
    one: LiteralString
    made: Callable[..., DirectoryObject]


def objects(connection: Connection[TupleRow]) -> Iterator[DirectoryObject]:
    """Yield every object, in the order in which they can be added, then by natural key; memory stays flat.

    Runs in the caller's transaction, whose role must be allowed to read password hashes.
    """
    for reading in _READINGS.values():
        with connection.cursor(name="snapshot") as cursor:
            cursor.itersize = _ROWS_AT_A_TIME
            cursor.execute(reading.all)
            for row in cursor:
                yield reading.made(*row)


def one(connection: Connection[TupleRow], kind: type[DirectoryObject], key: Mapping[str, Any]) -> DirectoryObject:
    """Return the object of a kind with a key: a value for each of names.key_parameters; `valid_from` may be None.

    Raises names.UnknownObjectError, and AmbiguousNameError when no first day is given and there are several. Runs in
    the caller's transaction, whose role must be allowed to read password hashes.
    """
    reading = _READINGS[kind]
    return reading.made(*only(connection, kind, key, connection.execute(reading.one, key).fetchall()))


def credential(connection: Connection[TupleRow], login: str) -> Credential:
    """Return the credential with a login; raises as `one` does."""
    key = {"login": login}
    return _credential(*only(connection, Credential, key, connection.execute(queries.ONE_CREDENTIAL, key).fetchall()))


def only(
    connection: Connection[TupleRow], kind: type[DirectoryObject], key: Mapping[str, Any], rows: list[TupleRow]
) -> TupleRow:
    """Return the one row that a key finds; a connection's third column is its first day. Raises as `one` does."""
    if not rows:
        raise _unknown(connection, kind, key)
    if len(rows) > 1:
        days = ", ".join(str(row[2]) for row in rows)
        raise AmbiguousNameError(f"{key['address']} is connected to {key['flow']} more than once; say --from: {days}.")
    return rows[0]


def _unknown(
    connection: Connection[TupleRow], kind: type[DirectoryObject], key: Mapping[str, Any]
) -> names.UnknownObjectError:
    if kind is FlowConnection:
        names.row_id(connection, Address, key["address"])
        names.row_id(connection, Flow, key["flow"])
        return names.unknown_connection(key["address"], key["flow"], key["valid_from"])
    (name,) = key.values()
    return names.unknown(connection, kind, name)


def _address(  # noqa: PLR0913 - the row's columns
    address: str, party: str, flow: str | None, mailbox: str | None, local_part: str, domain: str
) -> Address:
    return Address(address, party, flow, Remote(local_part, domain) if mailbox is None else mailbox)


def _credential(*row: Any) -> Credential:  # noqa: ANN401 - the columns, in the order of the object's fields
    login, party, password_hash, services, *others, networks = row
    # PostgreSQL spells some of IPv6 otherwise: ::1.2.3.4 is ::102:304.
    spelt = tuple(str(ipaddress.ip_network(network)) for network in networks)
    return Credential(*(login, party, password_hash, tuple(services), *others, spelt))


# In the order in which objects refer to each other.
_READINGS: Final[Mapping[type[DirectoryObject], _Reading]] = {
    Party: _Reading(queries.ALL_PARTIES, queries.ONE_PARTY, Party),
    Flow: _Reading(queries.ALL_FLOWS, queries.ONE_FLOW, Flow),
    Destination: _Reading(queries.ALL_DESTINATIONS, queries.ONE_DESTINATION, Destination),
    Mailbox: _Reading(queries.ALL_MAILBOXES, queries.ONE_MAILBOX, Mailbox),
    Address: _Reading(queries.ALL_ADDRESSES, queries.ONE_ADDRESS, _address),
    FlowConnection: _Reading(queries.ALL_CONNECTIONS, queries.ONE_CONNECTION, FlowConnection),
    Credential: _Reading(queries.ALL_CREDENTIALS, queries.ONE_CREDENTIAL, _credential),
}
