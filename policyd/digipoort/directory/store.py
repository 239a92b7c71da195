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
    match item:
        case Party():
            connection.execute(queries.ADD_PARTY, asdict(item))
        case Flow():
            connection.execute(queries.ADD_FLOW, _flow_values(connection, item))
        case Destination():
            connection.execute(queries.ADD_DESTINATION, asdict(item))
        case Mailbox():
            party_id = _party_id(connection, item.party)
            connection.execute(queries.ADD_MAILBOX, {"mailbox": item.mailbox, "party_id": party_id})
        case Address():
            connection.execute(queries.ADD_ADDRESS, _address_values(connection, item))
        case FlowConnection():
            dates = {"valid_from": item.valid_from, "valid_until": item.valid_until}
            connection.execute(queries.ADD_CONNECTION, _connection_ids(connection, item) | dates)
        case Credential():
            connection.execute(queries.ADD_CREDENTIAL, _credential_values(connection, item))
        case _:
            assert_never(item)


def change(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Give the object with the natural key of `item` all other values that `item` has.

    Raises UnknownObjectError when there is none, or when something it refers to does not exist.
    """
    match item:
        case Party():
            query, values, name = queries.CHANGE_PARTY, asdict(item), f"party {item.code}"
        case Flow():
            query, values, name = queries.CHANGE_FLOW, _flow_values(connection, item), f"flow {item.code}"
        case Destination():
            query, values, name = queries.CHANGE_DESTINATION, asdict(item), f"destination {item.domain}"
        case Mailbox():
            party_id = _party_id(connection, item.party)
            query, values = queries.CHANGE_MAILBOX, {"mailbox": item.mailbox, "party_id": party_id}
            name = f"mailbox {item.mailbox}"
        case Address():
            query, values, name = queries.CHANGE_ADDRESS, _address_values(connection, item), f"address {item.address}"
        case FlowConnection():
            keys = _connection_ids(connection, item)
            query = queries.CHANGE_CONNECTION
            values = {**keys, "valid_from": item.valid_from, "valid_until": item.valid_until}
            name = f"connection of {item.address} to {item.flow} from {item.valid_from}"
        case Credential():
            query, values = queries.CHANGE_CREDENTIAL, _credential_values(connection, item)
            name = f"login {item.login}"
        case _:
            assert_never(item)
    _update(connection, query, values, f"There is no {name}.")


def remove(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Remove the object with the natural key of `item`; an address takes its connections with it.

    Raises UnknownObjectError when there is none.
    """
    query: LiteralString
    match item:
        case Party():
            query, keys, name = queries.REMOVE_PARTY, {"party": item.code}, f"party {item.code}"
        case Flow():
            query, keys, name = queries.REMOVE_FLOW, {"flow": item.code}, f"flow {item.code}"
        case Destination():
            query, keys, name = queries.REMOVE_DESTINATION, {"domain": item.domain}, f"destination {item.domain}"
        case Mailbox():
            query, keys, name = queries.REMOVE_MAILBOX, {"mailbox": item.mailbox}, f"mailbox {item.mailbox}"
        case Address():
            query, keys, name = queries.REMOVE_ADDRESS, {"address": item.address}, f"address {item.address}"
        case FlowConnection():
            query = queries.REMOVE_CONNECTION
            keys = _connection_ids(connection, item) | {"valid_from": item.valid_from}
            name = f"connection of {item.address} to {item.flow} from {item.valid_from}"
        case Credential():
            query, keys, name = queries.REMOVE_CREDENTIAL, {"login": item.login}, f"login {item.login}"
        case _:
            assert_never(item)
    _update(connection, query, keys, f"There is no {name}.")


def remove_unused_targets(connection: Connection[TupleRow]) -> None:
    """Remove the physical addresses that no logical address leads to any more."""
    connection.execute(queries.REMOVE_UNUSED_TARGETS)


def holds(connection: Connection[TupleRow], item: DirectoryObject) -> bool:
    """Tell whether the directory has an object with the natural key of `item`, whatever its other values are.

    A connection's key is its address, flow and first day. Raises UnknownObjectError as `add` does.
    """
    query: LiteralString
    match item:
        case Party():
            query, keys = queries.PARTY_ID, {"party": item.code}
        case Flow():
            query, keys = queries.FLOW_ID, {"flow": item.code}
        case Destination():
            query, keys = queries.DESTINATION_ID, {"domain": item.domain}
        case Mailbox():
            query, keys = queries.MAILBOX_ID, {"mailbox": item.mailbox}
        case Address():
            query, keys = queries.ADDRESS_ID, {"address": item.address}
        case FlowConnection():
            query, keys = queries.CONNECTION_ID, _connection_ids(connection, item) | {"valid_from": item.valid_from}
        case Credential():
            query, keys = queries.CREDENTIAL_ID, {"login": item.login}
        case _:
            assert_never(item)
    return connection.execute(query, keys).fetchone() is not None


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
