"""`digipoort settings`: what is in force, as each program reads it."""

from __future__ import annotations

import os

import click

from digipoort.cli import output
from digipoort.cli.failures import Failure
from digipoort.settings import PROGRAMS, SettingsError, effective, load, read_variables


@click.command()
@click.argument("program", required=False, type=click.Choice(list(PROGRAMS)))
def settings(program: str | None) -> None:
    """Print the settings in force for PROGRAM (all programs when not given), passwords masked, and what each means.

    \b
    Example:  digipoort settings policyd
    """
    variables = read_variables()
    rows: list[tuple[str, str, str, str]] = []
    faults: list[str] = []
    for name in [program] if program else PROGRAMS:
        try:
            rows += [(name, *row) for row in effective(load(PROGRAMS[name], variables))]
        except SettingsError as error:
            faults += [f"{name}: {fault}" for fault in error.faults]
    if rows:
        output.show(("program", "setting", "value", "meaning"), rows, as_json=False)
    if faults:
        raise Failure("\n".join(faults), os.EX_CONFIG)
