"""`digipoort maps`: what this host's Postfix and milter read instead of the directory, and how it gets there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from digipoort import generations
from digipoort import maps as publication
from digipoort.cli import frame, output
from digipoort.cli.commands import Commands

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from digipoort.settings import AdminSettings


@click.group(cls=Commands)
def maps() -> None:
    """Manage what this host's Postfix and milter read instead of the directory."""


@maps.command()
@click.option(
    "--allow-older", is_flag=True, help="Publish although this host has published a later state: after a restore."
)
@click.option("--force", is_flag=True, help="Publish although very many addresses vanish.")
def publish(*, allow_older: bool, force: bool) -> None:
    """Publish the directory on this host; unchanged files are not touched. Ends what `rollback` began.

    \b
    Example:  digipoort maps publish
    """
    settings = _publisher_settings()
    logger = _configured_log(settings)
    try:
        published = publication.publish(settings, allow_older=allow_older, force=force)
    except Exception as error:
        logger.error("maps_not_published", detail=str(error))  # noqa: TRY400 - the end of the program tells the rest
        raise
    logger.info("maps_published", **published.told())
    click.echo(f"published {_told(published)}")


@maps.command()
@click.option(
    "--generation", type=int, metavar="NUMBER", help="Of `maps generations`; otherwise the one before the last."
)
def rollback(*, generation: int | None) -> None:
    """Go back to maps that were published before. Nothing is published by itself until `digipoort maps publish`.

    \b
    Examples: digipoort maps rollback
              digipoort maps rollback --generation 3
    """
    settings = _publisher_settings()
    logger = _configured_log(settings)
    published = publication.roll_back(settings, generation)
    logger.warning("maps_rolled_back", **published.told())
    click.echo(f"back to {_told(published)}")


def _told(published: publication.Published) -> str:
    files = published.changed_files()
    return f"change {published.counter}, generation {published.generation}; changed files: {files}"


@maps.command()
def diff() -> None:
    """Show what a publication would change, physical addresses included. Nothing is changed.

    \b
    Example:  digipoort maps diff
    """
    lines = 0
    for name, mark, line in publication.differences(_publisher_settings()):
        click.echo(output.printable(f"{mark} {name}: {line.decode('utf-8', 'replace').rstrip()}"))
        lines += 1
    if not lines:
        click.echo("nothing to publish")


@maps.command(name="generations")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def list_generations(*, as_json: bool) -> None:
    """List the published states that are kept, the last first.

    \b
    Example:  digipoort maps generations
    """
    rows = [
        (one.number, one.counter, one.published_at) for one in generations.kept(frame.admin_settings().maps_directory)
    ]
    output.show(("generation", "change", "published"), rows, as_json=as_json)


def _publisher_settings() -> AdminSettings:
    """Return the settings, and give up root for the owner of the maps: `digipoort-maps` must be able to change them."""
    settings = frame.admin_settings()
    become_owner_of(settings.maps_directory)
    return settings


def become_owner_of(folder: Path) -> None:
    """Let a process of root's go on as the folder's owner, with its group and no other. Raises OSError."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
        # libpq takes a certificate of root's that it may not read for a fault.
        os.environ["HOME"] = "/nonexistent"


def _configured_log(settings: AdminSettings) -> FilteringBoundLogger:
    # Not above: structlog imports all of rich, and these two commands alone write to the log.
    from digipoort import log

    return log.configure("digipoort", settings.syslog_socket, settings.log_level)
