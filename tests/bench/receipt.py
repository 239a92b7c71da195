"""How long a party waits for its receipt on an idle gateway: from the 250 after DATA to the file in its mailbox."""

from __future__ import annotations

import smtplib
import ssl
import statistics
import time
from typing import TYPE_CHECKING, Final

import click

from tests.sandbox.clients import Account, compose
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.sandbox.layout import Layout

MESSAGES: Final = 50
LIMIT_SECONDS: Final = 30.0


def run(env: Mapping[str, str], layout: Layout, _rounds: int) -> None:
    """Send one message at a time and print median and longest wait; the goal is a median of 2 s."""
    trader = Account.of(env, "TRADER")
    mailbox = next(sample.mailbox for sample in TRADERS if sample.address == trader.address)
    folder = layout.mail / mailbox / "Maildir" / "new"
    waits = []
    for number in range(MESSAGES):
        with smtplib.SMTP(env["GATEWAY_HOST"], int(env["SUBMISSION_PORT"])) as session:
            session.starttls(context=ssl.create_default_context(cafile=env["CA_FILE"]))
            session.login(trader.login, trader.password)
            before = _count(folder)
            message = compose(trader.address, env["AGS_ADDRESS"], f"Wacht {number}", "x\n")
            session.sendmail(trader.address, [env["AGS_ADDRESS"]], message.as_bytes())
            waits.append(_wait(folder, before))
    click.echo(click.style("receipt: from the 250 to the mailbox, idle gateway", bold=True))
    click.echo(
        f"  {MESSAGES} messages: median {statistics.median(waits) * 1000:.0f} ms, longest {max(waits) * 1000:.0f} ms"
    )


def _wait(folder: Path, before: int) -> float:
    begun = time.monotonic()
    while _count(folder) == before:
        if time.monotonic() - begun > LIMIT_SECONDS:
            raise click.ClickException("No receipt came.")
        time.sleep(0.002)
    return time.monotonic() - begun


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0
