"""What the change log tells of one object: who changed what, when, by whatever road (the database writes the log)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from digipoort.directory import queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from psycopg import Connection
    from psycopg.rows import TupleRow

# Columns that hold another object's row id, and of which kind it is.
_REFERENCES: Final[Mapping[str, str]] = {
    "party_id": "party",
    "owner_id": "party",
    "flow_id": "flow",
    "target_id": "target",
    "mailbox_id": "target",
    "destination_id": "destination",
    "address_id": "address",
}
# They follow from others, and are there for the schema's constraints.
_DERIVED: Final = frozenset({"id", "party_kind", "owner_kind", "address_kind", "mailbox_kind"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of one row: `before` is None when it was added, `after` when it was removed; ids are names."""

    at: datetime
    actor: str
    kind: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def differences(self) -> dict[str, tuple[object, object]]:
        """Return old and new value of each column that differs; of a row that came or went, all that have a value."""
        before, after = self.before or {}, self.after or {}
        names = dict.fromkeys([*before, *after])
        return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def history(connection: Connection[TupleRow], name: str) -> list[Entry]:
    """Return the changes of whatever has, or had, this name, the first one first.

    `name` is an address, a login, the code of a party or a flow, a physical domain or a mailbox's id.
    """
    rows = connection.execute(queries.HISTORY, {"name": name}).fetchall()
    images = [image for row in rows for image in row[3:] if image is not None]
    names = _names(connection, set(_referred(images)))
    return [
        Entry(at, actor, kind, _told(before, names), _told(after, names)) for at, actor, kind, before, after in rows
    ]


def _referred(images: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    for image in images:
        for column, kind in _REFERENCES.items():
            if image.get(column) is not None:
                yield kind, int(image[column])


def _names(connection: Connection[TupleRow], wanted: set[tuple[str, int]]) -> dict[tuple[str, int], str]:
    pairs = sorted(wanted)
    values = {"objects": [kind for kind, _ in pairs], "ids": [number for _, number in pairs]}
    return {(kind, number): name for kind, number, name in connection.execute(queries.HISTORY_NAMES, values)}


def _told(image: Mapping[str, Any] | None, names: Mapping[tuple[str, int], str]) -> dict[str, Any] | None:
    """Return a row as an admin knows it: other objects by their names, without what follows from the rest."""
    if image is None:
        return None
    told: dict[str, Any] = {}
    for column, value in image.items():
        kind = _REFERENCES.get(column)
        if kind is not None and value is not None:
            told[column.removesuffix("_id")] = names.get((kind, int(value)), f"#{value}")
        elif column not in _DERIVED and value not in (None, []):
            told[column] = value
    return told
