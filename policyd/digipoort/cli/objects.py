"""What the commands of every kind of object have in common: `list`, `show`, `remove`, and how one is changed.

`list` and `show` read the server of DIRECTORY_DSN, which may be a replica.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

import click

from digipoort.cli import asking, completion, frame, output
from digipoort.cli.commands import Commands
from digipoort.cli.failures import Failure
from digipoort.directory import lookup, names, plan, queries, session, snapshot, store
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
    key_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

DATE: Final = click.DateTime(["%Y-%m-%d"])
# Files of a gateway host are made from these.
_PUBLISHED: Final = (Flow, Destination, Address)
_PUBLISHING: Final = "; hosts learn it by digipoort maps publish"


def day(_context: click.Context, _parameter: click.Parameter, value: datetime | None) -> date | None:
    """Return the day of an option of type DATE."""
    return None if value is None else value.date()


def _key(kind: type[DirectoryObject], metavar: str, sample: str) -> tuple[tuple[click.Parameter, ...], str]:
    (parameter,) = names.key_parameters(kind)
    return (click.Argument([parameter], metavar=metavar, shell_complete=completion.names_of(kind)),), sample


# What names one object on the command line, each by the parameter of the statements that find it; and an example.
_KEYS: Final[Mapping[type[DirectoryObject], tuple[tuple[click.Parameter, ...], str]]] = {
    Party: _key(Party, "CODE", "AALSMEER"),
    Flow: _key(Flow, "CODE", "AGS"),
    Destination: _key(Destination, "DOMAIN", "dienst.example"),
    Mailbox: _key(Mailbox, "ID", "b1f0aa27c3d94e01"),
    Address: _key(Address, "ADDRESS", "bloemen@partij.example"),
    FlowConnection: (
        (
            click.Argument(["address"], shell_complete=completion.ADDRESSES),
            click.Argument(["flow"], shell_complete=completion.FLOWS),
            click.Option(
                ["--from", "valid_from"],
                type=DATE,
                callback=day,
                help="The first day; needed when the address has more than one connection to the flow.",
            ),
        ),
        "bloemen@partij.example AGS",
    ),
    Credential: _key(Credential, "LOGIN", "bloemen"),
}


def _filter(kind: type[DirectoryObject], option: str, metavar: str, meaning: str) -> click.Option:
    return click.Option([option], metavar=metavar, help=meaning, shell_complete=completion.names_of(kind))


# By what lists are filtered, and the kind of object that a filter names.
_FILTERS: Final[Mapping[str, tuple[click.Option, type[DirectoryObject] | None]]] = {
    "kind": (
        click.Option(["--kind"], type=click.Choice(["private", "government"]), help="Only parties of this kind."),
        None,
    ),
    "party": (_filter(Party, "--party", "CODE", "Only what is this party's."), Party),
    "flow": (_filter(Flow, "--flow", "CODE", "Only what is of this flow."), Flow),
    "mailbox": (_filter(Mailbox, "--mailbox", "ID", "Only what leads to this mailbox."), Mailbox),
    "domain": (_filter(Destination, "--domain", "DOMAIN", "Only what leads to this physical domain."), Destination),
    "address": (_filter(Address, "--address", "ADDRESS", "Only those of this address."), Address),
}


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

    def listing(*, limit: int | None, as_json: bool, **wanted: str | None) -> None:
        with session.reading(frame.admin_settings().directory_dsn) as connection:
            for parameter, value in wanted.items():
                named = _FILTERS[parameter][1]
                if named is not None and value is not None:
                    names.row_id(connection, named, value)
            with lookup.listed(connection, kind, wanted, limit) as listed:
                output.show(listed.columns, listed.rows, as_json=as_json)

    filtered = f" --{filters[0]} {_SAMPLES[filters[0]]}" if filters else " --limit 10"
    return click.Command(
        "list",
        callback=listing,
        help=f"List every {name}, or those that the options tell.\n\n\b\nExample:  digipoort {name} list{filtered}",
        params=[
            *(_FILTERS[parameter][0] for parameter in filters),
            click.Option(["--limit"], type=click.IntRange(min=1), metavar="NUMBER", help="No more than so many."),
            click.Option(["--json", "as_json"], is_flag=True, help="A JSON list instead of a table."),
        ],
    )


_SAMPLES: Final[Mapping[str, str]] = {"party": "AALSMEER", "kind": "private"}


def _show_command(kind: type[DirectoryObject]) -> click.Command:
    name = KINDS[kind]
    arguments, sample = _KEYS[kind]

    def show(*, as_json: bool, **key: Any) -> None:  # noqa: ANN401 - what names an object of this kind
        with session.reading(frame.admin_settings().directory_dsn) as connection:
            _show(lookup.shown(connection, kind, key), as_json=as_json)

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
    rows: list[Sequence[object]] = list(shown.values.items())
    for one in shown.references:
        rows += [(f"used by {one.kind}", name) for name in one.first]
        if one.total > len(one.first):
            rows.append((f"used by {one.kind}", f"and {one.total - len(one.first)} more"))
    for line in output.table(rows):
        click.echo(line)


def _remove_command(kind: type[DirectoryObject]) -> click.Command:
    name = KINDS[kind]
    arguments, sample = _KEYS[kind]

    def remove(*, yes: bool, **key: Any) -> None:  # noqa: ANN401 - what names an object of this kind
        with session.reading(frame.admin_settings().directory_write_dsn) as connection:
            item = snapshot.one(connection, kind, key)
            references = lookup.references(connection, kind, key)
        words = output.printable(" ".join(key_of(item)))
        if references and kind is not Address:
            raise Failure(f"The {words} is still in use: {'; '.join(map(str, references))}.")
        with_it = f" and its connections ({references[0]})" if references else ""
        asking.confirm(f"Remove {words}{with_it}?", yes=yes)
        with frame.changing() as change:
            store.remove(change, item)
            store.remove_unused_targets(change)
        click.echo(f"removed {words}{_PUBLISHING if kind in _PUBLISHED else ''}")

    with_it = " and its connections" if kind is Address else ""
    return click.Command(
        "remove",
        callback=remove,
        help=(
            f"Remove one {name}{with_it}; what is still in use is not removed.\n\n\b\n"
            f"Example:  digipoort {name} remove {sample}"
        ),
        params=[*arguments, click.Option(["--yes"], is_flag=True, help="Do not ask first.")],
    )


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
    publishing = _PUBLISHING if isinstance(item, _PUBLISHED) else ""
    words = " ".join(key_of(item))
    click.echo(output.printable(f"changed {words}: {told}{publishing}" if told else f"{words} is so already"))
