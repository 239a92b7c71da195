"""`digipoort`, the admin's program: the directory, the maps and the settings. `main` is its entry point.

Exit codes: 0 done; 1 refused (a change, a message that `check` or `lint` judges, contents that cannot be published);
2 wrong usage; 75 (EX_TEMPFAIL) try again later, the directory is down or busy; 78 (EX_CONFIG) the settings cannot be
used.
"""

from __future__ import annotations

import click

from digipoort.cli import (
    addresses,
    auth,
    check,
    completion,
    connections,
    credentials,
    declare,
    directory,
    doctor,
    history,
    lint,
    mailboxes,
    maps,
    parties,
    settings,
)
from digipoort.cli.failures import Program


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Administer the message gateway: who may exchange which messages with whom, and what this host knows of it.

    `digipoort completion SHELL` prints a script by which the shell completes commands, codes and addresses.
    """


for _command in (
    directory.migrate,
    directory.seed,
    declare.show_plan,
    declare.apply,
    declare.export,
    history.history,
    parties.party,
    parties.flow,
    addresses.destination,
    mailboxes.mailbox,
    addresses.address,
    connections.connection,
    credentials.credential,
    auth.auth,
    check.check,
    lint.lint,
    maps.maps,
    doctor.doctor,
    settings.settings,
    completion.completion,
):
    main.add_command(_command)
