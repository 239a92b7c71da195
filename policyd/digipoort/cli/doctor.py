"""`digipoort doctor`: looks at this host's part of the directory chain, and says what is wrong and what to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from digipoort import doctor as checks
from digipoort import loginprobe, mapstate
from digipoort.cli import output
from digipoort.cli.failures import EXIT_REFUSED
from digipoort.directory import condition, session
from digipoort.directory.migrate import packaged_migrations
from digipoort.settings import PROGRAMS, AdminSettings, SaslSettings, SettingsError, load, read_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from digipoort.directory.condition import Server

_SERVER_SECONDS: Final = 15.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of lines.")
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Look at settings, the directory's servers, the published maps and the way of a login; tell how to mend a fault.

    The exit code is 0 when all is well or there are only warnings, 1 for a fault, 75 when no server of DIRECTORY_DSN
    answers.

    \b
    Example:  digipoort doctor --json
    """
    try:
        variables = read_variables()
        settings = load(AdminSettings, variables)
    except SettingsError as error:
        findings = [checks.Finding("settings", checks.Level.FAULT, fault) for fault in error.faults]
        _show(findings, as_json=as_json)
        context.exit(EXIT_REFUSED)
    facts = _facts(settings, variables)
    findings = checks.diagnose(facts)
    _show(findings, as_json=as_json)
    if isinstance(facts.reader, str):
        context.exit(os.EX_TEMPFAIL)
    if any(finding.level is checks.Level.FAULT for finding in findings):
        context.exit(EXIT_REFUSED)


def _facts(settings: AdminSettings, variables: Mapping[str, str]) -> checks.Facts:
    writer = _server(settings.directory_write_dsn, settings.directory_timezone)
    written = None if isinstance(writer, str) else writer.counter
    return checks.Facts(
        setting_faults=_setting_faults(variables),
        timezone=settings.directory_timezone,
        known_migrations=tuple(migration.name for migration in packaged_migrations()),
        writer=writer,
        reader=_server(settings.directory_dsn, settings.directory_timezone, written),
        maps=_maps(settings),
        relay_fault=_login_fault(variables, "sasl_socket"),
        dovecot_fault=_login_fault(variables, "dovecot_auth_socket"),
    )


def _setting_faults(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong for any program, each once."""
    faults: dict[str, None] = {}
    for kind in PROGRAMS.values():
        try:
            load(kind, variables)
        except SettingsError as error:
            faults |= dict.fromkeys(error.faults)
    return tuple(faults)


def _server(dsn: str, timezone: str, expected: int | None = None) -> Server | str:
    """Return a server's condition, or why it is not known."""
    try:
        with session.connected(dsn) as connection, session.bounded(connection, _SERVER_SECONDS):
            return condition.observe(connection, timezone, expected)
    except session.DirectoryFaultError as error:
        return str(error)


def _maps(settings: AdminSettings) -> mapstate.MapState | str:
    try:
        return mapstate.look(settings)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"


def _login_fault(variables: Mapping[str, str], socket: str) -> str:
    try:
        return loginprobe.fault(getattr(load(SaslSettings, variables), socket))
    except SettingsError as error:
        return str(error.faults[0])


def _show(findings: Sequence[checks.Finding], *, as_json: bool) -> None:
    if as_json:
        rows = [(one.check, one.level.value, one.found, one.remedy) for one in findings]
        output.show(("check", "level", "found", "remedy"), rows, as_json=True)
        return
    lines = [(one.level.value, one.check, one.found + (f" -> {one.remedy}" if one.remedy else "")) for one in findings]
    for line in output.table(lines):
        click.echo(line)
