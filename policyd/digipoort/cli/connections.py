"""`digipoort connection`: which private address takes part in which flow, and when."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import click

from digipoort.cli import asking, changes, completion, frame, objects, parameters
from digipoort.directory import store
from digipoort.directory.objects import FlowConnection

connection = objects.object_group(FlowConnection, "Which private address takes part in which flow, and when.")
_ADDRESS = click.argument("address", shell_complete=completion.ADDRESSES)
_FLOW = click.argument("flow", shell_complete=completion.FLOWS)


@connection.command("add")
@_ADDRESS
@_FLOW
@click.option("--from", "valid_from", type=parameters.DATE, metavar="DATE", help="The first day; today when not given.")
@click.option(
    "--until",
    "valid_until",
    type=parameters.DATE,
    metavar="DATE",
    help="The last day, included; until further notice when not given.",
)
def add_connection(address: str, flow: str, valid_from: datetime | None, valid_until: datetime | None) -> None:
    """Connect the private ADDRESS to FLOW.

    \b
    Example:  digipoort connection add bloemen@partij.example AGS --from 2027-01-01 --until 2027-12-31
    """
    first = _today() if valid_from is None else valid_from.date()
    last = None if valid_until is None else valid_until.date()
    with frame.changing() as change:
        store.add(change, FlowConnection(address, flow, first, last))
    click.echo(f"connected {address} to {flow} from {first}" + (f" until {last}" if last else ""))


@connection.command("change")
@_ADDRESS
@_FLOW
@click.option(
    "--from",
    "valid_from",
    type=parameters.DATE,
    metavar="DATE",
    callback=parameters.day,
    help="The first day of the connection that is meant; needed when there is more than one.",
)
@click.option(
    "--until", type=parameters.DATE, metavar="DATE", callback=parameters.day, help="Its last day from now on, included."
)
@click.option("--without-end", is_flag=True, help="Valid until further notice from now on.")
@asking.YES
def change_connection(  # noqa: PLR0913 - click hands in each option
    address: str, flow: str, valid_from: date | None, until: date | None, *, without_end: bool, yes: bool
) -> None:
    """Change until when ADDRESS is connected to FLOW. Another first day is another connection: add it.

    \b
    Examples: digipoort connection change bloemen@partij.example AGS --until 2027-12-31
              digipoort connection change bloemen@partij.example AGS --from 2027-01-01 --without-end
    """
    if (until is None) is not without_end:
        raise click.UsageError("Give either --until or --without-end.")
    if until is not None:
        _ask_about_past(address, flow, until, yes=yes)
    key = {"address": address, "flow": flow, "valid_from": valid_from}
    changes.change(FlowConnection, key, {"valid_until": "" if without_end else until})


@connection.command("end")
@_ADDRESS
@_FLOW
@click.option(
    "--on", "last", type=parameters.DATE, metavar="DATE", help="The last day, included; today when not given."
)
@asking.YES
def end_connection(address: str, flow: str, last: datetime | None, *, yes: bool) -> None:
    """End the connection of ADDRESS to FLOW. A last day in the past is asked about.

    \b
    Example:  digipoort connection end bloemen@partij.example AGS --on 2027-06-30
    """
    day = _today() if last is None else last.date()
    _ask_about_past(address, flow, day, yes=yes)
    with frame.changing() as change:
        store.end_connection(change, address, flow, day)
    click.echo(f"the connection of {address} to {flow} ends on {day}")


def _ask_about_past(address: str, flow: str, last: date, *, yes: bool) -> None:
    """Ask before a connection gets a last day that is over: what was valid then is no longer known to be."""
    if last < _today():
        asking.confirm(f"Let the connection of {address} to {flow} have ended on {last}, in the past?", yes=yes)


def _today() -> date:
    return datetime.now(ZoneInfo(frame.admin_settings().directory_timezone)).date()
