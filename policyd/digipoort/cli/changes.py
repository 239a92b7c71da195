"""How one object is changed: only what is told, and as it is told only if nobody else changed it meanwhile."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import click

from digipoort.cli import contents, frame, output
from digipoort.cli.failures import Failure
from digipoort.directory import lookup, plan, queries, snapshot, store
from digipoort.directory.objects import Address, Destination, DirectoryObject, Flow, Mailbox, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg import Connection
    from psycopg.rows import TupleRow

# Files of a gateway host are made from these.
_PUBLISHED: Final = (Flow, Destination, Address)


def publishing(kind: type[DirectoryObject]) -> str:
    """Return what is to be said after a change of what hosts have in their files."""
    return "; hosts learn it by digipoort maps publish" if kind in _PUBLISHED else ""


def words(item: DirectoryObject) -> str:
    """Return what an object is called in a sentence."""
    return output.printable(" ".join(key_of(item)))


def require_unused(
    connection: Connection[TupleRow], kind: type[DirectoryObject], key: Mapping[str, Any]
) -> DirectoryObject:
    """Return the object with a key. Raises Failure, with what refers to it, when something does.

    Mail that waits on this host is a use of its mailbox.
    """
    item = snapshot.one(connection, kind, key)
    references = lookup.references(connection, kind, key)
    if references:
        raise Failure(f"The {words(item)} is still in use: {'; '.join(map(str, references))}.")
    if isinstance(item, Mailbox):
        contents.require_no_mail(item.mailbox)
    return item


def change(kind: type[DirectoryObject], key: Mapping[str, Any], given: Mapping[str, object]) -> None:
    """Give the object with this key the values that are given, and tell what that changes.

    None is not given, an empty text takes a value away. Raises click.UsageError when nothing is given.
    """
    values: dict[str, Any] = {
        name: None if value == "" else value for name, value in given.items() if value is not None
    }
    if not values:
        raise click.UsageError("Give at least one option: what is to be changed?")
    with frame.changing() as connection:
        # What is read is what is written over: nobody else writes in between.
        connection.execute(queries.LOCK_DIRECTORY)
        before = snapshot.one(connection, kind, key)
        changed = plan.Changed(before, dataclasses.replace(before, **values))
        differences = list(changed.differences())
        if differences:
            store.change(connection, changed.item)
            store.remove_unused_targets(connection)
    _tell(changed.item, differences)


def _tell(item: DirectoryObject, differences: Iterable[tuple[str, object, object]]) -> None:
    told = ", ".join(output.difference(*one) for one in differences)
    said = f"changed {words(item)}: {told}{publishing(type(item))}" if told else f"{words(item)} is so already"
    click.echo(output.printable(said))
