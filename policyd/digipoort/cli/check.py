"""`digipoort check`: what the gateway would answer to a message, decided by the policy daemon's own functions."""

from __future__ import annotations

import csv
import dataclasses
import functools
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, LiteralString

import click

from digipoort import access, decision
from digipoort.cli import completion, explained, frame
from digipoort.cli.explained import Judged, Verdict
from digipoort.cli.failures import EXIT_REFUSED, Failure
from digipoort.directory import queries, session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.settings import AdminSettings

_WITHOUT_SIZE: Final = 3


@dataclass(frozen=True, slots=True)
class _Question:
    """A message that is asked about."""

    login: str
    sender: str
    recipient: str
    size: int
    client: str | None = None


@click.command()
@click.argument("login", required=False, shell_complete=completion.LOGINS)
@click.argument("sender", required=False, shell_complete=completion.ADDRESSES)
@click.argument("recipient", required=False, shell_complete=completion.ADDRESSES)
@click.argument("size", type=click.IntRange(min=0), default=0)
@click.option(
    "--at",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Another day than today: connections, and the login's period, count as then.",
)
@click.option("--client", metavar="ADDRESS", help="Where the client is; one of the login's networks when not given.")
@click.option(
    "--csv", "file", type=click.File("r", encoding="utf-8"), help="Judge each line of login,sender,recipient[,size]."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object instead of lines.")
@click.pass_context
def check(  # noqa: PLR0913 - click hands in each option
    context: click.Context,
    *,
    login: str | None,
    sender: str | None,
    recipient: str | None,
    size: int,
    day: datetime | None,
    client: str | None,
    file: IO[str] | None,
    as_json: bool,
) -> None:
    """Tell whether LOGIN may send a message of SIZE octets from SENDER to RECIPIENT, and what that follows from.

    TLS is taken for granted, and so is the certificate that the login asks for, if any. Both stages are judged,
    although in practice the first refusal is the only one. Told are the rule that refuses, in the words that the
    submitter reads, what it was decided by, and the objects involved. The exit code is 0 when neither stage refuses, 1
    when one does. Everything but the day is as it is now.

    \b
    Examples: digipoort check bloemen bloemen@partij.example ags@overheid.example --at 2027-01-01
              digipoort check bloemen bloemen@partij.example ags@overheid.example 2000000 --json
              digipoort check --csv audit.csv > verdicts.csv
    """
    if (file is None) == (recipient is None or sender is None or login is None):
        raise click.UsageError("Give LOGIN SENDER RECIPIENT, or --csv FILE.")
    if file is not None and as_json:
        raise click.UsageError("Give either --csv or --json.")
    if client is not None and (file is not None or access.client_address(client.encode()) is None):
        raise click.UsageError("Give one IP address with --client, and no --csv.")
    settings = frame.admin_settings()
    refused = False
    with session.reading(settings.directory_dsn) as connection:
        judge = functools.partial(_judged, connection, settings, None if day is None else day.date())
        if file is not None:
            refused = _audit(file, judge)
        else:
            judged = judge(_Question(str(login), str(sender), str(recipient), size, client))
            explained.show(judged, explained.involved(connection, judged), as_json=as_json)
            refused = judged.is_refused()
    if refused:
        context.exit(EXIT_REFUSED)


def _judged(connection: Connection[TupleRow], settings: AdminSettings, day: date | None, asked: _Question) -> Judged:
    sender, recipient = asked.sender.encode(), asked.recipient.encode()
    acceptance = decision.Acceptance(sender, recipient, asked.size)
    bare = decision.Submission(
        login=asked.login.encode(),
        sender=sender,
        recipient=recipient,
        encrypted=True,
        client=(asked.client or "").encode(),
    )
    parameters = bare.parameters(settings.directory_timezone, day)
    first = decision.SubmissionRow(*_row(connection, queries.SUBMISSION, parameters))
    submission = _with_what_the_login_asks_for(bare, first)
    parameters = acceptance.parameters(settings.directory_timezone, day)
    second = decision.AcceptanceRow(*_row(connection, queries.ACCEPTANCE, parameters))
    return Judged(
        submission,
        acceptance,
        Verdict(decision.decide_submission(submission, first, settings.logical_domains), first),
        Verdict(decision.decide_acceptance(acceptance, second), second),
    )


def _with_what_the_login_asks_for(asked: decision.Submission, row: decision.SubmissionRow) -> decision.Submission:
    """Return the session with the login's certificate and, unless the client's address was given, in its network."""
    shown = decision.Certificate((row.certificate_fingerprint or "").encode(), (row.certificate_subject or "").encode())
    client = asked.client or next((network.partition("/")[0].encode() for network in row.networks), b"")
    return dataclasses.replace(asked, certificate=shown, client=client)


def _audit(file: IO[str], judge: Callable[[_Question], Judged]) -> bool:
    """Write the file's lines again, each with both verdicts; tell whether one refuses. Raises Failure with the line."""
    written = csv.writer(sys.stdout, lineterminator="\n")
    refused = False
    for number, row in enumerate(csv.reader(file), start=1):
        if not row or row[:3] == ["login", "sender", "recipient"]:
            continue
        try:
            login, sender, recipient, size = (*row, "0") if len(row) == _WITHOUT_SIZE else row
            asked = _Question(login, sender, recipient, int(size))
        except ValueError:
            raise Failure(f"Line {number} is not login,sender,recipient or login,sender,recipient,size.") from None
        judged = judge(asked)
        written.writerow([*row[:3], asked.size, judged.submission.code(), judged.acceptance.code()])
        refused = refused or judged.is_refused()
    return refused


def _row(connection: Connection[TupleRow], query: LiteralString, parameters: Mapping[str, object]) -> TupleRow:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise Failure("The directory's answer has no row: its schema and this version do not belong together.")
    return row
