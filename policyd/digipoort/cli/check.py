"""`digipoort check`: what the gateway would answer to a message, decided by the policy daemon's own functions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, LiteralString

import click

from digipoort import decision
from digipoort.cli import frame, output
from digipoort.cli.failures import EXIT_REFUSED, Failure
from digipoort.directory import queries, session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.reasons import Finding


@click.command()
@click.argument("login")
@click.argument("sender")
@click.argument("recipient")
@click.argument("size", type=click.IntRange(min=0), default=0)
@click.pass_context
def check(context: click.Context, login: str, sender: str, recipient: str, size: int) -> None:
    """Tell whether LOGIN may send a message of SIZE octets from SENDER to RECIPIENT, and what that follows from.

    TLS is taken for granted. Both stages are judged, although in practice the first refusal is the only one. The exit
    code is 0 when neither stage refuses, 1 when one does.
    """
    settings = frame.admin_settings()
    submission = decision.Submission(login.encode(), sender.encode(), recipient.encode(), encrypted=True)
    acceptance = decision.Acceptance(sender.encode(), recipient.encode(), size)
    with session.reading(settings.directory_dsn) as connection:
        first = decision.SubmissionRow(*_row(connection, queries.SUBMISSION, submission.parameters()))
        parameters = acceptance.parameters(settings.directory_timezone)
        second = decision.AcceptanceRow(*_row(connection, queries.ACCEPTANCE, parameters))
    verdicts = (
        decision.decide_submission(submission, first, settings.logical_domains),
        decision.decide_acceptance(acceptance, second),
    )
    _show("submission", verdicts[0], dataclasses.asdict(first))
    _show("acceptance", verdicts[1], dataclasses.asdict(second))
    if any(verdicts):
        context.exit(EXIT_REFUSED)


def _row(connection: Connection[TupleRow], query: LiteralString, parameters: Mapping[str, object]) -> TupleRow:
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise Failure("The directory's answer has no row: its schema and this version do not belong together.")
    return row


def _show(stage: str, verdict: Finding | None, row: Mapping[str, object]) -> None:
    click.echo(f"{stage}: {'allowed' if verdict is None else verdict.reply()}")
    if verdict is not None:
        click.echo(f"  remedy: {verdict.reason.remedy}")
    for line in output.table(list(row.items())):
        click.echo(f"  {line}")
