"""Client certificates at submission: beside a password, and instead of one; real TLS, real Postfix, real directory."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
from dataclasses import replace
from datetime import date
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from psycopg import sql

from tests.sandbox.clients import Account, compose
from tests.sandbox.pki import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway

PORTS: Final = ("SUBMISSION_PORT", "SUBMISSIONS_PORT")
OTHERS: Final = ("", "other", "expired", "stranger")


def _login(gateway: Gateway, name: str) -> Account | None:
    return gateway.account(name) if name else None


def _verdict(gateway: Gateway, session: smtplib.SMTP, *, sender: str = "", recipient: str = "") -> str:
    """Return the reply's code and ours, after MAIL and RCPT in the name of the party with the certificates."""
    gateway.command(session, f"MAIL FROM:<{sender or gateway.env['SEALED_ADDRESS']}>")
    reply = gateway.command(session, f"RCPT TO:<{recipient or gateway.env['AGS_ADDRESS']}>")
    gateway.command(session, "RSET")
    code = re.search(r"DGP-\d{4}", reply)
    return reply[:3] + (f" {code[0]}" if code else "")


def _asked(gateway: Gateway, login: str, certificate: str) -> str:
    session = gateway.smtp(login=_login(gateway, login), certificate=certificate)
    try:
        return _verdict(gateway, session)
    finally:
        session.close()


@contextlib.contextmanager
def _credential(gateway: Gateway, name: str, column: str, value: object) -> Iterator[None]:
    """Let a credential of the sandbox be another one for a while."""
    find = sql.SQL("SELECT {0} FROM credential WHERE login = %s").format(sql.Identifier(column))
    change = sql.SQL("UPDATE credential SET {0} = %s WHERE login = %s").format(sql.Identifier(column))
    login = gateway.env[f"{name}_LOGIN"]
    with psycopg.connect(gateway.env["DIRECTORY_DSN"], autocommit=True) as connection:
        row = connection.execute(find, [login]).fetchone()
        assert row is not None
        connection.execute(change, [value, login])
        try:
            yield
        finally:
            connection.execute(change, [row[0], login])


@pytest.mark.parametrize(
    ("login", "certificate", "verdict"),
    [
        ("SEALED", "", "250"),
        *(("SEALED", certificate, "250") for certificate in OTHERS),
        ("PINNED", "pinned", "250"),
        *(("PINNED", certificate, "550 DGP-1016") for certificate in (*OTHERS, "bearer")),
        ("NAMED", "named", "250"),
        *(("NAMED", certificate, "550 DGP-1016") for certificate in (*OTHERS, "pinned")),
        ("BEARER", "bearer", "250"),
        ("BEARER", "", "550 DGP-1016"),
        ("", "bearer", "250"),
        *(("", certificate, "530 DGP-1007") for certificate in (*OTHERS, "pinned", "named")),
    ],
)
def test_a_login_needs_the_certificate_it_asks_for(
    gateway: Gateway, login: str, certificate: str, verdict: str
) -> None:
    assert _asked(gateway, login, certificate) == verdict


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(("name", "certificate"), [("PINNED", "pinned"), ("NAMED", "named"), ("BEARER", "bearer")])
def test_a_message_and_its_receipt(gateway: Gateway, port: str, name: str, certificate: str) -> None:
    """With msmtp: beside a password, and for BEARER without one."""
    gateway.settle("SEALED")
    sender, agency = gateway.account("SEALED"), gateway.env["AGS_ADDRESS"]
    submitter = replace(gateway.account(name), login="" if name == "BEARER" else gateway.env[f"{name}_LOGIN"])
    mark = f"Zegel {name} {port}"
    message = compose(sender.address, agency, mark, "Inhoud.\n").as_bytes()
    gateway.send(submitter, [agency], message, port=gateway.env[port], certificate=certificate)
    receipt = gateway.receipt(sender)
    assert receipt.action == "relayed"
    assert receipt.returned["subject"] == mark
    assert b"X-Digipoort-Reference" in gateway.agency_copy(mark)
    shown = fingerprint(gateway.client_certificate(certificate))
    lines = [line for line in gateway.log().splitlines() if f"certificate={shown}" in line]
    assert f" login={gateway.env[f'{name}_LOGIN']} " in lines[-1]
    assert "event=recipient_allowed" in lines[-1]


def test_msmtp_without_the_certificate_is_refused(gateway: Gateway) -> None:
    with pytest.raises(AssertionError, match="DGP-1016"):
        gateway.send(gateway.account("PINNED"), [gateway.env["AGS_ADDRESS"]], b"Subject: x\r\n\r\nx\r\n")


def test_a_certificate_alone_opens_no_more_than_its_login(gateway: Gateway) -> None:
    session = gateway.smtp(certificate="bearer")
    assert _verdict(gateway, session) == "250"
    foreign = ("x@example.org", f"ags@{gateway.env['PHYSICAL_DOMAIN']}", "abcd@postbus.digipoort.invalid")
    assert {_verdict(gateway, session, recipient=recipient) for recipient in foreign} == {"550 DGP-1006"}
    assert _verdict(gateway, session, sender=gateway.env["TRADER_ADDRESS"]) == "550 DGP-1004"
    assert gateway.command(session, f"VRFY <{gateway.env['AGS_ADDRESS']}>").startswith("502")
    assert gateway.command(session, "ETRN overheid.digipoort.test")[:3] in {"502", "554"}
    gateway.command(session, f"MAIL FROM:<{gateway.env['SEALED_ADDRESS']}>")
    assert gateway.command(session, "DATA").startswith(("503", "554"))
    session.close()


def test_a_login_counts_not_the_certificate_beside_it(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    session = gateway.smtp(login=trader, certificate="bearer")
    assert _verdict(gateway, session) == "550 DGP-1004"
    assert _verdict(gateway, session, sender=trader.address) == "250"
    session.close()
    shown = fingerprint(gateway.client_certificate("bearer"))
    line = [line for line in gateway.log().splitlines() if f"certificate={shown}" in line][-1]
    assert "event=recipient_allowed " in line
    assert f" login={trader.login} sender={trader.address} " in line


CHANGES: Final = [
    ("active", False, "535 DGP-1002", "inactive"),
    ("valid_until", date(2020, 1, 1), "535 DGP-1002", "expired"),
    ("valid_from", date(2999, 1, 1), "535 DGP-1002", "not-yet-valid"),
    ("networks", [IPv4Network("192.0.2.0/24")], "535 DGP-1002", "network-denied"),
    ("networks", [IPv4Network("127.0.0.0/8")], "250", ""),
]


@pytest.mark.parametrize(
    ("login", "certificate", "column", "value", "verdict", "cause"),
    [
        *(("SEALED", "", *change) for change in CHANGES),
        ("SEALED", "", "services", ["pop3"], "550 DGP-1003", "service-denied"),
        # The schema has no certificate that suffices for a login that may not submit.
        *(("", "bearer", *change) for change in CHANGES),
    ],
)
def test_a_session_that_goes_on_is_held_to_what_the_directory_says_now(
    gateway: Gateway, *, login: str, certificate: str, column: str, value: object, verdict: str, cause: str
) -> None:
    name = login or "BEARER"
    begun = len(gateway.log())
    session = gateway.smtp(login=_login(gateway, login), certificate=certificate)
    assert _verdict(gateway, session) == "250"
    with _credential(gateway, name, column, value):
        assert _verdict(gateway, session) == verdict
    assert _verdict(gateway, session) == "250"
    session.close()
    if cause:
        told = re.compile(rf"login={gateway.env[f'{name}_LOGIN']} .*cause={cause}$", re.MULTILINE)
        # The log is written by another process.
        gateway.wait_for(lambda: told.search(gateway.log(), begun), "the line that tells why")


def test_a_certificate_is_withdrawn_by_the_next_recipient(gateway: Gateway) -> None:
    pinned = fingerprint(gateway.client_certificate("pinned"))
    other = fingerprint(gateway.client_certificate("other"))
    login = gateway.env["PINNED_LOGIN"]
    session = gateway.smtp(login=gateway.account("PINNED"), certificate="pinned")
    assert _verdict(gateway, session) == "250"
    gateway.administer(("credential", "change", login, "--certificate-fingerprint", other))
    try:
        assert _verdict(gateway, session) == "550 DGP-1016"
        assert _asked(gateway, "PINNED", "other") == "250"
    finally:
        gateway.administer(("credential", "change", login, "--certificate-fingerprint", pinned))
    assert _verdict(gateway, session) == "250"
    session.close()


def _resumable(gateway: Gateway, context: ssl.SSLContext, port: str, former: ssl.SSLSession | None) -> smtplib.SMTP:
    """Return a session after TLS that resumes a former one, which smtplib itself cannot."""
    host, number = gateway.env["GATEWAY_HOST"], int(gateway.env[port])
    session = smtplib.SMTP(timeout=60)
    connection = socket.create_connection((host, number), timeout=60)
    if port == "SUBMISSION_PORT":
        session.sock = connection
        session.getreply()
        session.ehlo("client.test")
        session.docmd("STARTTLS")
        session.file = None
    session.sock = context.wrap_socket(connection, server_hostname="localhost", session=former)
    if port == "SUBMISSIONS_PORT":
        session.getreply()
    session.ehlo("client.test")
    return session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("certificate", "verdict"), [("bearer", "250"), ("other", "530 DGP-1007")])
def test_a_resumed_session_keeps_its_certificate(
    gateway: Gateway, version: ssl.TLSVersion, certificate: str, verdict: str
) -> None:
    context = gateway.client_context(certificate)
    context.minimum_version = context.maximum_version = version
    former: ssl.SSLSession | None = None
    for port in (*PORTS, *PORTS):
        session = _resumable(gateway, context, port, former)
        assert isinstance(session.sock, ssl.SSLSocket)
        assert session.sock.session_reused is (former is not None)
        assert _verdict(gateway, session) == verdict
        former = session.sock.session
        session.quit()


def test_a_resumed_session_is_still_trusted_for_its_subject(gateway: Gateway) -> None:
    context = gateway.client_context("named")
    former: ssl.SSLSession | None = None
    for _ in range(2):
        session = _resumable(gateway, context, "SUBMISSION_PORT", former)
        assert isinstance(session.sock, ssl.SSLSocket)
        session.login(gateway.env["NAMED_LOGIN"], gateway.env["NAMED_PASSWORD"])
        assert _verdict(gateway, session) == "250"
        former = session.sock.session
        session.quit()


def test_a_reload_ends_what_could_be_resumed(gateway: Gateway) -> None:
    context = gateway.client_context("named")
    session = _resumable(gateway, context, "SUBMISSION_PORT", None)
    assert isinstance(session.sock, ssl.SSLSocket)
    former = session.sock.session
    session.quit()

    def is_forgotten() -> bool:
        again = _resumable(gateway, context, "SUBMISSION_PORT", former)
        reused = isinstance(again.sock, ssl.SSLSocket) and again.sock.session_reused
        again.quit()
        return not reused

    assert not is_forgotten()
    gateway.postfix("postfix", "reload")
    gateway.wait_for(is_forgotten, "a whole handshake")


def test_who_shows_no_certificate_never_reaches_the_policy_daemon(gateway: Gateway) -> None:
    gateway.control("stop", "policyd")
    try:
        assert _asked(gateway, "", "") == "530 DGP-1007"
        # Whether this one counts, nobody can tell now.
        assert _asked(gateway, "", "bearer").startswith("451")
        assert _asked(gateway, "", "other").startswith("451")
    finally:
        gateway.control("start", "policyd")
    assert _asked(gateway, "", "bearer") == "250"


def test_an_unknown_certificate_is_in_the_log(gateway: Gateway) -> None:
    assert _asked(gateway, "", "other") == "530 DGP-1007"
    shown = fingerprint(gateway.client_certificate("other"))
    line = [line for line in gateway.log().splitlines() if "event=certificate_unknown" in line][-1]
    assert f'certificate={shown} subject="Somebody else"' in line
