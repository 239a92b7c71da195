"""`digipoort mailbox`: where the mail of a party waits until it is read over POP3."""

from __future__ import annotations

import click

from digipoort.cli import changes, completion, contents, frame, objects
from digipoort.directory import session, store
from digipoort.directory.objects import Mailbox, new_mailbox_id

mailbox = objects.object_group(Mailbox, "Mailboxes, each of one party, read over POP3.")
mailbox.add_command(contents.usage)
mailbox.add_command(contents.purge)


@mailbox.command("add")
@click.argument("party", shell_complete=completion.PARTIES)
@click.option("--id", "mailbox", metavar="ID", help="Its id, a-z and 0-9; otherwise a new one that nobody can guess.")
def add_mailbox(party: str, mailbox: str | None) -> None:
    """Add a mailbox to PARTY.

    With an id that another party had, PARTY reads what still waits in it. It is refused when that is so on this host;
    empty it on every other host first.

    \b
    Examples: digipoort mailbox add AALSMEER
              digipoort mailbox add AALSMEER --id b1f0aa27c3d94e01
    """
    item = Mailbox(new_mailbox_id() if mailbox is None else mailbox, party)
    with frame.changing() as change:
        store.add(change, item)
        if mailbox is not None:
            contents.require_no_mail(item.mailbox)
    click.echo(f"added mailbox {item.mailbox}")


@mailbox.command("change")
@click.argument("mailbox", metavar="ID", shell_complete=completion.MAILBOXES)
@click.option(
    "--party",
    required=True,
    metavar="CODE",
    shell_complete=completion.PARTIES,
    help="The party that it is to belong to.",
)
def change_mailbox(mailbox: str, party: str) -> None:
    """Give the mailbox ID to another party; no address and no login may use it.

    The other party reads what still waits in it. It is refused when that is so on this host; empty it on every other
    host first.

    \b
    Example:  digipoort mailbox change b1f0aa27c3d94e01 --party MAASVLAKTE
    """
    key = {"mailbox": mailbox}
    with session.reading(frame.admin_settings().directory_write_dsn) as connection:
        changes.require_unused(connection, Mailbox, key)
    changes.change(Mailbox, key, {"party": party})
