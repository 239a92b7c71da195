"""`digipoort-milter ROLE`: the program's front."""

from __future__ import annotations

import os
import sys

import click
import milter

from digipoort import daemon
from digipoort.settings import MilterSettings
from digipoort_milter.runtime import ROLES, serve


@click.command()
@click.argument("role", type=click.Choice(sorted(ROLES)))
def main(role: str) -> None:
    """Serve one ROLE of the gateway's milter on its UNIX socket, until SIGTERM.

    Exit status: 0 after SIGTERM, 78 (EX_CONFIG) when the settings cannot be used, 71 (EX_OSERR) when the socket cannot.
    """
    settings, logger = daemon.begin(f"digipoort-milter-{role}", MilterSettings)
    try:
        serve(role, settings, logger)
    except (milter.error, OSError) as error:
        logger.error("milter_cannot_serve", role=role, error=str(error))  # noqa: TRY400 - the sentence says it all
        click.echo(f"The milter cannot serve: {error}", err=True)
        sys.exit(os.EX_OSERR)


if __name__ == "__main__":
    main()
