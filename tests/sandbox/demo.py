"""The main job, shown: a declaration goes in, receipts come back, the agency answers, and the log tells the story."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from digipoort.references import is_reference
from tests.sandbox.clients import Account, Report, body_of, compose, fetch, read_report, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WAIT_SECONDS: Final = 20.0
T = TypeVar("T")
DECLARATION: Final = Path(__file__).with_name("cusdec.edi")


class StepFailedError(Exception):
    """A step of the demonstration came out differently than it should."""


def run(env: Mapping[str, str]) -> int:
    """Run every step, printing each as it happens; return the exit status."""
    begun = time.monotonic()
    try:
        _empty_mailboxes(env)
        reference = _declare(env)
        _answer(env)
        _not_connected(env)
        _against_interface(env)
        _log_lines(env, reference)
    except StepFailedError as failure:
        click.echo(click.style(f"✗ {failure}", fg="red"))
        return 1
    click.echo(click.style(f"✓ all steps as they should be, in {time.monotonic() - begun:.1f} s", fg="green"))
    return 0


def _empty_mailboxes(env: Mapping[str, str]) -> None:
    """Leave no mail of an earlier run that could be taken for an answer of this one."""
    for name in ("TRADER", "TRADER2"):
        fetch(env, Account.of(env, name))


def _declare(env: Mapping[str, str]) -> str:
    trader = Account.of(env, "TRADER")
    message = compose(trader.address, env["AGS_ADDRESS"], "Aangifte 26NL0000000001", "Zie bijlage.\n")
    message.add_attachment(DECLARATION.read_bytes(), maintype="application", subtype="edifact", filename="cusdec.edi")
    raw = message.as_bytes()
    _say("1", f"trader {trader.address} submits a CUSDEC declaration to {env['AGS_ADDRESS']} with msmtp")
    _submit(env, trader, env["AGS_ADDRESS"], raw)

    receipt = _receipt(env, trader)
    _expect(receipt.action == "relayed", f"the receipt is {receipt.action}, not relayed")
    reference = receipt.returned.get("x-digipoort-reference", "")
    _expect(is_reference(reference), f"the receipt names no reference, but {reference!r}")
    _say("2", "positive receipt (DSN SUCCESS), fetched with mpop:")
    _quote(receipt)

    copy = _agency_copy(env, reference)
    _expect(body_of(copy) == body_of(raw), "the agency's copy differs from what was submitted")
    _say("3", f"the agency's server has it; its {len(body_of(copy))} octets of body are byte-identical")
    return reference


def _answer(env: Mapping[str, str]) -> None:
    agency, trader = Account.of(env, "AGENCY", env["AGS_ADDRESS"]), Account.of(env, "TRADER")
    message = compose(agency.address, trader.address, "Antwoord op aangifte 26NL0000000001", "CUSRES: geaccepteerd.\n")
    _say("4", f"the agency answers from the same logical address, {agency.address}")
    _submit(env, agency, trader.address, message.as_bytes())
    answers = _poll(lambda: [raw for raw in fetch(env, trader) if read_report(raw) is None], "no answer came")
    _expect(body_of(answers[0]) == body_of(message.as_bytes()), "the answer differs from what the agency submitted")
    _say("5", "the trader fetches the answer over POP3; it is byte-identical")


def _not_connected(env: Mapping[str, str]) -> None:
    trader = Account.of(env, "TRADER2")
    _say("6", f"{trader.address} submits to {env['EMCS_ADDRESS']}, a flow that it is not connected to")
    message = compose(trader.address, env["EMCS_ADDRESS"], "Accijns", "Bericht.\n")
    _submit(env, trader, env["EMCS_ADDRESS"], message.as_bytes())
    _refusal(env, trader, "DGP-2003")


def _against_interface(env: Mapping[str, str]) -> None:
    trader = Account.of(env, "TRADER2")
    _say("7", "a message whose From is not the envelope sender, and without a Date")
    message = compose("iemand-anders@partij.digipoort.test", env["AGS_ADDRESS"], "Aangifte", "Bericht.\n")
    del message["Date"]
    _submit(env, trader, env["AGS_ADDRESS"], message.as_bytes())
    _refusal(env, trader, "DGP-3001", "DGP-3003")


def _refusal(env: Mapping[str, str], account: Account, *codes: str) -> None:
    receipt = _receipt(env, account)
    _expect(receipt.action == "failed", f"the receipt is {receipt.action}, not failed")
    for code in codes:
        _expect(code in receipt.text, f"the receipt does not name {code}")
    _say("", "negative receipt (DSN FAILURE):")
    _quote(receipt)


def _log_lines(env: Mapping[str, str], reference: str) -> None:
    lines = [line for line in Path(env["MAIL_LOG"]).read_text(errors="replace").splitlines() if reference in line]
    programs = {line.split()[4].partition("[")[0] for line in lines}
    _expect(len(programs) > 1, "the reference is not in Postfix's and in our lines")
    _say("8", f"grep {reference} {env['MAIL_LOG']}")
    for line in lines:
        click.echo(f"      {line}")


def _submit(env: Mapping[str, str], account: Account, recipient: str, raw: bytes) -> None:
    result = send(env, account, [recipient], raw)
    _expect(result.returncode == 0, f"msmtp: {result.stderr.decode(errors='replace').strip()}")


def _receipt(env: Mapping[str, str], account: Account) -> Report:
    def look() -> Report | None:
        reports = (read_report(raw) for raw in fetch(env, account))
        return next((report for report in reports if report is not None), None)

    return _poll(look, "no receipt came")


def _agency_copy(env: Mapping[str, str], reference: str) -> bytes:
    def look() -> bytes | None:
        copies = (path.read_bytes() for path in Path(env["AGENCY_MAILDIR"], "new").iterdir())
        return next((copy for copy in copies if reference.encode() in copy), None)

    return _poll(look, "nothing arrived at the agency")


def _poll(look: Callable[[], T | None], failure: str) -> T:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise StepFailedError(failure)


def _expect(holds: bool, failure: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        raise StepFailedError(failure)


def _say(step: str, text: str) -> None:
    click.echo(f"{click.style(step, bold=True):>3} {text}" if step else f"    {text}")


def _quote(receipt: Report) -> None:
    click.echo(f"      Subject: {receipt.subject}")
    for line in receipt.text.strip().splitlines():
        click.echo(f"      | {line}")
