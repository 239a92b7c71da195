"""Writes what the directory holds, for the admin CLI and the seed.

All of it runs in the caller's transaction (`session.writing`). What the schema's constraints refuse comes out as
psycopg.errors.IntegrityError, which `faults.sentence` explains; what they would refuse of a credential as
storable.NotStorableError.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString, assert_never

from psycopg.types.json import Jsonb

from digipoort.directory import names, queries
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
from digipoort.directory.storable import require_storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from psycopg import Connection
    from psycopg.rows import TupleRow


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


def add(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Add one object; what it refers to must exist, save that an address's new remote target is made.

    Raises names.UnknownObjectError when something it refers to does not exist, and storable.NotStorableError.
    """
    connection.execute(_STATEMENTS[type(item)].add, _values(connection, item))


def change(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Give the object with the natural key of `item` all other values that `item` has.

    Raises names.UnknownObjectError when there is none, or when something it refers to does not exist, and
    storable.NotStorableError.
    """
    _update_item(connection, _STATEMENTS[type(item)].change, _values(connection, item), item)


def remove(connection: Connection[TupleRow], item: DirectoryObject) -> None:
    """Remove the object with the natural key of `item`; an address takes its connections with it.

    Raises names.UnknownObjectError when there is none.
    """
    _update_item(connection, _STATEMENTS[type(item)].remove, _keys(connection, item), item)


def remove_unused_targets(connection: Connection[TupleRow]) -> None:
    """Remove the physical addresses that no logical address leads to any more."""
    connection.execute(queries.REMOVE_UNUSED_TARGETS)


def holds(connection: Connection[TupleRow], item: DirectoryObject) -> bool:
    """Tell whether the directory has an object with the natural key of `item`, whatever its other values are.

    A connection's key is its address, flow and first day. Raises names.UnknownObjectError as `add` does.
    """
    return connection.execute(_STATEMENTS[type(item)].find, _keys(connection, item)).fetchone() is not None


def set_party_active(connection: Connection[TupleRow], code: str, *, active: bool) -> None:
    """Let a party take part, or take no part at all: nothing is accepted from or for it, and its logins are refused."""
    _update_named(connection, queries.SET_PARTY_ACTIVE, {"party": code, "active": active}, Party)


def set_credential_active(connection: Connection[TupleRow], login: str, *, active: bool) -> None:
    """Accept a login, or refuse it from now on."""
    _update_named(connection, queries.SET_CREDENTIAL_ACTIVE, {"login": login, "active": active}, Credential)


def set_password(connection: Connection[TupleRow], login: str, password_hash: str) -> None:
    """Give a login another password."""
    values = {"login": login, "password_hash": password_hash}
    _update_named(connection, queries.SET_CREDENTIAL_HASH, values, Credential)


def set_size_limit(connection: Connection[TupleRow], flow: str, size_limit: int) -> None:
    """Give a flow another size limit, in octets."""
    _update_named(connection, queries.SET_SIZE_LIMIT, {"flow": flow, "size_limit": size_limit}, Flow)


def set_interface(connection: Connection[TupleRow], flow: str, interface: Mapping[str, Any]) -> None:
    """Give a flow other overrides of the default interface profile; those it had are gone."""
    _update_named(connection, queries.SET_INTERFACE, {"flow": flow, "interface": Jsonb(dict(interface))}, Flow)


def set_resubmission(connection: Connection[TupleRow], flow: str, policy: str) -> None:
    """Give a flow another policy for resubmissions (a value of resubmission.Policy)."""
    _update_named(connection, queries.SET_RESUBMISSION, {"flow": flow, "resubmission": policy}, Flow)


def end_connection(connection: Connection[TupleRow], address: str, flow: str, last: date) -> None:
    """Make `last` the last day of the connection that is valid then."""
    values = {
        "address_id": names.row_id(connection, Address, address),
        "flow_id": names.row_id(connection, Flow, flow),
        "last": last,
    }
    if not _touches(connection, queries.END_CONNECTION, values):
        raise names.UnknownObjectError(f"{address} has no connection to {flow} that goes on after {last}.")


def _update_item(
    connection: Connection[TupleRow], query: LiteralString, values: Mapping[str, Any], item: DirectoryObject
) -> None:
    if _touches(connection, query, values):
        return
    if isinstance(item, FlowConnection):
        raise names.unknown_connection(item.address, item.flow, item.valid_from)
    raise names.unknown(connection, type(item), key_of(item)[1])


def _update_named(
    connection: Connection[TupleRow], query: LiteralString, values: Mapping[str, Any], kind: type[DirectoryObject]
) -> None:
    """Change what the kind's own parameter in `values` names."""
    if not _touches(connection, query, values):
        (parameter,) = names.key_parameters(kind)
        raise names.unknown(connection, kind, values[parameter])


def _touches(connection: Connection[TupleRow], query: LiteralString, values: Mapping[str, Any]) -> bool:
    return connection.execute(query, values).rowcount > 0


def _keys(connection: Connection[TupleRow], item: DirectoryObject) -> dict[str, Any]:
    """Return the parameters of the statements that find an object."""
    if isinstance(item, FlowConnection):
        return _connection_ids(connection, item) | {"valid_from": item.valid_from}
    _, name = key_of(item)
    (parameter,) = names.key_parameters(type(item))
    return {parameter: name}


def _values(connection: Connection[TupleRow], item: DirectoryObject) -> dict[str, Any]:
    """Return the parameters of the statements that write an object."""
    match item:
        case Party() | Destination():
            return asdict(item)
        case Flow():
            return _flow_values(connection, item)
        case Mailbox():
            return {"mailbox": item.mailbox, "party_id": names.row_id(connection, Party, item.party)}
        case Address():
            return _address_values(connection, item)
        case FlowConnection():
            return _keys(connection, item) | {"valid_until": item.valid_until}
        case Credential():
            return _credential_values(connection, item)
        case _:
            assert_never(item)


def _flow_values(connection: Connection[TupleRow], flow: Flow) -> dict[str, Any]:
    return {
        "code": flow.code,
        "name": flow.name,
        "owner_id": names.row_id(connection, Party, flow.owner),
        "size_limit": flow.size_limit,
        "interface": Jsonb(dict(flow.interface)),
        "resubmission": flow.resubmission,
    }


def _address_values(connection: Connection[TupleRow], address: Address) -> dict[str, Any]:
    party_id = names.row_id(connection, Party, address.party)
    return {
        "address": address.address,
        "party_id": party_id,
        "flow_id": None if address.flow is None else names.row_id(connection, Flow, address.flow),
        "target_id": _target_id(connection, party_id, address.target),
    }


def _credential_values(connection: Connection[TupleRow], credential: Credential) -> dict[str, Any]:
    require_storable(credential)
    return {
        "login": credential.login,
        "party_id": names.row_id(connection, Party, credential.party),
        "password_hash": password_hash(credential.password),
        "services": list(credential.services),
        "mailbox_id": None if credential.mailbox is None else names.row_id(connection, Mailbox, credential.mailbox),
        "active": credential.active,
        "certificate_fingerprint": credential.certificate_fingerprint,
        "certificate_subject": credential.certificate_subject,
        "certificate_suffices": credential.certificate_suffices,
        "valid_from": credential.valid_from,
        "valid_until": credential.valid_until,
        "networks": list(credential.networks),
    }


def _target_id(connection: Connection[TupleRow], party_id: int, target: str | Remote) -> int:
    """Return the target's row id; a remote address that is new becomes a target of the party."""
    if isinstance(target, str):
        return names.row_id(connection, Mailbox, target)
    destination_id = names.row_id(connection, Destination, target.domain)
    values = {"local_part": target.local_part, "destination_id": destination_id}
    if connection.execute(queries.REMOTE_ID, values).fetchone() is None:
        connection.execute(queries.ADD_REMOTE, values | {"party_id": party_id})
    return _id(connection, queries.REMOTE_ID, values, f"There is no target {target.local_part}@{target.domain}.")


def _connection_ids(connection: Connection[TupleRow], item: FlowConnection) -> dict[str, Any]:
    return {
        "address_id": names.row_id(connection, Address, item.address),
        "flow_id": names.row_id(connection, Flow, item.flow),
    }


def _id(connection: Connection[TupleRow], query: LiteralString, keys: Mapping[str, Any], missing: str) -> int:
    row = connection.execute(query, keys).fetchone()
    if row is None:
        raise names.UnknownObjectError(missing)
    return int(row[0])
