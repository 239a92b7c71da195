"""What a killed daemon costs: every message that got 250 ends delivered once, with exactly one receipt."""

from __future__ import annotations

import functools
import os
import re
import smtplib
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.sandbox.clients import Account, compose, read_report, reference_of
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.integration.gateway import Gateway

MESSAGES: Final = 200
# `make endurance` sends 5,000.
ALL_MESSAGES: Final = int(os.environ.get("FAULT_MESSAGES", "200"))
OURS: Final = ("policyd", "milter-submission", "milter-acceptance", "milter-receipt", "authd", "postgresql")
SUBMITTERS: Final = 4
SETTLE_SECONDS: Final = 100.0


@pytest.fixture(autouse=True)
def _quiet(gateway: Gateway) -> None:
    """Begin with an empty queue and empty mailboxes, whatever an earlier test left."""
    gateway.settle("TRADER")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What the parties were told: the marks of the messages that got 250, and the other reply codes."""

    accepted: list[str]
    codes: list[int]


def _submit(gateway: Gateway, marks: list[str], told: Submitted) -> None:
    """Submit until each mark's message got 250, retrying what is refused for now, as a party's software does."""
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    session: smtplib.SMTP | None = None
    for mark in marks:
        raw = compose(trader.address, agency, f"Storing {mark}", "x\n").as_bytes()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                session = session or gateway.smtp(login=trader)
                session.sendmail(trader.address, [agency], raw)
            except OSError as fault:  # every fault of smtplib and of the connection
                told.codes.extend(_codes(fault))
                if session:
                    session.close()
                session = None
                time.sleep(0.2)
                continue
            told.accepted.append(mark)
            break
    if session:
        session.close()


def _codes(fault: OSError) -> list[int]:
    """Return the reply codes of what smtplib raised; a connection that broke has none."""
    if isinstance(fault, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in fault.recipients.values()]
    return [fault.smtp_code] if isinstance(fault, smtplib.SMTPResponseException) else []


def _reached(accepted: list[str], count: int) -> bool:
    return len(accepted) >= count


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run's messages: how often each mark, and each reference, was receipted and delivered."""

    receipts: Counter[str]
    deliveries: Counter[str]
    receipts_by_reference: Counter[str]
    deliveries_by_reference: Counter[str]

    def duplicates(self) -> str:
        """Return in words what was counted more than once, and where it came from."""
        again = len(self.deliveries_by_reference) - len(self.deliveries)
        receipts = sum(self.receipts_by_reference.values()) - len(self.receipts_by_reference)
        deliveries = sum(self.deliveries_by_reference.values()) - len(self.deliveries_by_reference)
        return (
            f"submitted again by the party: {again}; under one reference: {receipts} further receipts, "
            f"{deliveries} further deliveries"
        )


def disturb(gateway: Gateway, marks: list[str], disturbances: Sequence[Callable[[], None]]) -> Submitted:
    """Submit all marks with each disturbance once, evenly spread; wait until the queue is empty."""
    told = Submitted([], [])
    threads = [
        threading.Thread(target=_submit, args=(gateway, marks[start::SUBMITTERS], told)) for start in range(SUBMITTERS)
    ]
    for thread in threads:
        thread.start()
    for number, disturbance in enumerate(disturbances, start=1):
        threshold = number * len(marks) // (len(disturbances) + 2)
        gateway.wait_for(functools.partial(_reached, told.accepted, threshold), f"traffic before {disturbance}", 300)
        disturbance()
    for thread in threads:
        thread.join()
    gateway.wait_for(gateway.queue_is_empty, "an empty queue", SETTLE_SECONDS)
    assert sorted(told.accepted) == marks
    return told


def _killing(gateway: Gateway, marks: list[str], victims: tuple[str, ...]) -> None:
    """Submit all marks while every victim is killed once and started again; wait until the queue is empty."""
    disturb(gateway, marks, [functools.partial(_kill, gateway, victim) for victim in victims])


def _kill(gateway: Gateway, victim: str) -> None:
    gateway.control("stop", "--kill", victim)
    gateway.control("start", victim)


def outcome_of(gateway: Gateway, run: str) -> Outcome:
    """Collect what came of the messages whose marks begin with `run`."""
    receipts: Counter[str] = Counter()
    deliveries: Counter[str] = Counter()
    receipts_by_reference: Counter[str] = Counter()
    deliveries_by_reference: Counter[str] = Counter()
    for mail in gateway.fetch(gateway.account("TRADER")):
        report = read_report(mail)
        if report and run in report.returned.get("subject", ""):
            assert report.action == "relayed", report.text
            receipts[report.returned["subject"].split()[1]] += 1
            receipts_by_reference[reference_of(mail)] += 1
    for copy in gateway.agency_copies(run):
        subject = re.search(rb"^Subject: Storing (\S+)", copy, re.MULTILINE)
        assert subject is not None
        deliveries[subject[1].decode()] += 1
        deliveries_by_reference[reference_of(copy)] += 1
    return Outcome(receipts, deliveries, receipts_by_reference, deliveries_by_reference)


@pytest.mark.timeout(240)
def test_every_daemon_of_ours_killed_in_the_middle_of_traffic(gateway: Gateway) -> None:
    run = f"K{time.time_ns()}"
    marks = [f"{run}-{number:03}" for number in range(MESSAGES)]
    _killing(gateway, marks, OURS)
    outcome = outcome_of(gateway, run)
    assert outcome.receipts == Counter(marks)
    assert outcome.deliveries == Counter(marks)


@pytest.mark.timeout(1800)
def test_postfix_dovecot_and_all_others_killed_in_the_middle_of_traffic(gateway: Gateway) -> None:
    """None is lost and none is without a receipt; what SMTP may double is counted (docs/reliability.md)."""
    run = f"A{time.time_ns()}"
    marks = [f"{run}-{number:05}" for number in range(ALL_MESSAGES)]
    begun = time.monotonic()
    _killing(gateway, marks, (*OURS, "dovecot", "postfix", "agency"))
    outcome = outcome_of(gateway, run)
    print(f"\n{len(marks)} messages, {time.monotonic() - begun:.0f} s; {outcome.duplicates()}")  # noqa: T201 - the figures
    assert outcome.receipts.keys() == set(marks)
    assert outcome.deliveries.keys() == set(marks)
    assert outcome.deliveries_by_reference.keys() == outcome.receipts_by_reference.keys()


@pytest.mark.parametrize(
    ("stopped", "messages"),
    [
        pytest.param("milter-acceptance", 5, id="stage 1, acceptance down"),
        pytest.param("agency", 5, id="stage 2, agency down"),
    ],
)
def test_requeued_mail_does_not_skip_acceptance(gateway: Gateway, stopped: str, messages: int) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    run = f"R{time.time_ns()}"
    gateway.control("stop", stopped)
    try:
        for number in range(messages):
            gateway.send(trader, [agency], compose(trader.address, agency, f"{run}-{number}", "x\n").as_bytes())
        gateway.wait_for(lambda: gateway.postfix("postqueue", "-j").count('"deferred"') >= messages, "deferred mail")
        gateway.postfix("postsuper", "-r", "ALL")
        # Requeued mail waits for pickup(8), which looks once a minute.
        gateway.postfix("postkick", "public", "pickup", "W")
        gateway.wait_for(
            lambda: gateway.postfix("postqueue", "-j").count('"deferred"') >= messages, "deferred mail again"
        )
        assert not gateway.agency_copies(run)
    finally:
        gateway.control("start", stopped)
    gateway.postfix("postqueue", "-f")
    gateway.wait_for(lambda: len(gateway.agency_copies(run)) >= messages, "the messages at the agency", 60)
    gateway.wait_for(gateway.queue_is_empty, "an empty queue", 60)

    receipts = [report for report in gateway.receipts(trader, messages) if report.action == "relayed"]
    assert len(receipts) == messages
    copies = gateway.agency_copies(run)
    assert len(copies) == messages
    for copy in copies:
        # Two gateway hops, and what acceptance removes is gone.
        assert copy.count(b"\nReceived: ") + copy.startswith(b"Received: ") >= 2
        assert b"X-Digipoort-Size" not in copy
    references = {receipt.returned["x-digipoort-reference"] for receipt in receipts}
    judged = [line for line in gateway.log().splitlines() if "event=message_accepted" in line]
    assert all(any(reference in line for line in judged) for reference in references)


def test_receipts_wait_for_their_milter(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    gateway.control("stop", "milter-receipt")
    try:
        gateway.send(trader, [agency], compose(trader.address, agency, "Wacht", "x\n").as_bytes())
        gateway.wait_for(lambda: "deferred" in gateway.postfix("postqueue", "-j"), "a deferred message")
        assert gateway.fetch(trader) == []
    finally:
        gateway.control("start", "milter-receipt")
    gateway.postfix("postqueue", "-f")
    receipt = gateway.receipt(trader)
    assert receipt.action == "relayed"
    assert receipt.fields["final-recipient"] == f"rfc822; {agency}"


def test_an_address_that_is_not_yet_published_waits(gateway: Gateway) -> None:
    trader, address = gateway.account("TRADER"), f"nieuw{time.time_ns()}@overheid.digipoort.test"
    added = gateway.digipoort(
        "address",
        "add",
        address,
        "DOUANE",
        "--flow",
        "AGS",
        "--remote",
        f"n{time.time_ns()}@{gateway.env['PHYSICAL_DOMAIN']}",
    )
    assert added.returncode == 0, added.stderr
    gateway.send(trader, [address], compose(trader.address, address, "Nieuw adres", "x\n").as_bytes())
    gateway.wait_for(
        lambda: address in gateway.postfix("postqueue", "-j") and "deferred" in gateway.postfix("postqueue", "-j"),
        "it waits",
    )
    assert gateway.fetch(trader) == []

    gateway.administer(("maps", "publish"))
    gateway.postfix("postqueue", "-f")
    assert gateway.receipt(trader).action == "relayed"


def test_a_sender_that_is_not_yet_published_waits_or_its_receipt_would_be_lost(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER2"), gateway.env["AGS_ADDRESS"]
    address = f"tweede{time.time_ns()}@partij.digipoort.test"
    mailbox = next(sample.mailbox for sample in TRADERS if sample.address == trader.address)
    gateway.administer(
        ("address", "add", address, "MAASVLAKTE", "--mailbox", mailbox),
        ("connection", "add", address, "AGS", "--from", "2020-01-01"),
    )
    with gateway.smtp(login=trader) as session:
        gateway.command(session, f"MAIL FROM:<{address}>")
        assert gateway.command(session, f"RCPT TO:<{agency}>").startswith("450 4.1.0")

    gateway.administer(("maps", "publish"))
    second = Account(trader.login, trader.password, address)
    gateway.send(second, [agency], compose(address, agency, "Tweede adres", "x\n").as_bytes())
    assert gateway.receipt(trader).action == "relayed"
