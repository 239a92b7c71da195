"""`digipoort destination` and `digipoort address`: logical addresses, and where their mail really goes."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from digipoort import mapcontents
from digipoort.cli import frame
from digipoort.cli.failures import Failure
from digipoort.cli.frame import require_logical
from digipoort.cli.listing import object_group
from digipoort.directory import bulk, store
from digipoort.directory.objects import Address, Destination, Mailbox, Remote, new_mailbox_id, parse_remote

if TYPE_CHECKING:
    from collections.abc import Callable

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
    clash = mapcontents.domain_clash(domain, frame.admin_settings())
    if clash is not None:
        raise Failure(clash)
    with frame.changing() as change:
        store.add(change, Destination(domain, nexthop, tls_level, tls_match, transport))
    click.echo(f"added destination {domain}")


@address.command("import")
@click.argument("file", type=click.File("rb"))
def import_addresses(file: BinaryIO) -> None:
    r"""Add the addresses of FILE (CSV): all of them, or none, with the lines that are wrong.

    The first line is address,party,mailbox,remote,flow. A mailbox that is new is made; remote is user@domain of a
    destination; flow is for government addresses.

    \b
    Example line:  bloemen@partij.example,AALSMEER,b1f0aa27c3d94e01,,
    """
    settings = frame.admin_settings()
    with contextlib.ExitStack() as stack:
        progress: Callable[[int], None] = _silent
        if sys.stderr.isatty():
            length = os.fstat(file.fileno()).st_size
            bar = stack.enter_context(click.progressbar(length=length, label="reading", file=sys.stderr))
            progress = functools.partial(bar.update, current_item=None)
        number = bulk.load(stack.enter_context(frame.changing()), file, settings.logical_domains, progress)
    click.echo(f"added {number} addresses")


def _silent(_octets: int) -> None:
    """Show no progress: nobody looks."""


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
