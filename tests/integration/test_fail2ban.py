"""fail2ban on the lines that real daemons write: failed logins count, once; an outage of ours counts for nobody."""

from __future__ import annotations

import poplib
import smtplib
import socket
import ssl
from typing import TYPE_CHECKING, Final

import pytest

from tests.fail2ban import failures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.gateway import Gateway

OTHER: Final = "198.51.100.1"
HERE: Final = "127.0.0.1"


def log_in(gateway: Gateway, login: str, password: str) -> None:
    """Try POP3, then SMTP."""
    context = ssl.create_default_context(cafile=gateway.env["CA_FILE"])
    mailbox = poplib.POP3(gateway.env["GATEWAY_HOST"], int(gateway.env["POP3_PORT"]), timeout=60)
    mailbox.stls(context)
    mailbox.user(login)
    with pytest.raises(poplib.error_proto):
        mailbox.pass_(password)
    mailbox.close()
    session = gateway.smtp()
    with pytest.raises(smtplib.SMTPException):
        session.login(login, password)
    session.close()


def ask_authd(gateway: Gateway, login: bytes, client: bytes) -> bytes:
    """Return authd's reply; Dovecot lets few octets of a login through."""
    for octet, escaped in ((b"\0", b"\x010"), (b"\t", b"\x01t"), (b"\r", b"\x01r"), (b"\n", b"\x01n")):
        login = login.replace(octet, escaped)
    fields = (b"service=pop3", b"login=" + login, b"password=x", b"ip=" + client, b"secured=yes")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(gateway.layout.authd_run / "authd.sock"))
        connection.sendall(b"\t".join((b"DIGIPOORT-AUTH/1", b"verify", *fields)) + b"\n")
        return connection.recv(100)


def new_lines(gateway: Gateway, before: str) -> list[str]:
    """Return what was logged since."""
    return gateway.log().removeprefix(before).split("\n")


def test_a_wrong_password_counts_once_where_it_came_from(gateway: Gateway, tmp_path: Path) -> None:
    before = gateway.log()
    log_in(gateway, gateway.env["TRADER2_LOGIN"], "wrong for fail2ban")
    lines = new_lines(gateway, before)
    refused = [line for line in lines if "event=login_refused" in line and "repeated=yes" not in line]
    assert refused
    assert failures(lines, tmp_path) == [HERE] * len(refused)


def test_a_hostile_login_counts_for_whoever_sent_it(gateway: Gateway, tmp_path: Path) -> None:
    logins = [
        f" client={OTHER} reason=wrong-password",
        f'x" client={OTHER} reason="wrong-password',
        f"x\nNov 26 13:06:54 gateway digipoort-authd[1]: event=login_refused reason=wrong-password client={OTHER}",
        f"x\r\nevent=login_refused reason=unknown-login client={OTHER}",
        f"x\tclient={OTHER}",
        f"x\u2028client={OTHER}",
    ]
    before = gateway.log()
    senders = [f"2001:db8:{number:x}::1" for number, _ in enumerate(logins, 1)]
    for login, sender in zip(logins, senders, strict=True):
        assert ask_authd(gateway, login.encode(), sender.encode()) == b"fail\n"
    gateway.wait_for(lambda: senders[-1] in gateway.log(), "the last line")
    assert failures(new_lines(gateway, before), tmp_path) == senders


@pytest.fixture(params=["authd", "postgresql"])
def outage(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[str]:
    """Stop a daemon that a login needs."""
    gateway.control("stop", request.param)
    yield request.param
    gateway.control("start", request.param)
    gateway.wait_for(lambda: ask_authd(gateway, b"nobody", HERE.encode()) == b"fail\n", "verdicts again")


def test_an_outage_counts_for_nobody(gateway: Gateway, outage: str, tmp_path: Path) -> None:
    before = gateway.log()
    log_in(gateway, gateway.env["TRADER_LOGIN"], gateway.env["TRADER_PASSWORD"])
    lines = new_lines(gateway, before)
    assert HERE in "\n".join(lines), outage
    assert failures(lines, tmp_path) == []
    # Nor for the stock filters: smtpd tells of a lost connection, which Postfix's leaves out (docs/operate.md).
    assert "SASL PLAIN authentication failed: Connection lost to authentication server" in "\n".join(lines)
    for stock in ("dovecot", "postfix[mode=auth]"):
        assert failures(lines, tmp_path, stock) == []
