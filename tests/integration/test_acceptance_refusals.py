"""Stage 2 answers by receipt: each refusal of authorisation and interface, submitted for real and read from the DSN."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.clients import compose, read_report

if TYPE_CHECKING:
    from tests.integration.gateway import Gateway
    from tests.sandbox.clients import Report


def _refused(gateway: Gateway, sender: str, recipient: str, raw: bytes) -> Report:
    """Submit to one recipient, and return the one negative receipt that must follow."""
    account = gateway.account(sender)
    session = gateway.smtp(login=account)
    session.sendmail(account.address, [recipient], raw, ["BODY=8BITMIME"])
    session.quit()
    report = gateway.receipt(account)
    assert report.action == "failed", report.text
    return report


@pytest.mark.parametrize(
    ("sender", "recipient", "code", "status"),
    [
        ("TRADER", "onbekend@overheid.digipoort.test", "DGP-2001", "5.1.1"),
        ("TRADER", "onbekend@partij.digipoort.test", "DGP-2001", "5.1.1"),
        ("TRADER", "TRADER2_ADDRESS", "DGP-2001", "5.1.1"),
        ("TRADER2", "EMCS_ADDRESS", "DGP-2003", "5.7.1"),
        ("EXPIRED", "AGS_ADDRESS", "DGP-2004", "5.7.1"),
    ],
)
def test_authorisation(gateway: Gateway, sender: str, recipient: str, code: str, status: str) -> None:
    address = gateway.env.get(recipient, recipient)
    raw = compose(gateway.account(sender).address, address, "Autorisatie", "x\n").as_bytes()
    report = _refused(gateway, sender, address, raw)
    assert report.fields["status"] == status
    assert report.fields["final-recipient"] == f"rfc822; {address}"
    assert report.fields["diagnostic-code"].startswith("x-digipoort; ")
    assert code in report.fields["diagnostic-code"]
    assert code in report.text


def test_a_private_address_answers_the_same_whether_it_exists_or_not(gateway: Gateway) -> None:
    texts = []
    for address in (gateway.env["TRADER2_ADDRESS"], "onbekend@partij.digipoort.test"):
        raw = compose(gateway.account("TRADER").address, address, "Peilen", "x\n").as_bytes()
        report = _refused(gateway, "TRADER", address, raw)
        texts.append(report.fields["diagnostic-code"].replace(address, "ADDRESS"))
    assert texts[0] == texts[1]


def test_government_to_government_is_refused(gateway: Gateway) -> None:
    agency = gateway.account("AGENCY", gateway.env["AGS_ADDRESS"])
    raw = compose(agency.address, gateway.env["EMCS_ADDRESS"], "Onderling", "x\n").as_bytes()
    gateway.send(agency, [gateway.env["EMCS_ADDRESS"]], raw)
    report = read_report(gateway.agency_copy("DGP-2002"))
    assert report is not None
    assert report.action == "failed"


DATE = "Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
MESSAGE_ID = "Message-ID: <{unique}@partij.digipoort.test>\r\n"
HEAD = "From: {sender}\r\nTo: {recipient}\r\n" + DATE + MESSAGE_ID
MULTIPART = HEAD + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=grens\r\n\r\n"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(HEAD.replace(DATE, "") + "\r\nx\r\n", "DGP-3001", id="no Date"),
        pytest.param(HEAD.replace(MESSAGE_ID, "") + "\r\nx\r\n", "DGP-3001", id="no Message-ID"),
        pytest.param(HEAD + DATE + "\r\nx\r\n", "DGP-3002", id="two Dates"),
        pytest.param(HEAD.replace("{sender}", "x@partij.digipoort.test") + "\r\nx\r\n", "DGP-3003", id="other From"),
        pytest.param(HEAD.replace("{sender}", "{sender}, x@y.test") + "\r\nx\r\n", "DGP-3003", id="two in From"),
        pytest.param(HEAD.replace("{recipient}", "x@y.test") + "\r\nx\r\n", "DGP-3004", id="not in To"),
        pytest.param(HEAD + "Bcc: x@y.test\r\n\r\nx\r\n", "DGP-3005", id="Bcc"),
        pytest.param(MULTIPART + "--grens\r\n\r\nx\r\n", "DGP-3009", id="not closed"),
        pytest.param(MULTIPART.replace("; boundary=grens", "") + "x\r\n", "DGP-3007", id="no boundary"),
        pytest.param(
            MULTIPART + "--grens\r\nContent-Type: message/partial; id=a; number=1\r\n\r\nx\r\n--grens--\r\n",
            "DGP-3012",
            id="message/partial",
        ),
        pytest.param(
            MULTIPART + "--grens\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nx\r\n--grens--\r\n",
            "DGP-3008",
            id="encoding",
        ),
        pytest.param(HEAD + "\r\n" + "x" * 999 + "\r\n", "DGP-3013", id="long line"),
        pytest.param(HEAD + "\r\na\rb\r\n", "DGP-3014", id="bare CR"),
    ],
)  # fmt: skip
def test_interface(gateway: Gateway, message: str, code: str) -> None:
    trader, recipient = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    raw = _filled(message, trader.address, recipient)
    report = _refused(gateway, "TRADER", recipient, raw)
    assert code in report.fields["diagnostic-code"]
    assert report.returned["x-digipoort-reference"] in report.text


def test_every_finding_is_reported_at_once(gateway: Gateway) -> None:
    recipient = gateway.env["AGS_ADDRESS"]
    report = _refused(gateway, "TRADER", recipient, b"From: x@y.test\r\nBcc: a@b.test\r\n\r\nx\r\n")
    for code in ("DGP-3001", "DGP-3003", "DGP-3004", "DGP-3005"):
        assert code in report.text


def _filled(message: str, sender: str, recipient: str) -> bytes:
    """Return a message between these two, under a Message-ID that no other has."""
    return message.format(sender=sender, recipient=recipient, unique=time.time_ns()).encode()


def _message_of(size: int, sender: str, recipient: str) -> bytes:
    head = _filled(HEAD, sender, recipient) + b"\r\n"
    lines = b"x" * 998 + b"\r\n"
    rest = size - len(head)
    body = lines * (rest // 1000)
    tail = rest - len(body)
    return head + body + (b"y" * (tail - 2) + b"\r\n" if tail >= 2 else b"")


def test_the_flows_limit_is_exact(gateway: Gateway) -> None:
    trader, recipient, limit = gateway.account("TRADER"), gateway.env["SMALL_ADDRESS"], int(gateway.env["SMALL_LIMIT"])
    at_limit = _message_of(limit, trader.address, recipient)
    assert len(at_limit) == limit

    gateway.send(trader, [recipient], at_limit)
    assert gateway.receipt(trader).action == "relayed"

    report = _refused(gateway, "TRADER", recipient, _message_of(limit + 2, trader.address, recipient))
    assert "DGP-3016" in report.text
    assert str(limit) in report.text


def test_long_lines_at_the_limit_are_not_refused_for_what_the_queue_file_adds(gateway: Gateway) -> None:
    """Postfix announces a queue file's octets: one more than CRLF for each line of 128 octets or more."""
    trader, recipient = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    head = _filled(HEAD, trader.address, recipient) + b"\r\n"
    limit = 10_485_760
    lines = (b"x" * 128 + b"\r\n") * ((limit - len(head)) // 130)
    gateway.send(trader, [recipient], head + lines)
    assert gateway.receipt(trader).action == "relayed"


def test_a_claimed_size_is_refused_early(gateway: Gateway) -> None:
    trader, recipient, limit = gateway.account("TRADER"), gateway.env["SMALL_ADDRESS"], int(gateway.env["SMALL_LIMIT"])
    report = _refused(gateway, "TRADER", recipient, _message_of(limit + 100_000, trader.address, recipient))
    assert "DGP-2005" in report.text


def test_a_deep_nest_gets_its_receipt(gateway: Gateway) -> None:
    """Postfix's own limit of 100 levels would refuse the message, and then the bounce that encloses it."""
    trader, recipient = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    head = _filled(HEAD, trader.address, recipient) + b"MIME-Version: 1.0\r\n"
    nest = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(110))
    report = _refused(gateway, "TRADER", recipient, head + nest.encode() + b"\r\nx\r\n")
    assert "DGP-3010" in report.text


def test_a_field_that_postfix_would_cut_is_refused(gateway: Gateway) -> None:
    trader, recipient = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    head = _filled(HEAD, trader.address, recipient)
    field = "X-Long: a\r\n" + (" " + "x" * 900 + "\r\n") * 70
    report = _refused(gateway, "TRADER", recipient, head + field.encode() + b"\r\nx\r\n")
    assert "DGP-3022 (header=X-Long" in report.fields["diagnostic-code"]


def test_forged_gateway_headers_do_not_pass(gateway: Gateway) -> None:
    trader, recipient = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    forged = "DP-20200101-0000000000000000"
    raw = compose(trader.address, recipient, "Vervalst", "x\n").as_bytes()
    raw = (
        f"X-Digipoort-Reference: {forged}\r\nx-digipoort-reference : {forged}\r\nX-Digipoort-Size: 1\r\n"
        f"X-DIGIPOORT-Envelope: ENVID=forged\r\nX-Digipoort-Whatever: {forged}\r\n"
    ).encode() + raw
    gateway.send(trader, [recipient], raw)
    receipt = gateway.receipt(trader)
    assert receipt.action == "relayed"
    reference = receipt.returned["x-digipoort-reference"]
    copy = gateway.agency_copy(reference)
    assert forged.encode() not in copy
    assert forged.encode() not in receipt.raw
    assert copy.lower().count(b"x-digipoort-reference") == 1
    assert forged not in gateway.log()
