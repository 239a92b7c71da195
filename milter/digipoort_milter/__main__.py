"""`digipoort-milter ROLE`: the program's front."""

from __future__ import annotations

import os
import sys

import click
import milter

from digipoort import log, settings
from digipoort_milter.runtime import ROLES, serve


@click.command()
@click.argument("role", type=click.Choice(sorted(ROLES)))
def main(role: str) -> None:
    """Serve one ROLE of the gateway's milter on its UNIX socket, until SIGTERM.

    Exit status: 0 after SIGTERM, 78 (EX_CONFIG) when the settings cannot be used, 71 (EX_OSERR) when the socket cannot.
    """
    try:
        loaded = settings.load(settings.MilterSettings)
    except settings.SettingsError as error:
        for fault in error.faults:
            click.echo(fault, err=True)
        sys.exit(os.EX_CONFIG)
    logger = log.configure(f"digipoort-milter-{role}", loaded.syslog_socket, loaded.log_level)
    try:
        serve(role, loaded, logger)
    except (milter.error, OSError) as error:
        logger.error("milter_cannot_serve", role=role, error=str(error))  # noqa: TRY400 - the sentence says it all
        click.echo(f"The milter cannot serve: {error}", err=True)
        sys.exit(os.EX_OSERR)


if __name__ == "__main__":
    main()
