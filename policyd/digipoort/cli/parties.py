"""`digipoort party` and `digipoort flow`: who takes part in the exchange of messages, and in which flows."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import click

from digipoort.cli import frame
from digipoort.cli.listing import object_group
from digipoort.directory import store
from digipoort.directory.objects import DEFAULT_SIZE_LIMIT, Flow, Party
from digipoort.interface.profile import ProfilesInvalidError, parse_interface
from digipoort.profiles import MAX_SIZE_LIMIT
from digipoort.resubmission import Policy

_POLICY = click.Choice([policy.value for policy in Policy])
party = object_group("party", "Organisations: private parties and government agencies.")
flow = object_group("flow", "Message flows, each of one government party.")


@party.command("add")
@click.argument("code")
@click.argument("name")
@click.option("--kind", type=click.Choice(["private", "government"]), required=True)
def add_party(code: str, name: str, kind: str) -> None:
    """Add the party CODE, called NAME."""
    with frame.changing() as change:
        store.add(change, Party(code, name, kind))
    click.echo(f"added party {code}")


@party.command("enable")
@click.argument("code")
def enable_party(code: str) -> None:
    """Let the party CODE take part again."""
    _set_party_active(code, active=True)


@party.command("disable")
@click.argument("code")
def disable_party(code: str) -> None:
    """Refuse the party CODE's logins, and all messages from and for it; what was accepted is still delivered."""
    _set_party_active(code, active=False)


def _set_party_active(code: str, *, active: bool) -> None:
    with frame.changing() as change:
        store.set_party_active(change, code, active=active)
    click.echo(f"party {code} is {'enabled' if active else 'disabled'}")


def _interface(_context: click.Context, _parameter: click.Parameter, value: str) -> dict[str, Any]:
    return _parsed_interface(value)


def _parsed_interface(text: str | bytes) -> dict[str, Any]:
    """Return an interface that the milter can read; raises click.BadParameter, which says what is wrong."""
    try:
        interface = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}") from error
    try:
        parse_interface(interface, "CODE")
    except ProfilesInvalidError as error:
        raise click.BadParameter(str(error)) from error
    return dict(interface)


@flow.command("add")
@click.argument("code")
@click.argument("name")
@click.option("--owner", required=True, metavar="PARTY", help="The government party's code.")
@click.option(
    "--size-limit",
    type=click.IntRange(1, MAX_SIZE_LIMIT),
    default=DEFAULT_SIZE_LIMIT,
    show_default=True,
    help="The largest message, in octets.",
)
@click.option(
    "--interface", default="{}", callback=_interface, metavar="JSON", help="What differs from the default profile."
)
@click.option(
    "--resubmission",
    type=_POLICY,
    default=Policy.TELL.value,
    show_default=True,
    help="What is done with a message that was received before.",
)
def add_flow(  # noqa: PLR0913 - click hands in each option
    code: str, name: str, owner: str, size_limit: int, interface: dict[str, Any], resubmission: str
) -> None:
    """Add the message flow CODE, called NAME."""
    with frame.changing() as change:
        store.add(change, Flow(code, name, owner, size_limit, interface, resubmission))
    click.echo(f"added flow {code}")


@flow.command("limit")
@click.argument("code")
@click.argument("octets", type=click.IntRange(1, MAX_SIZE_LIMIT))
def limit_flow(code: str, octets: int) -> None:
    """Make OCTETS the size limit of the flow CODE."""
    with frame.changing() as change:
        store.set_size_limit(change, code, octets)
    click.echo(f"flow {code} is limited to {octets} octets; hosts learn it by digipoort maps publish")


@flow.command("resubmission")
@click.argument("code")
@click.argument("policy", type=_POLICY)
def change_resubmission(code: str, policy: str) -> None:
    """Accept, refuse, or accept and tell, when the flow CODE gets a message that was received before."""
    with frame.changing() as change:
        store.set_resubmission(change, code, policy)
    click.echo(f"flow {code}: resubmissions, {policy}; hosts learn it by digipoort maps publish")


@flow.command("interface")
@click.argument("code")
@click.argument("file", type=click.File("rb"))
def change_interface(code: str, file: BinaryIO) -> None:
    """Make the JSON object in FILE (- is standard input) all that differs from the default profile in the flow CODE."""
    interface = _parsed_interface(file.read())
    with frame.changing() as change:
        store.set_interface(change, code, interface)
    click.echo(f"flow {code} has another interface; hosts learn it by digipoort maps publish")
