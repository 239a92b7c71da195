"""`digipoort KIND list`, for every kind of object: it reads the server of DIRECTORY_DSN, which may be a replica."""

from __future__ import annotations

import click

from digipoort.cli import frame, output
from digipoort.directory import session, store


def object_group(kind: str, meaning: str) -> click.Group:
    """Return the group of one kind of object (a key of store.LISTS), with its `list`."""
    group = click.Group(kind, help=meaning)

    @group.command("list", help=f"List every {kind}.")
    @click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
    def listing(*, as_json: bool) -> None:
        with session.reading(frame.admin_settings().directory_dsn) as connection:
            listed = store.listed(connection, kind)
        output.show(listed.columns, listed.rows, as_json=as_json)

    return group
