"""`digipoort mailbox usage` and `purge`: what the mailboxes of this host hold; none is given away with mail in it."""

from __future__ import annotations

import itertools
import os
from time import time
from typing import TYPE_CHECKING, Final

import click

from digipoort import mailstore
from digipoort.cli import asking, frame, output
from digipoort.cli.failures import Failure
from digipoort.directory import queries, session
from digipoort.mailstore import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow
    from structlog.typing import FilteringBoundLogger

    from digipoort.settings import AdminSettings

_DAY_SECONDS: Final = 86_400
# A clock that runs ahead makes mail look old.
_CLOCK_SECONDS: Final = 300
# Of the mailboxes that failed, so many are told.
_MAX_TOLD: Final = 20
_WORDS: Final = {
    Outcome.DELETED: "{} deleted",
    Outcome.UNCOUNTED: "up to {} deleted, not counted",
    Outcome.BUSY: "a POP3 session is open, {} are left until the next time",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def usage(*, as_json: bool) -> None:
    """Show how full each mailbox is, the fullest first: messages, KiB, and the share of its quota in per cent.

    A mailbox that Dovecot cannot look into is told on standard error; the exit status is 75 then.

    \b
    Example:  digipoort mailbox usage
    """
    settings = frame.admin_settings()
    with session.reading(settings.directory_dsn) as connection:
        mailboxes = _mailboxes(connection, settings)
    looked = mailstore.usage(_store(settings), [row[0] for row in mailboxes])
    rows = [
        (mailbox, party, logins, held.messages, held.kibibytes, held.share)
        for mailbox, party, logins in mailboxes
        if (held := looked.found.get(mailbox)) is not None
    ]
    rows.sort(key=lambda row: row[4], reverse=True)
    columns = ("mailbox", "party", "logins", "messages", "kibibytes", "percent")
    shown = rows if as_json else [(*row[:2], output.plain(row[2]) or "-", *row[3:]) for row in rows]
    output.show(columns, shown, as_json=as_json)
    _require_all(looked.failing)


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

    A mailbox with an open POP3 session is passed over until the next time. One that Dovecot cannot look into, or delete
    from, is told on standard error. Nothing is deleted when this host's clock and the directory's are more than five
    minutes apart. The exit status is 75 then.

    \b
    Examples: digipoort mailbox purge --dry-run
              digipoort mailbox purge --days 90 --yes
    """
    settings = frame.admin_settings()
    days = days or settings.mail_retention_days
    if not days:
        raise Failure("MAIL_RETENTION_DAYS is 0, mail is kept: nothing is deleted without --days.")
    with session.reading(settings.directory_dsn) as connection:
        before = _now(connection) - days * _DAY_SECONDS
        mailboxes = [row[0] for row in _mailboxes(connection, settings)]
    looked = mailstore.expired(_store(settings), mailboxes, before)
    expired = looked.found
    if dry_run or not expired:
        for mailbox, messages in expired.items():
            click.echo(f"{mailbox}: {messages} older than {days} days")
        click.echo(f"{sum(expired.values())} messages in {len(expired)} mailboxes; nothing is deleted")
    else:
        question = (
            f"Delete {sum(expired.values())} messages in {len(expired)} mailboxes that are older than {days} days?"
        )
        asking.confirm(question, yes=yes)
    if dry_run:
        _require_all(looked.failing)
    else:
        _purge(
            mailstore.purge(_store(settings), list(expired), before), looked.failing, days, _configured_log(settings)
        )


def _purge(
    batches: Iterable[mailstore.Batch], known: Mapping[str, str], days: int, logger: FilteringBoundLogger
) -> None:
    """Purge, and tell what becomes of each mailbox; `known` are those that failed before. Raises Failure."""
    failing, fault = dict(known), ""
    try:
        for batch in batches:
            failing.update(batch.failing)
            _tell(batch.purged, days, logger)
    except mailstore.DoveadmError as error:
        fault = str(error)
    if failing or fault:
        first = fault or ": ".join(next(iter(failing.items())))
        logger.error("purge_incomplete", failing=len(failing), days=days, detail=output.printable(first))
    _require_all(failing, fault)


def _tell(purged: Sequence[mailstore.Purged], days: int, logger: FilteringBoundLogger) -> None:
    # All of it, before anything is written to a standard output that may be gone: this mail is.
    for one in purged:
        told = {"mailbox": one.mailbox, "messages": one.messages, "days": days}
        match one.outcome:
            case Outcome.DELETED:
                logger.info("mailbox_purged", **told)
            case Outcome.UNCOUNTED:
                logger.warning("mailbox_purge_uncounted", **told)
            case Outcome.BUSY:
                logger.warning("mailbox_busy", **told)
    for one in purged:
        click.echo(f"{one.mailbox}: {_WORDS[one.outcome].format(one.messages)}")


def _require_all(failing: Mapping[str, str], fault: str = "") -> None:
    """Raise Failure, with the first mailboxes that failed and what else did, when anything did."""
    sentences = [f"{mailbox}: {said}" for mailbox, said in itertools.islice(failing.items(), _MAX_TOLD)]
    if len(failing) > _MAX_TOLD:
        sentences.append(f"And {len(failing) - _MAX_TOLD} mailboxes more.")
    if fault:
        sentences.append(fault)
    if sentences:
        raise Failure("\n".join(map(output.printable, sentences)), os.EX_TEMPFAIL)


def _now(connection: Connection[TupleRow]) -> int:
    """Return the Unix time, when this host and the directory's server agree on it. Raises Failure."""
    rows: list[tuple[int]] = connection.execute(queries.SECONDS_NOW).fetchall()
    ((theirs,),) = rows
    ours = int(time())
    if abs(ours - theirs) > _CLOCK_SECONDS:
        raise Failure(
            f"This host's clock and that of the directory's server differ by {abs(ours - theirs)} seconds: how old a "
            "message is cannot be told, nothing is deleted.",
            os.EX_TEMPFAIL,
        )
    return min(ours, theirs)


def _mailboxes(connection: Connection[TupleRow], settings: AdminSettings) -> list[TupleRow]:
    """Return every mailbox with its party and logins, and the postmaster's, which is nobody's."""
    return [*connection.execute(queries.MAILBOXES_AND_LOGINS), (settings.postmaster_mailbox, None, [])]


def require_no_mail(mailbox: str) -> None:
    """Refuse to give a mailbox away while messages wait in it on this host: whoever has it next would read them.

    Nothing is refused where its folder is not, or may not be read. Raises Failure.
    """
    folder = _store(frame.admin_settings()).folder(mailbox)
    if mailstore.holds_mail(folder):
        raise Failure(
            f"Messages wait in mailbox {mailbox} on this host, and who gets it next would read them: empty it first, "
            f"on every host ({folder})."
        )


def _store(settings: AdminSettings) -> mailstore.MailStore:
    return mailstore.MailStore(settings.dovecot_config, settings.mail_directory, settings.mailbox_domain)


def _configured_log(settings: AdminSettings) -> FilteringBoundLogger:
    # Not above: structlog imports all of rich, and most commands write nothing to the log.
    from digipoort import log

    return log.configure("digipoort", settings.syslog_socket, settings.log_level)
