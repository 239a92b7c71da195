"""`digipoort plan`, `apply` and `export`: the directory as a text that is kept, compared and put in force."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from digipoort.cli import asking, contents, frame, output
from digipoort.cli.failures import Failure
from digipoort.directory import description, plan, queries, session, snapshot
from digipoort.directory.objects import Mailbox, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.directory.objects import DirectoryObject
    from digipoort.directory.plan import Change

EXIT_CHANGES: Final = 2
_FILES: Final = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE..."
)
_PRUNE: Final = click.option("--prune", is_flag=True, help="The files are all: remove what they do not describe.")
_PASSWORDS: Final = click.option(
    "--passwords",
    is_flag=True,
    help="Credentials that exist get the described passwords too; without it they keep theirs.",
)
_WORDS: Final = {plan.Added: "to add", plan.Changed: "to change", plan.Removed: "to remove"}


@click.command(name="plan")
@_FILES
@_PRUNE
@_PASSWORDS
def show_plan(files: tuple[Path, ...], *, prune: bool, passwords: bool) -> None:
    """Show what applying the description in FILE... (TOML) would change. Nothing is changed.

    What the files do not mention stays as it is, unless --prune is given; so does the password of a credential that
    exists, unless --passwords is. The format is described in digipoort/directory/description.py; `digipoort export`
    writes it.

    \b
    Example:  digipoort plan parties.toml flows.toml
    """
    wanted = _described(files)
    with session.reading(frame.admin_settings().directory_write_dsn) as connection:
        _show(plan.plan(snapshot.objects(connection), wanted, prune=prune, passwords=passwords))


@click.command()
@_FILES
@_PRUNE
@_PASSWORDS
@click.option("--check", is_flag=True, help="Change nothing; exit status 2 tells that something would be changed.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is removed.")
def apply(files: tuple[Path, ...], *, prune: bool, passwords: bool, check: bool, yes: bool) -> None:
    """Bring the directory to what FILE... (TOML) describes: all of it in one transaction, or nothing.

    A credential that exists keeps its password: a rotation, and a hash that authd replaced, outlive older files. With
    --passwords it gets the described one. All else becomes as described: what was disabled may be active again. A
    mailbox in which mail waits on this host is neither given to another party nor removed.

    \b
    Examples: digipoort apply parties.toml
              digipoort apply --check --prune /etc/digipoort/directory.d/*.toml
              digipoort apply --prune --passwords export.toml
    """
    wanted = _described(files)

    def planned(connection: Connection[TupleRow]) -> list[Change]:
        return plan.plan(snapshot.objects(connection), wanted, prune=prune, passwords=passwords)

    with session.reading(frame.admin_settings().directory_write_dsn) as connection:
        changes = planned(connection)
    _show(changes)
    if check:
        raise click.exceptions.Exit(EXIT_CHANGES if changes else 0)
    if any(isinstance(change, plan.Removed) for change in changes):
        asking.confirm("Remove what is marked with -?", yes=yes)
    if changes:
        _execute(changes, planned)


def _execute(shown: Sequence[Change], planned: Callable[[Connection[TupleRow]], list[Change]]) -> None:
    """Make the changes that were shown, and no others. Raises Failure."""
    with frame.changing() as connection:
        connection.execute(queries.LOCK_DIRECTORY)
        if planned(connection) != shown:
            raise Failure("The directory was changed meanwhile; nothing is applied. Run it again.", os.EX_TEMPFAIL)
        _require_no_mail(shown)
        plan.execute(connection, shown)


def _require_no_mail(changes: Sequence[Change]) -> None:
    """Refuse to take a mailbox from its party while mail waits in it on this host. Raises Failure.

    One that is added is no party's: after a restore mail may wait in it already.
    """
    for change in changes:
        if not isinstance(change, plan.Added) and isinstance(change.item, Mailbox):
            contents.require_no_mail(change.item.mailbox)


@click.command()
@click.option("--output", "-o", "file", type=click.Path(path_type=Path, dir_okay=False), help="A new file, mode 0600.")
def export(file: Path | None) -> None:
    """Write the whole directory as a description. It has the password hashes: keep it as you keep those.

    \b
    Example:  digipoort export -o directory.toml
    """
    with session.reading(frame.admin_settings().directory_write_dsn) as connection:
        texts = (description.text_of(item) for item in snapshot.objects(connection))
        if file is None:
            for text in texts:
                click.echo(text)
            return
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.writelines(f"{text}\n" for text in texts)


def _described(files: Sequence[Path]) -> list[DirectoryObject]:
    items = [item for file in files for item in description.read(file)]
    frame.require_usable(items)
    return items


def _show(changes: Sequence[Change]) -> None:
    """Write a line per change, and their number."""
    for change in changes:
        mark, words = _told(change)
        click.echo(output.printable(" ".join((mark, *key_of(change.item), *words))))
    kinds = Counter(type(change) for change in changes)
    counts = (f"{kinds[kind]} {word}" for kind, word in _WORDS.items())
    click.echo(", ".join(counts) if changes else "nothing to change")


def _told(change: Change) -> tuple[str, list[str]]:
    """Return a change's mark, and what there is to know of it."""
    if isinstance(change, plan.Added):
        return "+", list(_values(change.item))
    if isinstance(change, plan.Changed):
        return "~", [output.difference(*one) for one in change.differences()]
    return "-", []


def _values(item: DirectoryObject) -> Iterator[str]:
    """Yield what an object has beside its key and what is usual; never a password."""
    for field in fields(item):
        value = getattr(item, field.name)
        usual = value in (None, {}, field.default) or value in key_of(item)
        if field.name != "password" and not usual:
            yield f"{field.name}={output.plain(value)}"
