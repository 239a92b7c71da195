"""POP3 and SMTP AUTH against the real Dovecot: who may log in where, and what a fault of ours looks like."""

from __future__ import annotations

import poplib
import smtplib
import ssl
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway


def _pop3(gateway: Gateway, user: str, password: str) -> str:
    session = poplib.POP3(gateway.env["GATEWAY_HOST"], int(gateway.env["POP3_PORT"]), timeout=60)
    try:
        session.stls(ssl.create_default_context(cafile=gateway.env["CA_FILE"]))
        session.user(user)
        return session.pass_(password).decode()
    except poplib.error_proto as error:
        return bytes(error.args[0]).decode()
    finally:
        session.close()


@pytest.mark.parametrize(
    ("user", "password", "answer"),
    [
        ("TRADER_LOGIN", "TRADER_PASSWORD", "+OK"),
        ("POP3_ONLY_LOGIN", "POP3_ONLY_PASSWORD", "+OK"),
        ("TRADER_LOGIN", "wrong", "-ERR [AUTH]"),
        ("TRADER_LOGIN", "", "-ERR [AUTH]"),
        ("nobody", "wrong", "-ERR [AUTH]"),
        ("INACTIVE_LOGIN", "INACTIVE_PASSWORD", "-ERR [AUTH]"),
        ("AGENCY_LOGIN", "AGENCY_PASSWORD", "-ERR [AUTH]"),
    ],
)
def test_pop3(gateway: Gateway, user: str, password: str, answer: str) -> None:
    assert _pop3(gateway, gateway.env.get(user, user), gateway.env.get(password, password)).startswith(answer)


def test_two_credentials_of_one_party_open_the_same_mailbox_only_as_listed(gateway: Gateway) -> None:
    listed = gateway.digipoort("credential", "list").stdout
    assert gateway.env["TRADER_LOGIN"] in listed
    assert "$argon2" not in listed


@pytest.fixture(params=["authd", "postgresql"])
def outage(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[str]:
    """Stop a daemon that a login needs."""
    gateway.control("stop", request.param)
    yield request.param
    gateway.control("start", request.param)
    # Nobody waits for us to recover but the next test.
    gateway.wait_for(
        lambda: _pop3(gateway, gateway.env["TRADER_LOGIN"], gateway.env["TRADER_PASSWORD"]).startswith("+OK"),
        "a login again",
    )


def test_an_outage_is_temporary_never_a_wrong_password(gateway: Gateway, outage: str) -> None:
    answer = _pop3(gateway, gateway.env["TRADER_LOGIN"], gateway.env["TRADER_PASSWORD"])
    assert answer.startswith("-ERR [SYS/TEMP]"), outage


def test_directory_down_means_try_again_later(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    session = gateway.smtp(login=trader)
    gateway.control("stop", "postgresql")
    try:
        gateway.command(session, f"MAIL FROM:<{trader.address}>")
        reply = gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}>")
        assert reply.startswith("451 4.3.0")
        assert "DGP-9001" in reply
    finally:
        gateway.control("start", "postgresql")
    gateway.wait_for(
        lambda: gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}>").startswith("250"),
        "the directory again",
    )
    session.close()


def test_the_policy_daemon_down_means_try_again_later(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    gateway.control("stop", "policyd")
    try:
        session = gateway.smtp(login=trader)
        gateway.command(session, f"MAIL FROM:<{trader.address}>")
        reply = gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}>")
        session.close()
    finally:
        gateway.control("start", "policyd")
    assert reply.startswith("451 4.3"), reply


def test_the_submission_milter_down_means_try_again_later(gateway: Gateway) -> None:
    gateway.control("stop", "milter-submission")
    try:
        with pytest.raises(smtplib.SMTPException) as refusal:
            gateway.smtp(login=gateway.account("TRADER")).sendmail(
                gateway.env["TRADER_ADDRESS"], [gateway.env["AGS_ADDRESS"]], b"Subject: x\r\n\r\nx\r\n"
            )
    finally:
        gateway.control("start", "milter-submission")
    assert "4.7.1" in str(refusal.value) or "454" in str(refusal.value) or "451" in str(refusal.value)
