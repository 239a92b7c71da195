"""The arguments and options that name objects: one by its key, several by a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from digipoort.cli import completion
from digipoort.directory import names
from digipoort.directory.objects import (
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    Party,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

DATE: Final = click.DateTime(["%Y-%m-%d"])


def day(_context: click.Context, _parameter: click.Parameter, value: datetime | None) -> date | None:
    """Return the day of an option of type DATE."""
    return None if value is None else value.date()


def _key(kind: type[DirectoryObject], metavar: str, sample: str) -> tuple[tuple[click.Parameter, ...], str]:
    (parameter,) = names.key_parameters(kind)
    return (click.Argument([parameter], metavar=metavar, shell_complete=completion.names_of(kind)),), sample


# What names one object on the command line, each by the parameter of the statements that find it; and an example.
KEYS: Final[Mapping[type[DirectoryObject], tuple[tuple[click.Parameter, ...], str]]] = {
    Party: _key(Party, "CODE", "AALSMEER"),
    Flow: _key(Flow, "CODE", "AGS"),
    Destination: _key(Destination, "DOMAIN", "dienst.example"),
    Mailbox: _key(Mailbox, "ID", "b1f0aa27c3d94e01"),
    Address: _key(Address, "ADDRESS", "bloemen@partij.example"),
    FlowConnection: (
        (
            click.Argument(["address"], shell_complete=completion.ADDRESSES),
            click.Argument(["flow"], shell_complete=completion.FLOWS),
            click.Option(
                ["--from", "valid_from"],
                type=DATE,
                metavar="DATE",
                callback=day,
                help="The first day; needed when the address has more than one connection to the flow.",
            ),
        ),
        "bloemen@partij.example AGS",
    ),
    Credential: _key(Credential, "LOGIN", "bloemen"),
}


def _filter(kind: type[DirectoryObject], option: str, metavar: str, meaning: str) -> click.Option:
    return click.Option([option], metavar=metavar, help=meaning, shell_complete=completion.names_of(kind))


# By what lists are filtered, and the kind of object that a filter names.
FILTERS: Final[Mapping[str, tuple[click.Option, type[DirectoryObject] | None]]] = {
    "kind": (
        click.Option(["--kind"], type=click.Choice(["private", "government"]), help="Only parties of this kind."),
        None,
    ),
    "party": (_filter(Party, "--party", "CODE", "Only what is this party's."), Party),
    "flow": (_filter(Flow, "--flow", "CODE", "Only what is of this flow."), Flow),
    "mailbox": (_filter(Mailbox, "--mailbox", "ID", "Only what leads to this mailbox."), Mailbox),
    "domain": (_filter(Destination, "--domain", "DOMAIN", "Only what leads to this physical domain."), Destination),
    "expiring": (
        click.Option(
            ["--expiring"],
            type=click.IntRange(min=0, max=36_500),
            metavar="DAYS",
            help="Only those that are good and end within so many days.",
        ),
        None,
    ),
    "address": (_filter(Address, "--address", "ADDRESS", "Only those of this address."), Address),
}
