"""`digipoort party|flow|destination|address|connection|credential add|list`: what the directory holds.

`list` reads the server of DIRECTORY_DSN, which may be a replica; `add` writes to that of DIRECTORY_WRITE_DSN.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click

from digipoort import maps, passwords
from digipoort.cli import frame, output
from digipoort.cli.directory import require_logical
from digipoort.cli.failures import Failure
from digipoort.directory import seed, session, store
from digipoort.directory.objects import (
    DEFAULT_SIZE_LIMIT,
    Address,
    Credential,
    Destination,
    Flow,
    FlowConnection,
    Mailbox,
    Party,
    Remote,
    new_mailbox_id,
    parse_remote,
)

# The milter's JSON reader takes whole numbers up to this without loss in any other JSON reader (RFC 8259 section 6).
_MAX_SIZE_LIMIT: Final = 2**53
_DATE: Final = click.DateTime(["%Y-%m-%d"])


def _group(kind: str, meaning: str) -> click.Group:
    """Return the group of one kind of object, with its `list`."""
    group = click.Group(kind, help=meaning)

    @group.command("list", help=f"List every {kind}.")
    @click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
    def listing(*, as_json: bool) -> None:
        with session.reading(frame.admin_settings().directory_dsn) as connection:
            listed = store.listed(connection, kind)
        output.show(listed.columns, listed.rows, as_json=as_json)

    return group


party = _group("party", "Organisations: private parties and government agencies.")
flow = _group("flow", "Message flows, each of one government party.")
destination = _group("destination", "Physical domains of agencies, and how mail reaches them.")
address = _group("address", "Logical addresses, each with its target.")
connection = _group("connection", "Which private address takes part in which flow, and when.")
credential = _group("credential", "Logins: what they may do, and which mailbox they open.")
COMMANDS: Final = (party, flow, destination, address, connection, credential)


@party.command("add")
@click.argument("code")
@click.argument("name")
@click.option("--kind", type=click.Choice(["private", "government"]), required=True)
def add_party(code: str, name: str, kind: str) -> None:
    """Add the party CODE, called NAME."""
    with frame.changing() as change:
        store.add(change, Party(code, name, kind))
    click.echo(f"added party {code}")


def _interface(_context: click.Context, _parameter: click.Parameter, value: str) -> dict[str, Any]:
    try:
        interface = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from error
    if not isinstance(interface, dict):
        raise click.BadParameter("not a JSON object")
    return interface


@flow.command("add")
@click.argument("code")
@click.argument("name")
@click.option("--owner", required=True, metavar="PARTY", help="The government party's code.")
@click.option(
    "--size-limit",
    type=click.IntRange(1, _MAX_SIZE_LIMIT),
    default=DEFAULT_SIZE_LIMIT,
    show_default=True,
    help="The largest message, in octets.",
)
@click.option(
    "--interface", default="{}", callback=_interface, metavar="JSON", help="What differs from the default profile."
)
def add_flow(code: str, name: str, owner: str, size_limit: int, interface: dict[str, Any]) -> None:
    """Add the message flow CODE, called NAME."""
    with frame.changing() as change:
        store.add(change, Flow(code, name, owner, size_limit, interface))
    click.echo(f"added flow {code}")


@destination.command("add")
@click.argument("domain")
@click.argument("nexthop")
@click.option(
    "--tls-level",
    type=click.Choice(["encrypt", "dane-only", "fingerprint", "verify", "secure"]),
    default="secure",
    show_default=True,
    help="Postfix's TLS security level; none of these falls back to cleartext.",
)
@click.option("--tls-match", help="The name in the certificate, or its fingerprint.")
def add_destination(domain: str, nexthop: str, tls_level: str, tls_match: str | None) -> None:
    """Add the physical DOMAIN, which mail reaches by NEXTHOP: host or [host] (no MX lookup), with :port if not 25."""
    clash = maps.domain_clash(domain, frame.admin_settings())
    if clash is not None:
        raise Failure(clash)
    with frame.changing() as change:
        store.add(change, Destination(domain, nexthop, tls_level, tls_match))
    click.echo(f"added destination {domain}")


def _remote(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Remote | None:
    remote = None if value is None else parse_remote(value)
    if value is not None and remote is None:
        raise click.BadParameter("not user@host")
    return remote


@address.command("add")
@click.argument("address")
@click.argument("party")
@click.option("--flow", help="The flow that the address stands for: government only.")
@click.option("--mailbox", metavar="ID", help="The target is this mailbox of the party.")
@click.option("--new-mailbox", is_flag=True, help="The target is a mailbox that is made for it.")
@click.option("--remote", callback=_remote, metavar="USER@HOST", help="The target is a physical address at the agency.")
def add_address(  # noqa: PLR0913 - click hands in each option
    *, address: str, party: str, flow: str | None, mailbox: str | None, new_mailbox: bool, remote: Remote | None
) -> None:
    """Add the logical ADDRESS to PARTY, with exactly one target."""
    given = [target for target in (mailbox, new_mailbox_id() if new_mailbox else None, remote) if target is not None]
    if len(given) != 1:
        raise click.UsageError("Give exactly one of --mailbox, --new-mailbox and --remote.")
    (target,) = given
    require_logical(address, frame.admin_settings().logical_domains)
    with frame.changing() as change:
        if new_mailbox and isinstance(target, str):
            store.add(change, Mailbox(target, party))
        store.add(change, Address(address, party, flow, target))
    click.echo(f"added address {address}" + (f" with mailbox {target}" if isinstance(target, str) else ""))


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


def _today() -> date:
    return datetime.now(ZoneInfo(frame.admin_settings().directory_timezone)).date()


@credential.command("add")
@click.argument("login")
@click.argument("party")
@click.option("--service", "services", type=click.Choice(["pop3", "submission"]), multiple=True, required=True)
@click.option("--mailbox", metavar="ID", help="The mailbox that the login opens; needed for pop3.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file whose first line is the password; it is asked for when not given.",
)
def add_credential(
    login: str, party: str, services: tuple[str, ...], mailbox: str | None, password_file: Path | None
) -> None:
    """Add LOGIN to PARTY."""
    password_hash = _password_hash(password_file)
    with frame.changing() as change:
        store.add(change, Credential(login, party, password_hash, services, mailbox))
    click.echo(f"added credential {login}")


def _password_hash(file: Path | None) -> str:
    """Return the hash of a file's password, or of one that the admin types twice; an argument would show in ps(1)."""
    if file is None:
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        password = typed.encode("utf-8")
    else:
        password = seed.first_line(file)
    try:
        return passwords.hash_password(password)
    except ValueError as error:
        raise Failure(str(error)) from error
