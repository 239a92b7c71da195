"""`digipoort connection`: which private address takes part in which flow, and when."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import click

from digipoort.cli import frame
from digipoort.cli.listing import object_group
from digipoort.directory import store
from digipoort.directory.objects import FlowConnection

_DATE: Final = click.DateTime(["%Y-%m-%d"])

connection = object_group("connection", "Which private address takes part in which flow, and when.")


@connection.command("add")
@click.argument("address")
@click.argument("flow")
@click.option("--from", "valid_from", type=_DATE, help="The first day; today when not given.")
@click.option("--until", "valid_until", type=_DATE, help="The last day, included; until further notice when not given.")
def add_connection(address: str, flow: str, valid_from: datetime | None, valid_until: datetime | None) -> None:
    """Connect the private ADDRESS to FLOW."""
    first = _today() if valid_from is None else valid_from.date()
    last = None if valid_until is None else valid_until.date()
    with frame.changing() as change:
        store.add(change, FlowConnection(address, flow, first, last))
    click.echo(f"connected {address} to {flow} from {first}" + (f" until {last}" if last else ""))


@connection.command("end")
@click.argument("address")
@click.argument("flow")
@click.option("--on", "last", type=_DATE, help="The last day, included; today when not given.")
def end_connection(address: str, flow: str, last: datetime | None) -> None:
    """End the connection of ADDRESS to FLOW."""
    day = _today() if last is None else last.date()
    with frame.changing() as change:
        store.end_connection(change, address, flow, day)
    click.echo(f"the connection of {address} to {flow} ends on {day}")


def _today() -> date:
    return datetime.now(ZoneInfo(frame.admin_settings().directory_timezone)).date()
