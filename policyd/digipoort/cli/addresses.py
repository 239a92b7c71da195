"""`digipoort destination` and `digipoort address`: logical addresses, and where their mail really goes."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

import click

from digipoort import mapcontents
from digipoort.cli import changes, completion, frame, objects, progress
from digipoort.cli.failures import Failure
from digipoort.cli.frame import require_logical
from digipoort.directory import bulk, store
from digipoort.directory.objects import Address, Destination, Mailbox, Remote, new_mailbox_id, parse_remote

_TLS_LEVEL: Final = click.Choice(["encrypt", "dane-only", "fingerprint", "verify", "secure"])

destination = objects.object_group(Destination, "Physical domains of agencies, and how mail reaches them.")
address = objects.object_group(Address, "Logical addresses, each with its target.")


@destination.command("add")
@click.argument("domain")
@click.argument("nexthop")
@click.option(
    "--tls-level",
    type=_TLS_LEVEL,
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
    """Add the physical DOMAIN, which mail reaches by NEXTHOP: host or [host] (no MX lookup), with :port if not 25.

    \b
    Example:  digipoort destination add dienst.example "[mx.dienst.example]" --tls-match mx.dienst.example
    """
    clash = mapcontents.domain_clash(domain, frame.admin_settings())
    if clash is not None:
        raise Failure(clash)
    with frame.changing() as change:
        store.add(change, Destination(domain, nexthop, tls_level, tls_match, transport))
    click.echo(f"added destination {domain}")


@destination.command("change")
@click.argument("domain", shell_complete=completion.DESTINATIONS)
@click.option("--nexthop", help="host or [host] (no MX lookup), with :port if not 25.")
@click.option("--tls-level", type=_TLS_LEVEL, help="Postfix's TLS security level.")
@click.option("--tls-match", help="The name in the certificate, or its fingerprint; '' is none.")
@click.option("--transport", help="The service in master.cf: smtp, or agency-NAME for limits of its own.")
def change_destination(
    domain: str, nexthop: str | None, tls_level: str | None, tls_match: str | None, transport: str | None
) -> None:
    """Change how mail reaches the physical DOMAIN: only what an option tells.

    \b
    Example:  digipoort destination change dienst.example --nexthop "[mx2.dienst.example]:2525"
    """
    given = {"nexthop": nexthop, "tls_level": tls_level, "tls_match": tls_match, "transport": transport}
    changes.change(Destination, {"domain": domain}, given)


@address.command("import")
@click.argument("file", type=click.File("rb"))
def import_addresses(file: BinaryIO) -> None:
    """Add the addresses of FILE (CSV): all of them, or none, with the lines that are wrong.

    The first line is address,party,mailbox,remote,flow. A mailbox that is new is made; remote is user@domain of a
    destination; flow is for government addresses.

    \b
    Example:       digipoort address import addresses.csv
    Example line:  bloemen@partij.example,AALSMEER,b1f0aa27c3d94e01,,
    """
    settings = frame.admin_settings()
    with progress.reading(_octets(file)) as read, frame.changing() as change:
        number = bulk.load(change, file, settings.logical_domains, read)
    click.echo(f"added {number} addresses")


def _octets(file: BinaryIO) -> int | None:
    """Return how large a file is, or None for what has no size of its own, such as a pipe."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None


def _remote(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Remote | None:
    remote = None if value is None else parse_remote(value)
    if value is not None and remote is None:
        raise click.BadParameter("not user@host")
    return remote


_FLOW: Final = click.option(
    "--flow",
    metavar="CODE",
    shell_complete=completion.FLOWS,
    help="The flow that the address stands for: government only.",
)
_MAILBOX: Final = click.option(
    "--mailbox", metavar="ID", shell_complete=completion.MAILBOXES, help="The target is this mailbox of the party."
)
_REMOTE: Final = click.option(
    "--remote", callback=_remote, metavar="USER@HOST", help="The target is a physical address at the agency."
)


@address.command("add")
@click.argument("address")
@click.argument("party", shell_complete=completion.PARTIES)
@_FLOW
@_MAILBOX
@click.option("--new-mailbox", is_flag=True, help="The target is a mailbox that is made for it.")
@_REMOTE
def add_address(  # noqa: PLR0913 - click hands in each option
    *, address: str, party: str, flow: str | None, mailbox: str | None, new_mailbox: bool, remote: Remote | None
) -> None:
    """Add the logical ADDRESS to PARTY, with exactly one target.

    \b
    Examples: digipoort address add bloemen@partij.example AALSMEER --new-mailbox
              digipoort address add ags@overheid.example DOUANE --flow AGS --remote intake@dienst.example
    """
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


@address.command("change")
@click.argument("address", shell_complete=completion.ADDRESSES)
@click.option("--party", metavar="CODE", shell_complete=completion.PARTIES, help="Another party, whose target it has.")
@_FLOW
@_MAILBOX
@_REMOTE
def change_address(
    address: str, party: str | None, flow: str | None, mailbox: str | None, remote: Remote | None
) -> None:
    """Change the logical ADDRESS: only what an option tells. The mailbox that it had stays, with what is in it.

    \b
    Examples: digipoort address change bloemen@partij.example --mailbox 93d2c07be8814f02
              digipoort address change ags@overheid.example --remote intake2@dienst.example
    """
    if mailbox is not None and remote is not None:
        raise click.UsageError("Give either --mailbox or --remote.")
    given = {"party": party, "flow": flow, "target": mailbox or remote}
    changes.change(Address, {"address": address}, given)
