"""POP3 and SMTP AUTH against the real Dovecot: who may log in where, and what a fault of ours looks like."""

from __future__ import annotations

import poplib
import smtplib
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.clients import compose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway


class _RecordedSession(poplib.POP3):
    """A session whose every line of answer is kept."""

    def __init__(self, gateway: Gateway) -> None:
        self._record = gateway.record
        super().__init__(gateway.env["GATEWAY_HOST"], int(gateway.env["POP3_PORT"]), timeout=60)

    def _getline(self) -> tuple[bytes, int]:
        line, octets = super()._getline()  # type: ignore[misc]  # typeshed leaves it out
        self._record(line)
        return line, octets


def _pop3(gateway: Gateway, user: str, password: str) -> str:
    session = _RecordedSession(gateway)
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


def test_a_listing_of_credentials_shows_no_hash(gateway: Gateway) -> None:
    listed = gateway.digipoort("credential", "list").stdout
    assert gateway.env["TRADER_LOGIN"] in listed
    assert "$argon2" not in listed


def test_a_credential_opens_its_own_mailbox_and_no_other(gateway: Gateway) -> None:
    sender, other = gateway.account("TRADER"), gateway.account("TRADER2")
    agency = gateway.env["AGS_ADDRESS"]
    # Dovecot makes the next login wait after wrong ones, longer than smtpd does; a good one ends that.
    assert _pop3(gateway, sender.login, sender.password).startswith("+OK")
    session = gateway.smtp(login=sender)
    session.sendmail(sender.address, [agency], compose(sender.address, agency, "Eigen", "x\n").as_bytes())
    session.quit()
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    assert gateway.fetch(other) == []
    assert gateway.receipt(sender).action == "relayed"


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
    begun = time.monotonic()
    answer = _pop3(gateway, gateway.env["TRADER_LOGIN"], gateway.env["TRADER_PASSWORD"])
    assert answer.startswith("-ERR [SYS/TEMP]"), outage
    # At once: Dovecot's own delay of failures, for one, is longer.
    assert time.monotonic() - begun < 2


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
    # A milter that cannot be reached ends the session's setup: smtpd says so at STARTTLS.
    assert isinstance(refusal.value, smtplib.SMTPResponseException)
    assert str(refusal.value.smtp_code).startswith("4"), refusal.value
