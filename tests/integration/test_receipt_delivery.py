"""Receipts on their last mile: a full mailbox, a party that has gone, an agency that takes none, a busy publisher.

A receipt that reaches nobody is kept in the postmaster's mailbox, which no login opens.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from tests.integration.agencies import Server, agency
from tests.sandbox import layout as names
from tests.sandbox.clients import Account, compose, read_report
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.gateway import Gateway

GIBIBYTE: Final = 1024**3
MAILBOX: Final = next(trader.mailbox for trader in TRADERS if trader.key == "TRADER2")


@pytest.fixture(autouse=True)
def _quiet(gateway: Gateway) -> Iterator[None]:
    """Begin with an empty queue and mailbox; leave nothing in the queue that would wait for ever."""
    gateway.settle("TRADER2")
    yield
    gateway.postfix("postsuper", "-d", "ALL")


@contextlib.contextmanager
def _filled(gateway: Gateway, octets: int) -> Iterator[None]:
    """Put a message of this size in the mailbox of TRADER2: Dovecot believes the size that the file's name tells."""
    folder = gateway.layout.mail / MAILBOX / "Maildir" / "cur"
    filler = folder / f"1.{time.time_ns()}.filler,S={octets},W={octets}:2,S"
    filler.touch(mode=0o600)
    try:
        yield
    finally:
        filler.unlink()


def _submit(gateway: Gateway, mark: str) -> None:
    trader, address = gateway.account("TRADER2"), gateway.env["AGS_ADDRESS"]
    gateway.send(trader, [address], compose(trader.address, address, mark, "x\n").as_bytes())


def _answer(gateway: Gateway, mark: str, key: str = "AGS_ADDRESS") -> None:
    """Submit a message from the agency to the trader."""
    account, trader = gateway.account("AGENCY", gateway.env[key]), gateway.account("TRADER2")
    gateway.send(account, [trader.address], compose(account.address, trader.address, mark, "x\n").as_bytes())


def _stored(gateway: Gateway, mark: str) -> list[Path]:
    """Return the files of the trader's mailbox with `mark` in them, without a login (which would show a filler)."""
    folder = gateway.layout.mail / MAILBOX / "Maildir" / "new"
    return [path for path in folder.glob("*") if mark.encode() in path.read_bytes()]


def _kept_for_the_postmaster(gateway: Gateway, mark: str) -> bytes:
    """Return the notice with `mark` in it from the postmaster's mailbox."""
    folder = gateway.layout.mail / names.POSTMASTER_MAILBOX / "Maildir" / "new"

    def look() -> bytes | None:
        return next((raw for path in folder.glob("*") if mark.encode() in (raw := path.read_bytes())), None)

    return gateway.wait_for(look, f"{mark} in the postmaster's mailbox")


def test_a_full_mailbox_has_room_for_receipts(gateway: Gateway) -> None:
    mark, answer = f"Vol{time.time_ns()}", f"Antwoord{time.time_ns()}"
    with _filled(gateway, GIBIBYTE):
        _answer(gateway, answer)
        gateway.wait_for(lambda: "Quota exceeded" in gateway.postfix("postqueue", "-j"), "the agency's message waits")
        _submit(gateway, mark)
        gateway.wait_for(lambda: _stored(gateway, mark), "the receipt in the full mailbox")
        assert not _stored(gateway, answer)
    gateway.postfix("postqueue", "-f")
    gateway.wait_for(lambda: _stored(gateway, answer), "the agency's message, once there is room")


def test_receipts_wait_for_a_mailbox_without_any_room(gateway: Gateway) -> None:
    mark = f"Propvol{time.time_ns()}"
    with _filled(gateway, 2 * GIBIBYTE):
        _submit(gateway, mark)
        gateway.wait_for(lambda: "Quota exceeded" in gateway.postfix("postqueue", "-j"), "the receipt in the queue")
        assert not _stored(gateway, mark)
    gateway.postfix("postqueue", "-f")
    gateway.wait_for(lambda: _stored(gateway, mark), "the receipt, once there is room")


def test_a_receipt_that_waited_too_long_is_kept_for_the_postmaster(gateway: Gateway) -> None:
    mark = f"Verlopen{time.time_ns()}"
    # Above maximal_queue_lifetime, qmgr lowers the other one and says so.
    with _filled(gateway, 2 * GIBIBYTE), gateway.postfix_settings(maximal_queue_lifetime="4s"):
        _submit(gateway, mark)
        notice = _kept_for_the_postmaster(gateway, mark)
    assert b"Quota exceeded" in notice
    assert "bounce_queue_lifetime is larger than maximal_queue_lifetime - adjusting" in gateway.log()


def test_a_receipt_that_waits_for_a_mailbox_that_goes_is_kept_for_the_postmaster(gateway: Gateway) -> None:
    mark = f"Opgeheven{time.time_ns()}"
    account = _new_address(gateway, "--new-mailbox")
    with psycopg.connect(gateway.env["DIRECTORY_DSN"]) as directory:
        row = directory.execute(
            "SELECT mailbox FROM target JOIN address ON target_id = target.id WHERE address = %s", [account.address]
        ).fetchone()
    assert row is not None
    mailbox = str(row[0])
    # Nothing can be stored where its folder should be.
    folder = gateway.layout.mail / mailbox
    folder.touch()
    try:
        address = gateway.env["AGS_ADDRESS"]
        gateway.send(account, [address], compose(account.address, address, mark, "x\n").as_bytes())
        gateway.wait_for(lambda: f"{mailbox}@receipts." in gateway.postfix("postqueue", "-j"), "the receipt waits")
        _remove(gateway, account.address)
        with psycopg.connect(gateway.env["DIRECTORY_DSN"]) as directory:
            directory.execute("DELETE FROM target WHERE mailbox = %s", [mailbox])
        gateway.administer(("maps", "publish"))
        with gateway.postfix_settings(maximal_queue_lifetime="2s"):
            gateway.postfix("postqueue", "-f")
            notice = _kept_for_the_postmaster(gateway, mark)
    finally:
        folder.unlink()
    assert b"no route in the published maps" in notice


def _new_address(gateway: Gateway, *target: str) -> Account:
    """Enter another address of TRADER2, by default with its mailbox; return the account that sends from it."""
    trader = gateway.account("TRADER2")
    address = f"tijdelijk{time.time_ns()}@partij.digipoort.test"
    gateway.administer(
        ("address", "add", address, "MAASVLAKTE", *(target or ("--mailbox", MAILBOX))),
        ("connection", "add", address, "AGS", "--from", "2020-01-01"),
        ("maps", "publish"),
    )
    return Account(trader.login, trader.password, address)


def _remove(gateway: Gateway, address: str) -> None:
    with psycopg.connect(gateway.env["DIRECTORY_DSN"]) as directory:
        directory.execute(
            "DELETE FROM connection USING address WHERE address_id = address.id AND address.address = %s", [address]
        )
        directory.execute("DELETE FROM address WHERE address = %s", [address])
    gateway.administer(("maps", "publish"))


def test_a_receipt_for_a_party_that_has_gone_is_kept_for_the_postmaster(gateway: Gateway) -> None:
    account, agency_address = _new_address(gateway), gateway.env["AGS_ADDRESS"]
    mark = f"Vertrokken{time.time_ns()}"
    gateway.control("stop", "milter-receipt")
    try:
        gateway.send(account, [agency_address], compose(account.address, agency_address, mark, "x\n").as_bytes())
        gateway.wait_for(lambda: '"deferred"' in gateway.postfix("postqueue", "-j"), "the receipt waits")
        _remove(gateway, account.address)
    finally:
        gateway.control("start", "milter-receipt")
    gateway.postfix("postqueue", "-f")
    notice = _kept_for_the_postmaster(gateway, mark)
    assert account.address.encode() in notice
    assert b"DGP-1005" in notice
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    assert gateway.fetch(gateway.account("TRADER2")) == []
    assert any("status=bounced" in line and account.address in line for line in gateway.log().splitlines())


def test_a_receipt_that_an_agency_refuses_is_kept_for_the_postmaster(gateway: Gateway) -> None:
    mark = f"Nietgewenst{time.time_ns()}"
    _answer(gateway, mark, key="REJECT_ADDRESS")
    notice = _kept_for_the_postmaster(gateway, mark)
    assert b"no such user" in notice
    gateway.wait_for(lambda: _stored(gateway, mark), "the message itself")


def test_the_postmasters_mailbox_cannot_be_a_partys(gateway: Gateway) -> None:
    added = gateway.digipoort(
        "address", "add", "post@partij.digipoort.test", "MAASVLAKTE", "--mailbox", names.POSTMASTER_MAILBOX
    )
    assert added.returncode != 0
    with psycopg.connect(gateway.env["DIRECTORY_DSN"]) as directory, pytest.raises(psycopg.errors.CheckViolation):
        directory.execute(
            "INSERT INTO target (kind, party_id, party_kind, mailbox)"
            " SELECT 'mailbox', id, kind, %s FROM party WHERE code = 'MAASVLAKTE'",
            [names.POSTMASTER_MAILBOX],
        )


@pytest.mark.timeout(180)
def test_maps_that_are_published_all_the_time_lose_nothing(gateway: Gateway) -> None:
    trader = gateway.account("TRADER2")
    ended = threading.Event()
    rounds = []

    def publish() -> None:
        while not ended.is_set():
            _remove(gateway, _new_address(gateway).address)
            rounds.append(1)

    publisher = threading.Thread(target=publish)
    publisher.start()
    marks: list[str] = []
    try:
        with agency(gateway, Server()) as other, gateway.smtp(login=trader) as session:
            # As long as it takes to publish a few times meanwhile, which is not always the same.
            while len(marks) < 150 or (len(rounds) < 4 and len(marks) < 3000):
                number = len(marks)
                mark = f"Kaart{time.time_ns()}-{number:04}"
                marks.append(mark)
                address = other if number % 2 else gateway.env["AGS_ADDRESS"]
                session.sendmail(trader.address, [address], compose(trader.address, address, mark, "x\n").as_bytes())
            gateway.wait_for(gateway.queue_is_empty, "an empty queue", 100)
    finally:
        ended.set()
        publisher.join()
    assert len(rounds) > 2
    reports = [report for mail in gateway.fetch(trader) if (report := read_report(mail))]
    assert sorted(report.returned["subject"] for report in reports) == marks
    assert {report.action for report in reports} == {"relayed"}
