"""What objects are called: how one is found by its name, and which names come near one that nobody has.

No question here reads more than a few hundred rows, whatever the directory holds.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

from digipoort.directory import queries
from digipoort.directory.objects import (
    KINDS,
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
    from collections.abc import Iterable, Mapping
    from datetime import date

    from psycopg import Connection
    from psycopg.rows import TupleRow

MAX_SUGGESTIONS: Final = 3
# Two names of one domain are alike by that domain alone; names are compared whole only when they are nearly the same.
_LIKENESS: Final = 0.65
_WHOLE_LIKENESS: Final = 0.85
_NAMES_PER_START: Final = 20
_MAX_STARTS: Final = 16
_NAMES_PER_COMPLETION: Final = 500


class UnknownObjectError(Exception):
    """A name that the directory does not hold; the message is a sentence for the admin."""


@dataclass(frozen=True, slots=True)
class _Naming:
    """How the objects of one kind are named: the parameter of the statements that find one, and what finds names."""

    noun: str
    parameter: str
    row_id: LiteralString
    names: LiteralString
    upper: bool = False


_NAMINGS: Final[Mapping[type[DirectoryObject], _Naming]] = {
    Party: _Naming("party", "party", queries.PARTY_ID, queries.PARTY_NAMES, upper=True),
    Flow: _Naming("flow", "flow", queries.FLOW_ID, queries.FLOW_NAMES, upper=True),
    Destination: _Naming("destination for the domain", "domain", queries.DESTINATION_ID, queries.DESTINATION_NAMES),
    Mailbox: _Naming("mailbox", "mailbox", queries.MAILBOX_ID, queries.MAILBOX_NAMES),
    Address: _Naming("address", "address", queries.ADDRESS_ID, queries.ADDRESS_NAMES),
    Credential: _Naming("login", "login", queries.CREDENTIAL_ID, queries.CREDENTIAL_NAMES),
}


def key_parameters(kind: type[DirectoryObject]) -> tuple[str, ...]:
    """Return the names of the parameters by which the statements find an object of a kind."""
    return ("address", "flow", "valid_from") if kind is FlowConnection else (_NAMINGS[kind].parameter,)


def row_id(connection: Connection[TupleRow], kind: type[DirectoryObject], name: str) -> int:
    """Return the row id of what another object refers to; not for connections. Raises UnknownObjectError."""
    naming = _NAMINGS[kind]
    row = connection.execute(naming.row_id, {naming.parameter: name}).fetchone()
    if row is None:
        raise unknown(connection, kind, name, f": digipoort {KINDS[kind]} add")
    return int(row[0])


def unknown(
    connection: Connection[TupleRow], kind: type[DirectoryObject], name: str, advice: str = ""
) -> UnknownObjectError:
    """Return the error that tells that nothing of a kind has this name, and which names are like it."""
    near = nearest(connection, kind, name)
    return UnknownObjectError(f"There is no {_NAMINGS[kind].noun} {name}{advice}.{question(near)}")


def unknown_connection(address: str, flow: str, valid_from: date | None) -> UnknownObjectError:
    """Return the error that tells that an address has no connection to a flow, from that day on if one is given."""
    since = "" if valid_from is None else f" from {valid_from}"
    return UnknownObjectError(f"There is no connection of {address} to {flow}{since}.")


def question(near: Iterable[str]) -> str:
    """Return the question whether one of these names is meant, to follow a sentence; nothing when there is none."""
    listed = ", ".join(near)
    head, comma, last = listed.rpartition(", ")
    return f" Did you mean {f'{head} or {last}' if comma else listed}?" if listed else ""


def nearest(connection: Connection[TupleRow], kind: type[DirectoryObject], name: str) -> list[str]:
    """Return up to MAX_SUGGESTIONS names of a kind that are like `name`, the likest first."""
    naming = _NAMINGS[kind]
    spelt = (name.upper() if naming.upper else name.lower()).replace("\0", "")
    # Whatever begins as `name` does, however little of it: a slip of the pen is seldom in the first character.
    starts = [spelt[:length] for length in range(min(len(spelt), _MAX_STARTS) + 1)]
    values = {"starts": starts, "most": _NAMES_PER_START}
    return likest(spelt, [found for (found,) in connection.execute(naming.names, values)])


def nearest_of_any(connection: Connection[TupleRow], name: str) -> list[str]:
    """Return up to MAX_SUGGESTIONS names that are like `name`, of whatever kind."""
    found = dict.fromkeys(near for kind in _NAMINGS for near in nearest(connection, kind, name))
    return list(found)[:MAX_SUGGESTIONS]


def likest(name: str, names: Iterable[str]) -> list[str]:
    """Return up to MAX_SUGGESTIONS of `names` that are like `name`; of names in one domain the rest is compared."""
    listed = sorted(names)
    at = name.rfind("@")
    domain = name[at:] if at >= 0 else ""
    here = {other.removesuffix(domain): other for other in listed if other.endswith(domain)}
    close = difflib.get_close_matches(name.removesuffix(domain), here, MAX_SUGGESTIONS, _LIKENESS)
    return [here[match] for match in close] or difflib.get_close_matches(name, listed, MAX_SUGGESTIONS, _WHOLE_LIKENESS)


def beginning_with(
    connection: Connection[TupleRow], kind: type[DirectoryObject], beginning: str, most: int
) -> list[str]:
    """Return up to `most` names of a kind that begin so, in their order; few of very many may be left out.

    The index is in the order of the server's language, in which names with one beginning need not be neighbours.
    """
    naming = _NAMINGS[kind]
    spelt = beginning.upper() if naming.upper else beginning.lower()
    values = {"starts": [spelt], "most": _NAMES_PER_COMPLETION}
    found = (name for (name,) in connection.execute(naming.names, values))
    return sorted(name for name in found if name.startswith(spelt))[:most]
