"""The main job on real daemons: both ways, every port, receipts that name the message, bodies that never change."""

from __future__ import annotations

import hashlib
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.clients import body_of, compose, read_report, reference_of

if TYPE_CHECKING:
    from tests.integration.gateway import Gateway


def test_a_declaration_is_delivered_unchanged_and_receipted(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    message = compose(trader.address, agency, "Aangifte", "Zie bijlage.\n")
    message.add_attachment(b"UNB+UNOC:3'\r\n" * 300, maintype="application", subtype="edifact", filename="a.edi")
    raw = message.as_bytes()

    gateway.send(trader, [agency], raw)
    receipt = gateway.receipt(trader)

    assert receipt.action == "relayed"
    assert receipt.fields["final-recipient"] == f"rfc822; {agency}"
    assert receipt.returned["x-digipoort-digest"] == f"sha256={hashlib.sha256(body_of(raw)).hexdigest()}"
    reference = receipt.returned["x-digipoort-reference"]
    assert reference in receipt.text
    assert reference in receipt.subject
    copy = gateway.agency_copy(reference)
    assert body_of(copy) == body_of(raw)
    assert b"X-Digipoort-Size" not in copy
    assert b"X-Digipoort-Envelope" not in copy


def test_the_agency_answers_from_its_logical_address(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER"), gateway.account("AGENCY", gateway.env["AGS_ADDRESS"])
    raw = compose(agency.address, trader.address, "Antwoord", "CUSRES\n").as_bytes()

    gateway.send(agency, [trader.address], raw)
    answer = gateway.wait_for(
        lambda: [mail for mail in gateway.fetch(trader) if not read_report(mail)], "the answer in the trader's mailbox"
    )

    assert len(answer) == 1
    assert body_of(answer[0]) == body_of(raw)
    report = read_report(gateway.agency_copy(reference_of(answer[0])))
    assert report is not None
    assert report.action == "relayed"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param("Kleur Één, prijs €\r\n".encode(), "8bit", id="8-bit"),
        pytest.param(b".\r\n..\r\n.dots.\r\n", "7bit", id="leading dots"),
        pytest.param(b"x" * 998 + b"\r\n", "7bit", id="longest line"),
        pytest.param(b"trailing spaces   \r\n\r\n\r\n", "7bit", id="trailing white space"),
        pytest.param(b"From here on\r\n>From there\r\n", "7bit", id="mbox From"),
        pytest.param(b"", "7bit", id="empty body"),
    ],
)
def test_no_body_is_ever_changed(gateway: Gateway, body: bytes, encoding: str) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    message = compose(trader.address, agency, "Octetten", "\n")
    message.replace_header("Content-Transfer-Encoding", encoding)
    raw = message.as_bytes().partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body

    session = gateway.smtp(login=trader)
    session.sendmail(trader.address, [agency], raw, ["BODY=8BITMIME"])
    session.quit()

    receipt = gateway.receipt(trader)
    assert receipt.action == "relayed", receipt.text
    copy = gateway.agency_copy(receipt.returned["x-digipoort-reference"])
    assert copy.replace(b"\r\n", b"\n").partition(b"\n\n")[2] == body.replace(b"\r\n", b"\n")


def test_implicit_tls_and_pop3s(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER2"), gateway.env["AGS_ADDRESS"]
    gateway.send(
        trader, [agency], compose(trader.address, agency, "TLS", "x\n").as_bytes(), port=gateway.env["SUBMISSIONS_PORT"]
    )
    mails = gateway.wait_for(lambda: gateway.fetch(trader, port=gateway.env["POP3S_PORT"]), "a receipt over POP3S")
    report = read_report(mails[0])
    assert report is not None
    assert report.action == "relayed"


def test_swaks_works_with_the_environment_file(gateway: Gateway) -> None:
    env = gateway.env
    result = subprocess.run(
        [
            "swaks", "--server", env["GATEWAY_HOST"], "--port", env["SUBMISSION_PORT"], "--tls", "--tls-verify",
            "--tls-ca-path", env["CA_FILE"], "--auth", "PLAIN", "--auth-user", env["TRADER2_LOGIN"],
            "--auth-password", env["TRADER2_PASSWORD"], "--from", env["TRADER2_ADDRESS"], "--to", env["AGS_ADDRESS"],
            "--h-Message-Id", f"<{time.time_ns()}@partij.digipoort.test>",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert gateway.receipt(gateway.account("TRADER2")).action == "relayed"


@pytest.mark.parametrize("notify", ["", "NOTIFY=NEVER", "NOTIFY=DELAY", "notify=failure,delay"])
def test_receipts_come_whatever_notify_says_and_name_the_envelope_id(gateway: Gateway, notify: str) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    raw = compose(trader.address, agency, "NOTIFY", "x\n").as_bytes()

    session = gateway.smtp(login=trader)
    options = [notify, f"ORCPT=rfc822;{agency}"] if notify else []
    session.sendmail(trader.address, [agency], raw, ["ENVID=E6+2B1", "RET=HDRS"], options)
    session.quit()

    receipt = gateway.receipt(trader)
    assert receipt.action == "relayed"
    assert receipt.fields["original-envelope-id"] == "E6+1"


def test_each_recipient_gets_its_own_verdict(gateway: Gateway) -> None:
    trader = gateway.account("TRADER2")
    recipients = [gateway.env["AGS_ADDRESS"], gateway.env["EMCS_ADDRESS"]]
    message = compose(trader.address, ", ".join(recipients), "Twee ontvangers", "x\n")

    gateway.send(trader, recipients, message.as_bytes())

    reports = {report.fields["final-recipient"]: report for report in gateway.receipts(trader, 2)}
    assert reports[f"rfc822; {recipients[0]}"].action == "relayed"
    assert reports[f"rfc822; {recipients[1]}"].action == "failed"
    assert "DGP-2003" in reports[f"rfc822; {recipients[1]}"].text


def test_a_recipient_is_one_however_often_it_is_given(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    local, domain = agency.split("@")
    session = gateway.smtp(login=trader)
    gateway.command(session, f"MAIL FROM:<{trader.address}>")
    for recipient in (agency, f"{agency}> ORCPT=rfc822;b1@x.test", f'"{local}"@{domain}', agency.upper()):
        command = f"RCPT TO:<{recipient}" + ("" if ">" in recipient else ">")
        assert gateway.command(session, command).startswith("250")
    session.data(compose(trader.address, agency, "Eenmaal", "x\n").as_bytes())
    session.quit()
    receipt = gateway.receipt(trader)
    assert receipt.raw.count(b"Final-Recipient:") == 1
    assert len(gateway.agency_copies(receipt.returned["x-digipoort-reference"])) == 1


def test_a_refusal_by_the_agency_is_a_second_receipt(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["REJECT_ADDRESS"]
    raw = compose(trader.address, agency, "Geweigerd", "x\n").as_bytes()

    session = gateway.smtp(login=trader)
    session.sendmail(trader.address, [agency], raw, ["ENVID=LATE", "RET=HDRS"])
    session.quit()

    first, second = sorted(gateway.receipts(trader, 2), key=lambda report: report.action, reverse=True)
    assert first.action == "relayed"
    assert second.action == "failed"
    assert second.fields["final-recipient"] == f"rfc822; {agency}"
    assert second.fields["original-envelope-id"] == "LATE"
    assert "DGP-4001" in second.text
    assert first.returned["x-digipoort-reference"] == second.returned["x-digipoort-reference"]


def test_the_reference_joins_the_lines_of_every_daemon(gateway: Gateway) -> None:
    trader, agency = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    gateway.send(trader, [agency], compose(trader.address, agency, "Log", "x\n").as_bytes())
    reference = gateway.receipt(trader).returned["x-digipoort-reference"]
    gateway.agency_copy(reference)

    lines = [line for line in gateway.log().splitlines() if reference in line]
    programs = {line.split()[4].partition("[")[0] for line in lines}

    assert "digipoort-milter-submission" in programs
    assert "digipoort-milter-acceptance" in programs
    assert "digipoort-milter-receipt" in programs
    assert "postfix-digipoort/submission/cleanup" in programs
    assert "postfix-digipoort/cleanup" in programs
    assert "NOT-FACILITY-MAIL" not in gateway.log()
