"""`digipoort migrate` and `digipoort seed`: bring a directory to this version, and fill it."""

from __future__ import annotations

from pathlib import Path

import click

from digipoort.cli import frame
from digipoort.directory import description, session
from digipoort.directory import seed as seeds
from digipoort.directory.migrate import migrate as apply_migrations


@click.command()
def migrate() -> None:
    """Bring the directory's schema to this version.

    \b
    Example:  digipoort migrate
    """
    with session.connected(frame.admin_settings().directory_write_dsn) as connection:
        applied = apply_migrations(connection)
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to apply")


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def seed(file: Path | None) -> None:
    """Add what FILE (TOML) lists; without FILE the government parties and the message flows.

    What the directory holds already is not changed. All is added, or nothing. The format of FILE is described in
    digipoort/directory/description.py.

    \b
    Examples: digipoort seed
              digipoort seed parties.toml
    """
    items = seeds.packaged_seed() if file is None else description.read(file)
    frame.require_usable(items)
    with frame.changing() as connection:
        seeded = seeds.apply(connection, items)
    click.echo(f"added {seeded.added}, present already {seeded.present}")
