"""What every kind of object can do alike: `list`, `show` and `remove`.

`list` and `show` read the server of DIRECTORY_DSN, which may be a replica.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

import click

from digipoort.cli import asking, changes, frame, output
from digipoort.cli.commands import Commands
from digipoort.cli.failures import Failure
from digipoort.cli.parameters import FILTERS, KEYS
from digipoort.directory import lookup, names, queries, session, snapshot, store
from digipoort.directory.objects import KINDS, Address, DirectoryObject, Mailbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow

_SAMPLES: Final[Mapping[str, str]] = {"party": "AALSMEER", "kind": "private"}


def object_group(kind: type[DirectoryObject], meaning: str) -> click.Group:
    """Return the group of one kind of object, with its `list`, `show` and `remove`."""
    group = Commands(KINDS[kind], help=meaning)
    group.add_command(_list_command(kind))
    group.add_command(_show_command(kind))
    group.add_command(_remove_command(kind))
    return group


def _list_command(kind: type[DirectoryObject]) -> click.Command:
    name = KINDS[kind]
    filters = lookup.filters(kind)

    def listing(*, limit: int | None, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401 - the values of filters
        settings = frame.admin_settings()
        with session.reading(settings.directory_dsn) as connection:
            for parameter, value in wanted.items():
                named = FILTERS[parameter][1]
                if named is not None and value is not None:
                    names.row_id(connection, named, value)
            with lookup.listed(connection, kind, wanted, limit, settings.directory_timezone) as listed:
                shown = listed if as_json else listed.without(lookup.details(kind))
                output.show(shown.columns, shown.rows, as_json=as_json)

    filtered = f" --{filters[0]} {_SAMPLES[filters[0]]}" if filters else " --limit 10"
    return click.Command(
        "list",
        callback=listing,
        help=f"List every {name}, or those that the options tell.\n\n\b\nExample:  digipoort {name} list{filtered}",
        params=[
            *(FILTERS[parameter][0] for parameter in filters),
            click.Option(["--limit"], type=click.IntRange(min=1), metavar="NUMBER", help="No more than so many."),
            click.Option(["--json", "as_json"], is_flag=True, help="A JSON list instead of a table."),
        ],
    )


def _show_command(kind: type[DirectoryObject]) -> click.Command:
    name = KINDS[kind]
    arguments, sample = KEYS[kind]

    def show(*, as_json: bool, **key: Any) -> None:  # noqa: ANN401 - what names an object of this kind
        settings = frame.admin_settings()
        with session.reading(settings.directory_dsn) as connection:
            _show(lookup.shown(connection, kind, key, settings.directory_timezone), as_json=as_json)

    return click.Command(
        "show",
        callback=show,
        help=(
            f"Show one {name}, and what refers to it: the first {lookup.MAX_REFERENCES} of each kind, and how many "
            f"more.\n\n\b\nExample:  digipoort {name} show {sample}"
        ),
        params=[*arguments, click.Option(["--json", "as_json"], is_flag=True, help="A JSON object.")],
    )


def _show(shown: lookup.Shown, *, as_json: bool) -> None:
    if as_json:
        referring = {one.kind: {"total": one.total, "first": one.first} for one in shown.references}
        item = {**shown.values, "referred_to_by": referring}
        click.echo(json.dumps(item, default=str, ensure_ascii=False, indent=2))
        return
    rows: list[Sequence[object]] = [(name, None if value == "" else value) for name, value in shown.values.items()]
    for one in shown.references:
        rows += [(f"used by {one.kind}", name) for name in one.first]
        if one.total > len(one.first):
            rows.append((f"used by {one.kind}", f"and {one.total - len(one.first)} more"))
    for line in output.table(rows):
        click.echo(line)


def _remove_command(kind: type[DirectoryObject]) -> click.Command:
    name = KINDS[kind]
    arguments, sample = KEYS[kind]

    def remove(*, yes: bool, **key: Any) -> None:  # noqa: ANN401 - what names an object of this kind
        with session.reading(frame.admin_settings().directory_write_dsn) as connection:
            item, references = _removable(connection, kind, key)
        words = changes.words(item)
        with_it = f" and its connections ({references[0]})" if references else ""
        asking.confirm(f"Remove {words}{with_it}?", yes=yes)
        with frame.changing() as change:
            change.execute(queries.LOCK_DIRECTORY)
            if _removable(change, kind, key) != (item, references):
                raise Failure(f"The {words} was changed meanwhile; it is not removed. Run it again.", os.EX_TEMPFAIL)
            store.remove(change, item)
            store.remove_unused_targets(change)
        click.echo(f"removed {words}{changes.publishing(kind)}")

    with_it = " and its connections" if kind is Address else ""
    waiting = (
        " Mail that waits in it on this host is a use; empty it on every other host first: a mailbox with its id would "
        "have what is left."
        if kind is Mailbox
        else ""
    )
    return click.Command(
        "remove",
        callback=remove,
        help=(
            f"Remove one {name}{with_it}; what is still in use is not removed.{waiting}\n\n\b\n"
            f"Example:  digipoort {name} remove {sample}"
        ),
        params=[*arguments, click.Option(["--yes"], is_flag=True, help="Do not ask first.")],
    )


def _removable(
    connection: Connection[TupleRow], kind: type[DirectoryObject], key: Mapping[str, Any]
) -> tuple[DirectoryObject, tuple[lookup.References, ...]]:
    """Return an object with what goes along with it: an address's connections. Raises Failure when it is in use."""
    if kind is Address:
        return snapshot.one(connection, kind, key), lookup.references(connection, kind, key)
    return changes.require_unused(connection, kind, key), ()
