"""`digipoort party` and `digipoort flow`: who takes part in the exchange of messages, and in which flows."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import click

from digipoort.cli import asking, changes, completion, frame, objects, output
from digipoort.directory import lookup, session, store
from digipoort.directory.objects import DEFAULT_SIZE_LIMIT, Flow, Party
from digipoort.interface.profile import ProfilesInvalidError, parse_interface
from digipoort.profiles import MAX_SIZE_LIMIT
from digipoort.resubmission import Policy

_POLICY = click.Choice([policy.value for policy in Policy])
_KIND = click.Choice(["private", "government"])
party = objects.object_group(Party, "Organisations: private parties and government agencies.")
flow = objects.object_group(Flow, "Message flows, each of one government party.")


@party.command("add")
@click.argument("code")
@click.argument("name")
@click.option("--kind", type=_KIND, required=True)
def add_party(code: str, name: str, kind: str) -> None:
    """Add the party CODE, called NAME.

    \b
    Example:  digipoort party add AALSMEER "Bloemenimport Aalsmeer B.V." --kind private
    """
    with frame.changing() as change:
        store.add(change, Party(code, name, kind))
    click.echo(f"added party {code}")


@party.command("change")
@click.argument("code", shell_complete=completion.PARTIES)
@click.option("--name", help="What it is called from now on.")
@click.option("--kind", type=_KIND, help="Another kind; only while it has no addresses, mailboxes and flows.")
def change_party(code: str, name: str | None, kind: str | None) -> None:
    """Change the party CODE: only what an option tells.

    \b
    Example:  digipoort party change AALSMEER --name "Bloemenimport Aalsmeer N.V."
    """
    changes.change(Party, {"party": code}, {"name": name, "kind": kind})


@party.command("enable")
@click.argument("code", shell_complete=completion.PARTIES)
def enable_party(code: str) -> None:
    """Let the party CODE take part again.

    \b
    Example:  digipoort party enable AALSMEER
    """
    _set_party_active(code, active=True)


@party.command("disable")
@click.argument("code", shell_complete=completion.PARTIES)
@asking.YES
def disable_party(code: str, *, yes: bool) -> None:
    """Refuse the party CODE's logins, and all messages from and for it; what was accepted is still delivered.

    \b
    Example:  digipoort party disable AALSMEER
    """
    with session.reading(frame.admin_settings().directory_write_dsn) as connection:
        name = output.printable(lookup.shown(connection, Party, {"party": code}).values["name"])
    asking.confirm(f"Refuse all logins and messages of party {code} ({name})?", yes=yes)
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
@click.option(
    "--owner",
    required=True,
    metavar="PARTY",
    shell_complete=completion.PARTIES,
    help="The government party's code.",
)
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
    """Add the message flow CODE, called NAME.

    \b
    Example:  digipoort flow add METING "Metingen" --owner RIVM --size-limit 2000000
    """
    with frame.changing() as change:
        store.add(change, Flow(code, name, owner, size_limit, interface, resubmission))
    click.echo(f"added flow {code}")


@flow.command("change")
@click.argument("code", shell_complete=completion.FLOWS)
@click.option("--name", help="What it is called from now on.")
@click.option("--owner", metavar="PARTY", shell_complete=completion.PARTIES, help="The government party's code.")
@click.option("--size-limit", type=click.IntRange(1, MAX_SIZE_LIMIT), help="The largest message, in octets.")
@click.option("--resubmission", type=_POLICY, help="What is done with a message that was received before.")
def change_flow(
    code: str, name: str | None, owner: str | None, size_limit: int | None, resubmission: str | None
) -> None:
    """Change the flow CODE: only what an option tells. Its interface: digipoort flow interface.

    \b
    Example:  digipoort flow change METING --name "Meetgegevens" --size-limit 5000000
    """
    given = {"name": name, "owner": owner, "size_limit": size_limit, "resubmission": resubmission}
    changes.change(Flow, {"flow": code}, given)


@flow.command("limit")
@click.argument("code", shell_complete=completion.FLOWS)
@click.argument("octets", type=click.IntRange(1, MAX_SIZE_LIMIT))
def limit_flow(code: str, octets: int) -> None:
    """Make OCTETS the size limit of the flow CODE.

    \b
    Example:  digipoort flow limit AGS 20971520
    """
    with frame.changing() as change:
        store.set_size_limit(change, code, octets)
    click.echo(f"flow {code} is limited to {octets} octets; hosts learn it by digipoort maps publish")


@flow.command("resubmission")
@click.argument("code", shell_complete=completion.FLOWS)
@click.argument("policy", type=_POLICY)
def change_resubmission(code: str, policy: str) -> None:
    """Accept, refuse, or accept and tell, when the flow CODE gets a message that was received before.

    \b
    Example:  digipoort flow resubmission AGS refuse
    """
    with frame.changing() as change:
        store.set_resubmission(change, code, policy)
    click.echo(f"flow {code}: resubmissions, {policy}; hosts learn it by digipoort maps publish")


@flow.command("interface")
@click.argument("code", shell_complete=completion.FLOWS)
@click.argument("file", type=click.File("rb"))
def change_interface(code: str, file: BinaryIO) -> None:
    """Make the JSON object in FILE (- is standard input) all that differs from the default profile in the flow CODE.

    \b
    Example:  digipoort flow interface AGS ags.json
    """
    interface = _parsed_interface(file.read())
    with frame.changing() as change:
        store.set_interface(change, code, interface)
    click.echo(f"flow {code} has another interface; hosts learn it by digipoort maps publish")
