"""Writes and lists what the directory holds, for the admin CLI and the seed.

What writes runs in the caller's transaction (`session.writing`). What the schema's constraints refuse comes out as
psycopg.errors.IntegrityError, which `faults.sentence` explains.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString, assert_never

from psycopg.types.json import Jsonb

from digipoort.directory import queries
from digipoort.directory.description import password_hash
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
    key_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from psycopg import Connection
    from psycopg.rows import TupleRow

LISTS: Final[Mapping[str, LiteralString]] = {
    "party": queries.LIST_PARTIES,
    "flow": queries.LIST_FLOWS,
    "destination": queries.LIST_DESTINATIONS,
    "address": queries.LIST_ADDRESSES,
    "connection": queries.LIST_CONNECTIONS,
    "credential": queries.LIST_CREDENTIALS,
}


@dataclass(frozen=True, slots=True)
class _Statements:
    """What is done with the objects of one kind; all but `add` find one by its natural key."""

    add: LiteralString
    find: LiteralString
    change: LiteralString
    remove: LiteralString


_STATEMENTS: Final[Mapping[type[DirectoryObject], _Statements]] = {
    Party: _Statements(queries.ADD_PARTY, queries.PARTY_ID, queries.CHANGE_PARTY, queries.REMOVE_PARTY),
    Flow: _Statements(queries.ADD_FLOW, queries.FLOW_ID, queries.CHANGE_FLOW, queries.REMOVE_FLOW),
    Destination: _Statements(
        queries.ADD_DESTINATION, queries.DESTINATION_ID, queries.CHANGE_DESTINATION, queries.REMOVE_DESTINATION
    ),
    Mailbox: _Statements(queries.ADD_MAILBOX, queries.MAILBOX_ID, queries.CHANGE_MAILBOX, queries.REMOVE_MAILBOX),
    Address: _Statements(queries.ADD_ADDRESS, queries.ADDRESS_ID, queries.CHANGE_ADDRESS, queries.REMOVE_ADDRESS),
    FlowConnection: _Statements(
        queries.ADD_CONNECTION, queries.CONNECTION_ID, queries.CHANGE_CONNECTION, queries.REMOVE_CONNECTION
    ),
    Credential: _Statements(
        queries.ADD_CREDENTIAL, queries.CREDENTIAL_ID, queries.CHANGE_CREDENTIAL, queries.REMOVE_CREDENTIAL
    ),
}

# The one parameter by which an object is found; a connection has three.
_KEYS: Final[Mapping[type[DirectoryObject], str]] = {
    Party: "party",
    Flow: "flow",
    Destination: "domain",
    Mailbox: "mailbox",
    Address: "address",
    Credential: "login",
}


class UnknownObjectError(Exception):
    """A change refers to an object that the directory does not hold; the message is a sentence for the admin."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of one kind: the columns' names, and a row per object."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def listed(connection: Connection[TupleRow], kind: str) -> Listing:
    """Return the objects of a kind (a key of LISTS), in the order of their natural keys."""
    cursor = connection.execute(LISTS[kind])
    return Listing(tuple(column.name for column in cursor.description or ()), cursor.fetchall())


def add(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Add one object; what it refers to must exist, save that an address's new remote target is made.

    Raises UnknownObjectError when something it refers to does not exist.
    """
    connection.execute(_STATEMENTS[type(item)].add, _values(connection, item))


def change(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Give the object with the natural key of `item` all other values that `item` has.

    Raises UnknownObjectError when there is none, or when something it refers to does not exist.
    """
    _update(connection, _STATEMENTS[type(item)].change, _values(connection, item), f"There is no {_name(item)}.")


def remove(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Remove the object with the natural key of `item`; an address takes its connections with it.

    Raises UnknownObjectError when there is none.
    """
    _update(connection, _STATEMENTS[type(item)].remove, _keys(connection, item), f"There is no {_name(item)}.")


def remove_unused_targets(connection: Connection[TupleRow]) -> None:
    """Remove the physical addresses that no logical address leads to any more."""
    connection.execute(queries.REMOVE_UNUSED_TARGETS)


def holds(connection: Connection[TupleRow], item: DirectoryObject) -> bool:
    """Tell whether the directory has an object with the natural key of `item`, whatever its other values are.

    A connection's key is its address, flow and first day. Raises UnknownObjectError as `add` does.
    """
    return connection.execute(_STATEMENTS[type(item)].find, _keys(connection, item)).fetchone() is not None


def set_party_active(connection: Connection[TupleRow], code: str, *, active: bool) -> None:
    """Let a party take part, or take no part at all: nothing is accepted from or for it, and its logins are refused."""
    _update(connection, queries.SET_PARTY_ACTIVE, {"party": code, "active": active}, f"There is no party {code}.")


def set_credential_active(connection: Connection[TupleRow], login: str, *, active: bool) -> None:
    """Accept a login, or refuse it from now on."""
    values = {"login": login, "active": active}
    _update(connection, queries.SET_CREDENTIAL_ACTIVE, values, f"There is no login {login}.")


def set_password(connection: Connection[TupleRow], login: str, password_hash: str) -> None:
    """Give a login another password."""
    values = {"login": login, "password_hash": password_hash}
    _update(connection, queries.SET_CREDENTIAL_HASH, values, f"There is no login {login}.")


def set_size_limit(connection: Connection[TupleRow], flow: str, size_limit: int) -> None:
    """Give a flow another size limit, in octets."""
    values = {"flow": flow, "size_limit": size_limit}
    _update(connection, queries.SET_SIZE_LIMIT, values, f"There is no flow {flow}.")


def set_interface(connection: Connection[TupleRow], flow: str, interface: Mapping[str, Any]) -> None:
    """Give a flow other overrides of the default interface profile; those it had are gone."""
    values = {"flow": flow, "interface": Jsonb(dict(interface))}
    _update(connection, queries.SET_INTERFACE, values, f"There is no flow {flow}.")


def set_resubmission(connection: Connection[TupleRow], flow: str, policy: str) -> None:
    """Give a flow another policy for resubmissions (a value of resubmission.Policy)."""
    _update(connection, queries.SET_RESUBMISSION, {"flow": flow, "resubmission": policy}, f"There is no flow {flow}.")


def end_connection(connection: Connection[TupleRow], address: str, flow: str, last: date) -> None:
    """Make `last` the last day of the connection that is valid then."""
    values = {"address_id": _address_id(connection, address), "flow_id": _flow_id(connection, flow), "last": last}
    missing = f"{address} has no connection to {flow} that goes on after {last}."
    _update(connection, queries.END_CONNECTION, values, missing)


def _update(connection: Connection[TupleRow], query: LiteralString, values: Mapping[str, Any], missing: str) -> None:
    if connection.execute(query, values).rowcount == 0:
        raise UnknownObjectError(missing)


def _keys(connection: Connection[TupleRow], item: DirectoryObject) -> dict[str, Any]:
    """Return the parameters of the statements that find an object."""
    if isinstance(item, FlowConnection):
        return _connection_ids(connection, item) | {"valid_from": item.valid_from}
    _, name = key_of(item)
    return {_KEYS[type(item)]: name}


def _values(connection: Connection[TupleRow], item: DirectoryObject) -> dict[str, Any]:
    """Return the parameters of the statements that write an object."""
    match item:
        case Party() | Destination():
            return asdict(item)
        case Flow():
            return _flow_values(connection, item)
        case Mailbox():
            return {"mailbox": item.mailbox, "party_id": _party_id(connection, item.party)}
        case Address():
            return _address_values(connection, item)
        case FlowConnection():
            return _keys(connection, item) | {"valid_until": item.valid_until}
        case Credential():
            return _credential_values(connection, item)
        case _:
            assert_never(item)


def _name(item: DirectoryObject) -> str:
    """Return what an object is called in a sentence."""
    match item:
        case FlowConnection():
            return f"connection of {item.address} to {item.flow} from {item.valid_from}"
        case Credential():
            return f"login {item.login}"
        case _:
            return " ".join(key_of(item))


def _flow_values(connection: Connection[TupleRow], flow: Flow) -> dict[str, Any]:
    return {
        "code": flow.code,
        "name": flow.name,
        "owner_id": _party_id(connection, flow.owner),
        "size_limit": flow.size_limit,
        "interface": Jsonb(dict(flow.interface)),
        "resubmission": flow.resubmission,
    }


def _address_values(connection: Connection[TupleRow], address: Address) -> dict[str, Any]:
    party_id = _party_id(connection, address.party)
    return {
        "address": address.address,
        "party_id": party_id,
        "flow_id": None if address.flow is None else _flow_id(connection, address.flow),
        "target_id": _target_id(connection, party_id, address.target),
    }


def _credential_values(connection: Connection[TupleRow], credential: Credential) -> dict[str, Any]:
    return {
        "login": credential.login,
        "party_id": _party_id(connection, credential.party),
        "password_hash": password_hash(credential.password),
        "services": list(credential.services),
        "mailbox_id": None if credential.mailbox is None else _mailbox_id(connection, credential.mailbox),
        "active": credential.active,
        "certificate_fingerprint": credential.certificate_fingerprint,
    }


def _target_id(connection: Connection[TupleRow], party_id: int, target: str | Remote) -> int:
    """Return the target's row id; a remote address that is new becomes a target of the party."""
    if isinstance(target, str):
        return _mailbox_id(connection, target)
    missing = f"There is no destination for the domain {target.domain}: digipoort destination add."
    destination_id = _id(connection, queries.DESTINATION_ID, {"domain": target.domain}, missing)
    values = {"local_part": target.local_part, "destination_id": destination_id}
    if connection.execute(queries.REMOTE_ID, values).fetchone() is None:
        connection.execute(queries.ADD_REMOTE, values | {"party_id": party_id})
    return _id(connection, queries.REMOTE_ID, values, f"There is no target {target.local_part}@{target.domain}.")


def _connection_ids(connection: Connection[TupleRow], item: FlowConnection) -> dict[str, Any]:
    return {"address_id": _address_id(connection, item.address), "flow_id": _flow_id(connection, item.flow)}


def _address_id(connection: Connection[TupleRow], address: str) -> int:
    missing = f"There is no address {address}: digipoort address add."
    return _id(connection, queries.ADDRESS_ID, {"address": address}, missing)


def _party_id(connection: Connection[TupleRow], code: str) -> int:
    return _id(connection, queries.PARTY_ID, {"party": code}, f"There is no party {code}: digipoort party add.")


def _flow_id(connection: Connection[TupleRow], code: str) -> int:
    return _id(connection, queries.FLOW_ID, {"flow": code}, f"There is no flow {code}: digipoort flow add.")


def _mailbox_id(connection: Connection[TupleRow], mailbox: str) -> int:
    return _id(connection, queries.MAILBOX_ID, {"mailbox": mailbox}, f"There is no mailbox {mailbox}.")


def _id(connection: Connection[TupleRow], query: LiteralString, keys: Mapping[str, Any], missing: str) -> int:
    row = connection.execute(query, keys).fetchone()
    if row is None:
        raise UnknownObjectError(missing)
    return int(row[0])
