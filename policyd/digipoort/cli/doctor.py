"""`digipoort doctor`: looks at this host, part by part, and says what is wrong and what to do."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

from digipoort.cli import output
from digipoort.cli.failures import EXIT_REFUSED
from digipoort.doctor.findings import Finding, Level
from digipoort.doctor.parts import PARTS
from digipoort.settings import AdminSettings, SettingsError, load, read_variables

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...", type=click.Choice([part.name for part in PARTS]))
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of lines.")
@click.pass_context
def doctor(context: click.Context, parts: tuple[str, ...], *, as_json: bool) -> None:
    """Look at this host and tell what is wrong, and how to mend it: a line each, ok, warning or fault.

    PART is one or more of versions, files, directory, tables, units, code, sockets, wiring, certificates, doors,
    queue, mailboxes, disk and time; without one, all. Run it as root. It changes nothing and prints no secret. The exit
    status is 0 when there is no fault, and 1 when there is one; warnings do not count.

    \b
    Examples: digipoort doctor
              digipoort doctor directory tables
              digipoort doctor --json
    """
    variables: dict[str, str] | None = None
    try:
        variables = read_variables()
        settings = load(AdminSettings, variables)
    except SettingsError as error:
        from digipoort.doctor import programs

        told = error.faults if variables is None else programs.faults(variables)
        findings = [Finding("settings", Level.FAULT, one, "mend the settings file") for one in told]
    else:
        # Not above: other commands need none of it.
        from digipoort.doctor import examination, host

        chosen = [part for part in PARTS if part.name in parts or not parts]
        here = host.look(variables, settings)
        findings = [*examination.unseen(here, chosen), *examination.examine(here, chosen)]
    _show(findings, as_json=as_json)
    if any(finding.level is Level.FAULT for finding in findings):
        context.exit(EXIT_REFUSED)


def _show(findings: Sequence[Finding], *, as_json: bool) -> None:
    # What other programs said may have characters that this terminal has not: no reason to say nothing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if as_json:
        rows = [(one.check, one.level.value, one.found, one.remedy) for one in findings]
        output.show(("check", "level", "found", "remedy"), rows, as_json=True)
        return
    lines = [(one.level.value, one.check, one.found + (f" -> {one.remedy}" if one.remedy else "")) for one in findings]
    for line in output.table(lines):
        click.echo(line)
