"""What the directory withdraws is refused as soon as this host's server shows it, whatever the maps still hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.sandbox.clients import Account, compose
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from tests.integration.gateway import Gateway
    from tests.sandbox.clients import Report


@pytest.fixture(autouse=True)
def _quiet(gateway: Gateway) -> None:
    gateway.settle("TRADER2")


def _refused(gateway: Gateway, code: str) -> Report:
    """Return the one negative receipt of TRADER2, which must have this code."""
    report = gateway.receipt(gateway.account("TRADER2"))
    assert report.action == "failed", report.text
    assert code in report.fields["diagnostic-code"]
    return report


def _is_published(gateway: Gateway, address: str) -> bool:
    return bool(gateway.postfix("postmap", "-q", address, f"lmdb:{gateway.layout.maps}/virtual_alias").strip())


def test_an_address_that_is_gone_takes_no_mail_although_it_is_published(gateway: Gateway) -> None:
    trader, unique = gateway.account("TRADER2"), f"weg{time.time_ns()}"
    address, remote = f"{unique}@overheid.digipoort.test", f"{unique}@{gateway.env['PHYSICAL_DOMAIN']}"
    gateway.administer(
        ("address", "add", address, "DOUANE", "--flow", "AGS", "--remote", remote),
        ("maps", "publish"),
    )
    gateway.send(trader, [address], compose(trader.address, address, f"Eerst {unique}", "x\n").as_bytes())
    gateway.agency_copy(unique)
    assert gateway.receipt(trader).action == "relayed"

    with psycopg.connect(gateway.env["DIRECTORY_DSN"]) as directory:
        directory.execute("DELETE FROM address WHERE address = %s", [address])
    gateway.send(trader, [address], compose(trader.address, address, f"Daarna {unique}", "x\n").as_bytes())
    report = _refused(gateway, "DGP-2001")
    assert report.fields["final-recipient"] == f"rfc822; {address}"
    assert _is_published(gateway, address)
    assert len(gateway.agency_copies(unique)) == 1
    gateway.administer(("maps", "publish"))


def test_a_connection_that_ends_while_a_message_waits_refuses_it(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER2"), gateway.env["AGS_ADDRESS"]
    unique = f"einde{time.time_ns()}"
    address = f"{unique}@partij.digipoort.test"
    mailbox = next(sample.mailbox for sample in TRADERS if sample.address == trader.address)
    gateway.administer(
        ("address", "add", address, "MAASVLAKTE", "--mailbox", mailbox),
        ("connection", "add", address, "AGS", "--from", "2020-01-01"),
        ("maps", "publish"),
    )
    gateway.control("stop", "milter-acceptance")
    try:
        account = Account(trader.login, trader.password, address)
        gateway.send(account, [agency], compose(address, agency, unique, "x\n").as_bytes())
        gateway.wait_for(lambda: "deferred" in gateway.postfix("postqueue", "-j"), "a deferred message")
        gateway.administer(("connection", "end", address, "AGS", "--on", "2020-12-31", "--yes"))
    finally:
        gateway.control("start", "milter-acceptance")
    gateway.postfix("postqueue", "-f")
    _refused(gateway, "DGP-2004")
    assert _is_published(gateway, address)
    assert gateway.agency_copies(unique) == []
