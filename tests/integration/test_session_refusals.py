"""Stage 1 answers in the session: each refusal through a real client or a raw dialogue, with its reason code."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.clients import Account, compose

if TYPE_CHECKING:
    from tests.integration.gateway import Gateway


def test_nothing_but_starttls_before_tls(gateway: Gateway) -> None:
    with smtplib.SMTP(gateway.env["GATEWAY_HOST"], int(gateway.env["SUBMISSION_PORT"])) as session:
        session.ehlo("client.test")
        assert not session.has_extn("auth")
        assert gateway.command(session, "AUTH PLAIN AGEAYg==").startswith("530 5.7.0")
        assert gateway.command(session, "MAIL FROM:<a@b.test>").startswith("530 5.7.0")


def test_nothing_before_authentication(gateway: Gateway) -> None:
    session = gateway.smtp()
    gateway.command(session, f"MAIL FROM:<{gateway.env['TRADER_ADDRESS']}>")
    reply = gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}>")
    session.close()
    assert reply.startswith("530 5.7.0")
    assert "DGP-1007" in reply


def test_a_wrong_password_is_refused(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    session = gateway.smtp()
    with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
        session.login(trader.login, "wrong")
    session.close()
    assert refusal.value.smtp_code == 535


@pytest.mark.parametrize(
    ("sender", "recipient", "code"),
    [
        pytest.param("", "AGS_ADDRESS", "550 5.7.1 .*DGP-1005", id="null sender"),
        pytest.param("TRADER2_ADDRESS", "AGS_ADDRESS", "550 5.7.1 .*DGP-1004", id="another party's address"),
        pytest.param("nobody@partij.digipoort.test", "AGS_ADDRESS", "550 5.7.1 .*DGP-1004", id="unknown address"),
        pytest.param("TRADER_ADDRESS", "info@example.org", "550 5.7.1 .*DGP-1006", id="foreign domain"),
        pytest.param("TRADER_ADDRESS", "ags@douane-intern.test", "550 5.7.1 .*DGP-1006", id="physical domain"),
        pytest.param("TRADER_ADDRESS", "abcd@postbus.digipoort.invalid", "550 5.7.1 .*DGP-1006", id="mailbox domain"),
        pytest.param("TRADER_ADDRESS", "root@localhost", "550 5.7.1 .*DGP-1006", id="localhost"),
        pytest.param("TRADER_ADDRESS", "root@[127.0.0.1]", "550 5.7.1 .*DGP-1006", id="address literal"),
        pytest.param(
            "TRADER_ADDRESS", "@overheid.digipoort.test:a@example.org", "550 5.7.1 .*DGP-1006", id="source route"
        ),
    ],
)
def test_envelope(gateway: Gateway, sender: str, recipient: str, code: str) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    env = gateway.env
    gateway.command(session, f"MAIL FROM:<{env.get(sender, sender)}>")
    reply = gateway.command(session, f"RCPT TO:<{env.get(recipient, recipient)}>")
    session.close()
    expected_start, expected_code = code.split(" .*")
    assert reply.startswith(expected_start)
    assert expected_code in reply


def test_foreign_and_physical_domains_get_the_same_answer(gateway: Gateway) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    gateway.command(session, f"MAIL FROM:<{gateway.env['TRADER_ADDRESS']}>")
    replies = {
        gateway.command(session, f"RCPT TO:<{address}>").replace(address, "ADDRESS")
        for address in ("x@example.org", f"ags@{gateway.env['PHYSICAL_DOMAIN']}", "abcd@postbus.digipoort.invalid")
    }
    session.close()
    assert len(replies) == 1, replies


@pytest.mark.parametrize(
    "parameter",
    [
        "NOTIFY=SOMETIMES", "NOTIFY=NEVER,SUCCESS", "NOTIFY=", "NOTIFY=,DELAY", "NOTIFY=SUCCESS NOTIFY=FAILURE",
        "ORCPT=nonsense", "ORCPT=rfc822;a ORCPT=rfc822;b", "FOO=BAR",
    ],
)  # fmt: skip
def test_forcing_notify_hides_no_invalid_parameter(gateway: Gateway, parameter: str) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    gateway.command(session, f"MAIL FROM:<{gateway.env['TRADER_ADDRESS']}>")
    reply = gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}> {parameter}")
    session.close()
    assert reply[:3] in ({"501"} if "FOO" not in parameter else {"555", "501"}), reply


@pytest.mark.parametrize(
    "parameter", ["RET=ALL", "RET=FULL RET=HDRS", "ENVID=a ENVID=b", f"ENVID={'x' * 101}", "ENVID=+zz"]
)
def test_invalid_mail_parameters(gateway: Gateway, parameter: str) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    reply = gateway.command(session, f"MAIL FROM:<{gateway.env['TRADER_ADDRESS']}> {parameter}")
    session.close()
    assert reply.startswith("501"), reply


def test_the_hard_size_ceiling_is_announced_and_held(gateway: Gateway) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    assert session.esmtp_features["size"] == "26214400"
    reply = gateway.command(session, f"MAIL FROM:<{gateway.env['TRADER_ADDRESS']}> SIZE=26214401")
    session.close()
    assert reply.startswith("552 5.3.4")


def test_a_bare_newline_does_not_end_a_message(gateway: Gateway) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    gateway.command(session, f"MAIL FROM:<{gateway.env['TRADER_ADDRESS']}>")
    gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}>")
    gateway.command(session, "DATA")
    session.send(b"Subject: x\r\n\r\nfirst\n.\nMAIL FROM:<a@b.test>\r\n.\r\n")
    code, text = session.getreply()
    session.close()
    assert code in {521, 550, 554}, text


@pytest.mark.parametrize(("name", "accepted"), [("TRADER", True), ("POP3_ONLY", False), ("INACTIVE", False)])
def test_a_login_submits_only_if_it_may(gateway: Gateway, name: str, *, accepted: bool) -> None:
    account = Account(gateway.env[f"{name}_LOGIN"], gateway.env[f"{name}_PASSWORD"], gateway.env["TRADER_ADDRESS"])
    session = gateway.smtp()
    if accepted:
        assert session.login(account.login, account.password)[0] == 235
    else:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            session.login(account.login, account.password)
    session.close()


def test_refused_mail_leaves_no_receipt(gateway: Gateway) -> None:
    trader = gateway.account("TRADER2")
    session = gateway.smtp(login=trader)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        session.sendmail(
            trader.address, ["x@example.org"], compose(trader.address, "x@example.org", "x", "x\n").as_bytes()
        )
    session.close()
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    assert gateway.receipts(trader, 0) == []
