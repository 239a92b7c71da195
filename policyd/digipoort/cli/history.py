"""`digipoort history`: who changed an object, when, and how."""

from __future__ import annotations

import json

import click

from digipoort.cli import frame, output
from digipoort.cli.failures import Failure
from digipoort.directory import names, session
from digipoort.directory.history import Entry
from digipoort.directory.history import history as changes_of


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def history(name: str, *, as_json: bool) -> None:
    """Show every change of NAME: an address, a login, a party's or a flow's code, a physical domain, a mailbox's id.

    What is gone has a history too. An address's connections are shown with it.

    \b
    Example:  digipoort history expeditie@partij.example
    """
    with session.reading(frame.admin_settings().directory_write_dsn) as connection:
        entries = changes_of(connection, name)
        near = [] if entries else names.nearest_of_any(connection, name)
    if not entries:
        raise Failure(f"Nothing in the directory has, or had, the name {name}.{names.question(near)}")
    if as_json:
        click.echo(json.dumps([_as_json(entry) for entry in entries], default=str, ensure_ascii=False, indent=2))
        return
    rows = [(f"{entry.at:%Y-%m-%d %H:%M:%S%z}", entry.actor, entry.kind, _told(entry)) for entry in entries]
    output.show(("at", "who", "what", "change"), rows, as_json=False)


def _as_json(entry: Entry) -> dict[str, object]:
    return {"at": entry.at, "who": entry.actor, "what": entry.kind, "before": entry.before, "after": entry.after}


def _told(entry: Entry) -> str:
    differences = entry.differences()
    if entry.before is None:
        return "added " + " ".join(f"{column}={output.plain(new)}" for column, (_, new) in differences.items())
    if entry.after is None:
        return "removed " + " ".join(f"{column}={output.plain(old)}" for column, (old, _) in differences.items())
    # The log never has a hash: a credential's row that was written without a difference has another one.
    told = (output.difference(column, old, new) for column, (old, new) in differences.items())
    return ", ".join(told) or ("password" if entry.kind == "credential" else "written again")
