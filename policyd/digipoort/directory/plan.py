"""What stands between the directory as it is and as a description wants it: a pure comparison, and its execution.

What a description does not mention stays as it is, unless it is said to be the whole (`prune`). A credential that
exists keeps its password, unless the described ones are to replace it (`passwords`): what was done since the
description was written is newer, such as the rotation of a password that leaked, or authd's new hash for another
system's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from digipoort.directory import store
from digipoort.directory.objects import (
    KINDS,
    Address,
    Credential,
    DirectoryObject,
    FlowConnection,
    NewPassword,
    key_of,
)
from digipoort.passwords import PasswordHashError, verify_password

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow

# Nothing refers to them: gone first, what follows finds their places free.
_LEAVES: Final = (FlowConnection, Credential, Address)


class DescribedTwiceError(Exception):
    """Two objects of a description have the same natural key; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Added:
    """An object that the directory does not hold yet."""

    item: DirectoryObject


@dataclass(frozen=True, slots=True)
class Changed:
    """An object that gets other values; `item` has them."""

    before: DirectoryObject
    item: DirectoryObject

    def differences(self) -> Iterator[tuple[str, object, object]]:
        """Yield name, old and new value of what changes; a password's values are not told."""
        for field in fields(self.before):
            old, new = getattr(self.before, field.name), getattr(self.item, field.name)
            if old != new:
                yield (field.name, old, new) if field.name != "password" else (field.name, "(hidden)", "(another)")


@dataclass(frozen=True, slots=True)
class Removed:
    """An object that goes."""

    item: DirectoryObject


Change: TypeAlias = Added | Changed | Removed


def plan(
    current: Iterable[DirectoryObject], wanted: Iterable[DirectoryObject], *, prune: bool, passwords: bool = False
) -> list[Change]:
    """Return the changes that lead from `current` to `wanted`, in the order of kinds and keys.

    `passwords`: credentials that exist get the described password too, where it is another one. Raises
    DescribedTwiceError.
    """
    there = {key_of(item): item for item in current}
    described: dict[tuple[str, ...], DirectoryObject] = {}
    for item in wanted:
        if described.setdefault(key_of(item), item) is not item:
            raise DescribedTwiceError(f"{' '.join(key_of(item))} is described twice.")
    changes: list[Change] = [Added(item) for key, item in described.items() if key not in there]
    kept = ((there[key], item) for key, item in described.items() if key in there)
    changed = (Changed(before, _with_password(before, item, passwords=passwords)) for before, item in kept)
    changes += [change for change in changed if any(change.differences())]
    if prune:
        changes += [Removed(item) for key, item in there.items() if key not in described]
    order = list(KINDS)
    return sorted(changes, key=lambda change: (order.index(type(change.item)), key_of(change.item)))


def execute(connection: Connection[TupleRow], changes: Iterable[Change]) -> None:
    """Make the changes, in the caller's transaction. Raises what store.add, change and remove raise.

    What nothing refers to goes first, and what others may still refer to goes last, so that names, physical addresses
    and certificates can move from one object to another.
    """
    listed = list(changes)
    gone = [change.item for change in reversed(listed) if isinstance(change, Removed)]
    _remove(connection, [item for item in gone if isinstance(item, _LEAVES)])
    for released in _released(listed):
        store.change(connection, released)
    for change in listed:
        if isinstance(change, Added):
            store.add(connection, change.item)
        elif isinstance(change, Changed):
            store.change(connection, change.item)
    _remove(connection, [item for item in gone if not isinstance(item, _LEAVES)])


def _remove(connection: Connection[TupleRow], items: Iterable[DirectoryObject]) -> None:
    for item in items:
        store.remove(connection, item)
    store.remove_unused_targets(connection)


def _released(changes: Sequence[Change]) -> list[Credential]:
    """Return the credentials, as they were, that have to let go of a certificate before another can have it.

    It suffices for one login at a time, also within a transaction.
    """
    wanted = {_certificate(change.item) for change in changes if not isinstance(change, Removed)} - {None}
    before = [change.before for change in changes if isinstance(change, Changed) and _moves_from(change, wanted)]
    return [replace(item, certificate_suffices=False) for item in before if isinstance(item, Credential)]


def _moves_from(change: Changed, wanted: Collection[object]) -> bool:
    held = _certificate(change.before)
    return held in wanted and held != _certificate(change.item)


def _certificate(item: DirectoryObject) -> tuple[str | None, str | None] | None:
    """Return the certificate that suffices for an object, None when none does."""
    if isinstance(item, Credential) and item.certificate_suffices:
        return item.certificate_fingerprint, item.certificate_subject
    return None


def _with_password(before: DirectoryObject, item: DirectoryObject, *, passwords: bool) -> DirectoryObject:
    """Return `item`, a credential with the stored hash when its password is not to be replaced, or is the same."""
    if not (isinstance(before, Credential) and isinstance(item, Credential)):
        return item
    if passwords and not _is_stored(before.password, item.password):
        return item
    return replace(item, password=before.password)


def _is_stored(stored: str | NewPassword, wanted: str | NewPassword) -> bool:
    if isinstance(stored, NewPassword) or isinstance(wanted, str):
        return stored == wanted
    try:
        return verify_password(stored, wanted.octets)
    except PasswordHashError:
        return False
