"""`digipoort maps publish`: brings what the directory holds to this host's Postfix and milter."""

from __future__ import annotations

import click

from digipoort import log
from digipoort import maps as publication
from digipoort.cli import frame


@click.group()
def maps() -> None:
    """Manage what this host's Postfix and milter read instead of the directory."""


@maps.command()
@click.option(
    "--allow-older", is_flag=True, help="Publish although this host has published a later state: after a restore."
)
def publish(*, allow_older: bool) -> None:
    """Publish the directory on this host; unchanged files are not touched."""
    settings = frame.admin_settings()
    logger = log.configure("digipoort", settings.syslog_socket, settings.log_level)
    try:
        published = publication.publish(settings, allow_older=allow_older)
    except Exception as error:
        logger.error("maps_not_published", detail=str(error))  # noqa: TRY400 - the end of the program tells the rest
        raise
    changed = ",".join(published.changed) or "-"
    logger.info(
        "maps_published",
        elapsed_ms=published.elapsed_ms,
        counter=published.counter,
        changed=changed,
        **published.counts,
    )
    click.echo(f"published change {published.counter}; changed files: {changed}")
