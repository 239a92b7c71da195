"""The same message again, on the real gateway: under each policy, across restarts, outages and retries."""

from __future__ import annotations

import contextlib
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from digipoort.resubmission import History, Question, Request, Standing, Submitted
from digipoort_milter.resubmission_client import ask
from tests.sandbox.clients import body_of, compose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway
    from tests.sandbox.clients import Report

REFERENCE = re.compile(r"DP-\d{8}-[0-9A-Z]{16}")


@pytest.fixture(autouse=True)
def _quiet(gateway: Gateway) -> None:
    """Begin with an empty queue and empty mailboxes, whatever an earlier test left."""
    gateway.settle("TRADER", "TRADER2")


@contextlib.contextmanager
def _policy(gateway: Gateway, flow: str, policy: str) -> Iterator[None]:
    """Give a flow a policy for a while; `tell` is the default."""
    try:
        gateway.administer(("flow", "resubmission", flow, policy))
        gateway.administer(("maps", "publish"))
        yield
    finally:
        gateway.administer(("flow", "resubmission", flow, "tell"))
        gateway.administer(("maps", "publish"))


def _message(gateway: Gateway, text: str = "x\n", recipient: str = "AGS_ADDRESS") -> bytes:
    return compose(gateway.account("TRADER").address, gateway.env[recipient], "Nogmaals", text).as_bytes()


def _another_body(raw: bytes) -> bytes:
    head, _, _ = raw.partition(b"\r\n\r\n")
    return head + b"\r\n\r\nIets anders\r\n"


def _submit(gateway: Gateway, raw: bytes, recipient: str = "AGS_ADDRESS") -> Report:
    """Submit and return the one receipt."""
    trader = gateway.account("TRADER")
    gateway.send(trader, [gateway.env[recipient]], raw)
    return gateway.receipt(trader)


def _reference(report: Report) -> str:
    match = REFERENCE.search(report.subject)
    assert match is not None
    return match[0]


def _assert_first(report: Report) -> None:
    assert report.action == "relayed", report.text
    assert "DGP-" not in report.text
    assert report.fields["diagnostic-code"] == "x-digipoort; message accepted"


def _assert_told(report: Report, earlier: str) -> None:
    assert report.action == "relayed", report.text
    assert f"DGP-4006 (earlier={earlier})" in report.fields["diagnostic-code"]
    assert report.text.count(f"DGP-4006: Hetzelfde bericht is al eerder ontvangen, als {earlier};") == 1
    assert report.text.count(f"DGP-4006: The same message was received before, as {earlier};") == 1


def test_a_resubmission_is_taken_and_told_by_default(gateway: Gateway) -> None:
    raw = _message(gateway)
    first = _submit(gateway, raw)
    _assert_first(first)
    for _ in range(2):
        again = _submit(gateway, raw)
        _assert_told(again, _reference(first))
        assert gateway.agency_copy(_reference(again))
    assert first.fields["status"] == "2.0.0"


def test_a_flow_may_refuse_it(gateway: Gateway) -> None:
    raw = _message(gateway)
    with _policy(gateway, "AGS", "refuse"):
        first = _submit(gateway, raw)
        _assert_first(first)
        again = _submit(gateway, raw)
    assert (again.action, again.fields["status"]) == ("failed", "5.7.1")
    assert f"DGP-3042 (earlier={_reference(first)})" in again.fields["diagnostic-code"]
    assert f"DGP-3042: Dit bericht is al eerder ontvangen, als {_reference(first)};" in again.text
    assert "Do nothing: what was received under that reference counts." in again.text
    assert gateway.agency_copies(_reference(again)) == []


def test_a_flow_may_take_it_without_a_word(gateway: Gateway) -> None:
    raw = _message(gateway)
    with _policy(gateway, "AGS", "accept"):
        _assert_first(_submit(gateway, raw))
        again = _submit(gateway, raw)
    _assert_first(again)
    assert gateway.agency_copy(_reference(again))


@pytest.mark.parametrize("policy", ["accept", "refuse", "tell"])
def test_another_message_under_the_same_identifier_is_refused(gateway: Gateway, policy: str) -> None:
    raw = _message(gateway)
    with _policy(gateway, "AGS", policy):
        first = _submit(gateway, raw)
        other = _submit(gateway, _another_body(raw))
    assert (other.action, other.fields["status"]) == ("failed", "5.6.0")
    assert f"DGP-3043 (earlier={_reference(first)})" in other.fields["diagnostic-code"]
    assert "Give the message a Message-ID of its own" in other.text


def test_a_message_that_was_refused_was_not_received(gateway: Gateway) -> None:
    raw = _message(gateway)
    refused = _submit(gateway, b"Bcc: iemand@partij.digipoort.test\r\n" + raw)
    assert "DGP-3005" in refused.text
    _assert_first(_submit(gateway, _another_body(raw)))


def test_two_recipients_of_one_message_are_no_duplicates(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    recipients = [gateway.env["AGS_ADDRESS"], gateway.env["EMCS_ADDRESS"]]
    raw = compose(trader.address, ", ".join(recipients), "Twee", "x\n").as_bytes()

    gateway.send(trader, recipients, raw)
    receipts = gateway.receipts(trader, 1)
    assert "DGP-" not in receipts[0].text
    assert receipts[0].raw.count(b"Action: relayed") == 2

    gateway.send(trader, recipients[:1], raw)
    _assert_told(gateway.receipt(trader), _reference(receipts[0]))


def test_another_party_has_identifiers_of_its_own(gateway: Gateway) -> None:
    raw = _message(gateway)
    _assert_first(_submit(gateway, raw))
    other = gateway.account("TRADER2")
    gateway.send(other, [gateway.env["AGS_ADDRESS"]], raw.replace(b"bloemen@", b"expeditie@", 1))
    _assert_first(gateway.receipt(other))


@pytest.mark.parametrize("requeued", [False, True])
def test_the_hops_retry_is_no_duplicate(gateway: Gateway, *, requeued: bool) -> None:
    """What acceptance leaves behind when it dies after its question: the claim, and a message that still waits."""
    trader, agency, raw = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"], _message(gateway)
    with _policy(gateway, "AGS", "refuse"):
        gateway.control("stop", "milter-acceptance")
        gateway.send(trader, [agency], raw)
        entry = gateway.wait_for(lambda: _deferred(gateway), "a message that waits")
        reference = REFERENCE.findall(gateway.postfix("postcat", "-hq", entry))[0]
        assert _claim(gateway, raw, reference) == History(Standing.FIRST)
        if requeued:
            gateway.postfix("postsuper", "-r", entry)
            gateway.postfix("postkick", "public", "pickup", "W")
        gateway.control("start", "milter-acceptance")
        gateway.postfix("postqueue", "-f")
        receipt = gateway.receipt(trader)
        _assert_first(receipt)
        assert _reference(receipt) == reference
        assert _claim(gateway, raw, "DP-20200101-0000000000000000") == History(Standing.REPEATED, reference)


def _deferred(gateway: Gateway) -> str | None:
    match = re.search(r'"queue_name": "deferred", "queue_id": "([0-9A-F]+)"', gateway.postfix("postqueue", "-j"))
    return match[1] if match else None


def _claim(gateway: Gateway, raw: bytes, reference: str) -> History:
    """Claim a message as acceptance does."""
    identifier = re.search(rb"^Message-ID: (<\S+>)", raw, re.MULTILINE)
    assert identifier is not None
    message = Submitted(
        reference,
        gateway.account("TRADER").address.encode(),
        gateway.env["AGS_ADDRESS"].encode(),
        identifier[1],
        hashlib.sha256(body_of(raw)).hexdigest(),
    )
    path = gateway.layout.policyd_run / "resubmission.sock"
    return ask(path, 5, [Question(Request.CLAIM, message)])[0]


def test_it_is_recognised_after_a_restart(gateway: Gateway) -> None:
    raw = _message(gateway)
    first = _submit(gateway, raw)
    for daemon in ("policyd", "milter-acceptance", "milter-receipt", "postgresql"):
        gateway.control("stop", daemon)
        gateway.control("start", daemon)
    _assert_told(_submit(gateway, raw), _reference(first))


@contextlib.contextmanager
def _memory_away(gateway: Gateway) -> Iterator[None]:
    """Let nobody reach the server of DIRECTORY_WRITE_DSN, while that of DIRECTORY_DSN goes on."""
    try:
        _execute(gateway, "ALTER ROLE resubmission NOLOGIN")
        _execute(gateway, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'resubmission'")
        yield
    finally:
        _execute(gateway, "ALTER ROLE resubmission LOGIN")


def _execute(gateway: Gateway, statement: LiteralString) -> None:
    with psycopg.connect(gateway.env["DIRECTORY_DSN"], autocommit=True) as connection:
        connection.execute(statement)


def test_a_message_waits_while_earlier_ones_are_not_known(gateway: Gateway) -> None:
    trader, raw = gateway.account("TRADER"), _message(gateway)
    with _memory_away(gateway):
        gateway.send(trader, [gateway.env["AGS_ADDRESS"]], raw)
        waiting = gateway.wait_for(lambda: _deferred(gateway), "a message that waits")
        assert "DGP-9008" in gateway.postfix("postqueue", "-j")
        assert gateway.fetch(trader) == []
        reference = REFERENCE.findall(gateway.postfix("postcat", "-hq", waiting))[0]
        assert gateway.agency_copies(reference) == []
    gateway.postfix("postqueue", "-f")
    receipt = gateway.receipt(trader)
    _assert_first(receipt)
    assert len(gateway.agency_copies(reference)) == 1


def test_a_receipt_waits_until_it_can_tell(gateway: Gateway) -> None:
    trader, raw = gateway.account("TRADER"), _message(gateway)
    first = _submit(gateway, raw)
    gateway.control("stop", "milter-receipt")
    try:
        gateway.send(trader, [gateway.env["AGS_ADDRESS"]], raw)
        gateway.wait_for(lambda: _deferred(gateway), "a receipt that waits")
        with _memory_away(gateway):
            gateway.control("start", "milter-receipt")
            known = gateway.log().count("event=history_unavailable")
            gateway.postfix("postqueue", "-f")
            gateway.wait_for(lambda: gateway.log().count("event=history_unavailable") > known, "a receipt refused")
            assert gateway.fetch(trader) == []
    finally:
        gateway.control("start", "milter-receipt")
    gateway.postfix("postqueue", "-f")
    _assert_told(gateway.receipt(trader), _reference(first))


def test_after_the_window_it_is_a_message_like_any_other(gateway: Gateway) -> None:
    raw = _message(gateway)
    with _policy(gateway, "AGS", "refuse"):
        _assert_first(_submit(gateway, raw))
        _execute(gateway, "UPDATE submission SET first_seen = first_seen - interval '31 days'")
        second = _submit(gateway, raw)
        _assert_first(second)
        _execute(gateway, "UPDATE submission SET first_seen = first_seen - interval '29 days'")
        third = _submit(gateway, raw)
    assert f"DGP-3042 (earlier={_reference(second)})" in third.fields["diagnostic-code"]


def test_what_the_agency_refused_may_be_submitted_again(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["REJECT_ADDRESS"]
    raw = _message(gateway, recipient="REJECT_ADDRESS")
    with _policy(gateway, "AGS", "refuse"):
        for _ in range(2):
            gateway.send(trader, [agency], raw)
            receipts = gateway.receipts(trader, 2)
            assert sorted(receipt.action for receipt in receipts) == ["failed", "relayed"]
            assert all("DGP-3042" not in receipt.text for receipt in receipts)


def test_of_simultaneous_submissions_exactly_one_is_first(gateway: Gateway) -> None:
    trader, agency, raw = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"], _message(gateway)
    count = 8
    with _policy(gateway, "AGS", "refuse"):
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: gateway.send(trader, [agency], raw), range(count)))
        receipts = gateway.receipts(trader, count)
    (first,) = (receipt for receipt in receipts if receipt.action == "relayed")
    others = [receipt for receipt in receipts if receipt is not first]
    assert all(f"DGP-3042 (earlier={_reference(first)})" in one.fields["diagnostic-code"] for one in others)
    copies = [copy for one in receipts for copy in gateway.agency_copies(_reference(one))]
    assert len(copies) == 1
