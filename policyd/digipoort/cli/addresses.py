"""`digipoort destination` and `digipoort address`: logical addresses, and where their mail really goes."""

from __future__ import annotations

import click

from digipoort import maps
from digipoort.cli import frame
from digipoort.cli.failures import Failure
from digipoort.cli.frame import require_logical
from digipoort.cli.listing import object_group
from digipoort.directory import store
from digipoort.directory.objects import Address, Destination, Mailbox, Remote, new_mailbox_id, parse_remote

destination = object_group("destination", "Physical domains of agencies, and how mail reaches them.")
address = object_group("address", "Logical addresses, each with its target.")


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
@click.option(
    "--transport",
    default="smtp",
    show_default=True,
    help="The service in master.cf: agency-NAME for limits of its own.",
)
def add_destination(domain: str, nexthop: str, tls_level: str, tls_match: str | None, transport: str) -> None:
    """Add the physical DOMAIN, which mail reaches by NEXTHOP: host or [host] (no MX lookup), with :port if not 25."""
    clash = maps.domain_clash(domain, frame.admin_settings())
    if clash is not None:
        raise Failure(clash)
    with frame.changing() as change:
        store.add(change, Destination(domain, nexthop, tls_level, tls_match, transport))
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
