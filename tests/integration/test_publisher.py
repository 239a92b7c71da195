"""The publisher daemon beside a real Postfix: what an admin enters works without another command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.clients import Account, compose, read_report
from tests.sandbox.gateway import admin_environment
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway


@pytest.fixture(autouse=True)
def _publishing(gateway: Gateway) -> Iterator[None]:
    """Run the daemon; the sandbox itself has none, so that other tests choose the moment of publication."""
    gateway.settle("TRADER2")
    command = [sys.executable, "-m", "digipoort_maps"]
    process = subprocess.Popen(command, env=admin_environment(gateway.layout), stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_new_address_of_an_agency_takes_mail(gateway: Gateway) -> None:
    trader, unique = gateway.account("TRADER2"), f"nieuw{time.time_ns()}"
    address, remote = f"{unique}@overheid.digipoort.test", f"{unique}@{gateway.env['PHYSICAL_DOMAIN']}"
    gateway.administer(("address", "add", address, "DOUANE", "--flow", "AGS", "--remote", remote))
    # At once: acceptance may find it in the directory before it is in the maps, and then the message waits.
    gateway.send(trader, [address], compose(trader.address, address, unique, "x\n").as_bytes())
    gateway.agency_copy(unique)
    assert gateway.receipt(trader).action == "relayed"


def test_addresses_come_and_go_while_mail_flows(gateway: Gateway) -> None:
    trader = gateway.account("TRADER2")
    mailbox = next(sample.mailbox for sample in TRADERS if sample.address == trader.address)
    marks = []
    for number in range(20):
        unique = f"stroom{time.time_ns()}"
        address = f"{unique}@partij.digipoort.test"
        gateway.administer(
            ("address", "add", address, "MAASVLAKTE", "--mailbox", mailbox),
            ("connection", "add", address, "AGS", "--from", "2020-01-01"),
        )
        # In the session a sender that this host does not know yet is told to wait: no receipt would reach it.
        account = Account(trader.login, trader.password, address)
        gateway.wait_for(lambda account=account: _sender_is_taken(gateway, account), "the sender", 15)  # type: ignore[misc]
        agency = gateway.env["AGS_ADDRESS"]
        gateway.send(account, [agency], compose(address, agency, f"{unique}-{number}", "x\n").as_bytes())
        marks.append(f"{unique}-{number}")
    gateway.wait_for(gateway.queue_is_empty, "an empty queue", 60)
    reports = [report for mail in gateway.fetch(trader) if (report := read_report(mail))]
    assert [report.returned["subject"] for report in reports] == marks
    assert {report.action for report in reports} == {"relayed"}


def _sender_is_taken(gateway: Gateway, account: Account) -> bool:
    with gateway.smtp(login=account) as session:
        gateway.command(session, f"MAIL FROM:<{account.address}>")
        reply = gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}>")
    assert reply.startswith(("250", "450 4.1.0")), reply
    return reply.startswith("250")
