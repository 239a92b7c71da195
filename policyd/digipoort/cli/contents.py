"""`digipoort mailbox usage` and `purge`: what Dovecot holds in the mailboxes of this host."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Final

import click

from digipoort import mailstore
from digipoort.cli import asking, frame, output
from digipoort.cli.failures import Failure
from digipoort.directory import queries, session

if TYPE_CHECKING:
    from psycopg.rows import TupleRow
    from structlog.typing import FilteringBoundLogger

    from digipoort.settings import AdminSettings

_DAY_SECONDS: Final = 86_400


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def usage(*, as_json: bool) -> None:
    """Show how full each mailbox is, the fullest first: messages, KiB, and the share of its quota in per cent.

    \b
    Example:  digipoort mailbox usage
    """
    settings = frame.admin_settings()
    mailboxes = _mailboxes(settings)
    found = mailstore.usage(_store(settings), [row[0] for row in mailboxes])
    rows = [
        (mailbox, party, logins, found[mailbox].messages, found[mailbox].kibibytes, found[mailbox].share)
        for mailbox, party, logins in mailboxes
    ]
    rows.sort(key=lambda row: row[4], reverse=True)
    columns = ("mailbox", "party", "logins", "messages", "kibibytes", "percent")
    shown = rows if as_json else [(*row[:2], output.plain(row[2]) or "-", *row[3:]) for row in rows]
    output.show(columns, shown, as_json=as_json)


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Delete what has been there for longer than so many days; otherwise MAIL_RETENTION_DAYS.",
)
@click.option("--dry-run", is_flag=True, help="Only count the messages.")
@asking.YES
def purge(*, days: int | None, dry_run: bool, yes: bool) -> None:
    """Delete the messages that have waited too long in this host's mailboxes, the postmaster's included.

    A mailbox with an open POP3 session is passed over until the next time.

    \b
    Examples: digipoort mailbox purge --dry-run
              digipoort mailbox purge --days 90 --yes
    """
    settings = frame.admin_settings()
    days = days or settings.mail_retention_days
    if not days:
        raise Failure("MAIL_RETENTION_DAYS is 0, mail is kept: nothing is deleted without --days.")
    store, before = _store(settings), int(time()) - days * _DAY_SECONDS
    expired = mailstore.expired(store, [row[0] for row in _mailboxes(settings)], before)
    if dry_run or not expired:
        for mailbox, messages in expired.items():
            click.echo(f"{mailbox}: {messages} older than {days} days")
        click.echo(f"{sum(expired.values())} messages in {len(expired)} mailboxes; nothing is deleted")
        return
    asking.confirm(
        f"Delete {sum(expired.values())} messages in {len(expired)} mailboxes that are older than {days} days?", yes=yes
    )
    logger = _configured_log(settings)
    for purged in mailstore.purge(store, list(expired), before):
        _tell(purged, days, logger)


def _tell(purged: mailstore.Purged, days: int, logger: FilteringBoundLogger) -> None:
    if purged.busy:
        logger.warning("mailbox_busy", mailbox=purged.mailbox, messages=purged.messages, days=days)
        click.echo(f"{purged.mailbox}: a POP3 session is open, {purged.messages} are left until the next time")
    else:
        logger.info("mailbox_purged", mailbox=purged.mailbox, messages=purged.messages, days=days)
        click.echo(f"{purged.mailbox}: {purged.messages} deleted")


def _mailboxes(settings: AdminSettings) -> list[TupleRow]:
    """Return every mailbox with its party and logins, and the postmaster's, which is nobody's."""
    with session.reading(settings.directory_dsn) as connection:
        return [*connection.execute(queries.MAILBOXES_AND_LOGINS), (settings.postmaster_mailbox, None, [])]


def _store(settings: AdminSettings) -> mailstore.MailStore:
    return mailstore.MailStore(settings.dovecot_config, settings.mail_directory, settings.mailbox_domain)


def _configured_log(settings: AdminSettings) -> FilteringBoundLogger:
    # Not above: structlog imports all of rich, and most commands write nothing to the log.
    from digipoort import log

    return log.configure("digipoort", settings.syslog_socket, settings.log_level)
