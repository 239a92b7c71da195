"""What a directory starts with. Seeding is idempotent: what is there already is never changed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from digipoort.directory import description, store

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.directory.objects import DirectoryObject


@dataclass(frozen=True, slots=True)
class Seeded:
    """How many objects a seed added, and how many were there already."""

    added: int
    present: int


def packaged_seed() -> list[DirectoryObject]:
    """Return the two government parties and the eleven flows that this version brings."""
    file = resources.files("digipoort.directory") / "flows.toml"
    return description.parse(file.read_text(encoding="utf-8"), Path())


def apply(connection: Connection[TupleRow], items: list[DirectoryObject]) -> Seeded:
    """Add the objects that the directory does not hold yet, in the caller's transaction; nothing else is changed.

    Raises what store.add raises.
    """
    added = 0
    for item in items:
        if not store.holds(connection, item):
            store.add(connection, item)
            added += 1
    return Seeded(added, len(items) - added)
