"""What Postfix's settings refuse on the submission ports, with our code in each reply, and what they leave alone."""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import ssl
import uuid
from typing import TYPE_CHECKING, Final

import pytest

from tests.sandbox.clients import compose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from tests.integration.gateway import Gateway

# RFC 5321 section 4.5.3.1.5: 512 with CRLF.
REPLY_LINE_OCTETS: Final = 510
MAIL: Final = "MAIL FROM:<{TRADER_ADDRESS}>"
RCPT: Final = "RCPT TO:<{AGS_ADDRESS}>"
LIMIT: Final = 5


def _code(reply: str) -> str:
    """Return the one code of a reply whose every line is short enough."""
    assert all(len(line) + len("550 ") <= REPLY_LINE_OCTETS for line in reply.splitlines()), reply
    (code,) = re.findall(r"DGP-\d{4}", reply)
    return str(code)


@pytest.mark.parametrize(
    ("commands", "basic", "code"),
    [
        pytest.param(["VRFY {TRADER_ADDRESS}"], "502", "DGP-1013", id="VRFY"),
        pytest.param(["EXPN {TRADER_ADDRESS}"], "500", "DGP-1013", id="EXPN"),
        pytest.param(["ETRN example.org"], "554", "DGP-1013", id="ETRN"),
        pytest.param(["HELP"], "500", "DGP-1013", id="HELP"),
        pytest.param(["XCLIENT LOGIN=x"], "550", "DGP-1013", id="XCLIENT"),
        pytest.param(["XFORWARD NAME=x"], "550", "DGP-1013", id="XFORWARD"),
        pytest.param([MAIL, RCPT, "BDAT 5 LAST"], "521", "DGP-1013", id="BDAT"),
        pytest.param([RCPT], "503", "DGP-1014", id="RCPT first"),
        pytest.param([MAIL, MAIL], "503", "DGP-1014", id="MAIL twice"),
        pytest.param([MAIL, "DATA"], "554", "DGP-1014", id="DATA without recipient"),
        pytest.param(["STARTTLS"], "554", "DGP-1014", id="STARTTLS twice"),
        pytest.param(["AUTH PLAIN AAA"], "503", "DGP-1014", id="AUTH twice"),
        pytest.param([MAIL + " SIZE=26214401"], "552", "DGP-1010", id="SIZE"),
        pytest.param([MAIL + " SIZE=x"], "501", "DGP-1011", id="SIZE malformed"),
        pytest.param([MAIL + " SMTPUTF8"], "555", "DGP-1011", id="SMTPUTF8"),
        pytest.param([MAIL + " FOO=BAR"], "555", "DGP-1011", id="unknown parameter"),
        pytest.param([MAIL + " FOO=" + "x" * 1500], "501", "DGP-1011", id="long parameter"),
        pytest.param(["MAIL FROM:{TRADER_ADDRESS}"], "501", "DGP-1011", id="no brackets"),
        pytest.param(["MAIL FROM:<" + "a" * 1500 + "@x.test>"], "501", "DGP-1011", id="long sender"),
        pytest.param([MAIL, RCPT + " NOTIFY=SOMETIMES"], "501", "DGP-1011", id="NOTIFY"),
        pytest.param([MAIL, RCPT + " ORCPT=x"], "501", "DGP-1011", id="ORCPT"),
        pytest.param([MAIL + " ENVID=" + "x" * 101], "501", "DGP-1011", id="ENVID"),
        pytest.param([MAIL, "RCPT TO:<" + "a" * 300 + "@{DOMAIN}>"], "501", "DGP-1011", id="local part of 300"),
        pytest.param([MAIL, "RCPT TO:<x@" + "b" * 300 + ".{DOMAIN}>"], "501", "DGP-1011", id="domain of 300"),
        pytest.param([MAIL, "RCPT TO:<x@{DOMAIN}"], "501", "DGP-1011", id="bracket missing"),
        pytest.param([MAIL, 'RCPT TO:<"a@b"@{DOMAIN}>'], "550", "DGP-1006", id="quoted at sign"),
        pytest.param([MAIL, "RCPT TO:<x%example.org@{DOMAIN}>"], "550", "DGP-1006", id="percent"),
        pytest.param([MAIL, "RCPT TO:<x!y@{DOMAIN}>"], "550", "DGP-1006", id="bang"),
        pytest.param([MAIL, "RCPT TO:<" + "a" * 230 + "@example.org>"], "550", "DGP-1006", id="longest address"),
        pytest.param(["EHLO " + "x" * 1500], "501", "DGP-1011", id="long EHLO"),
        pytest.param(["ETRN " + "x" * 1500], "500", "DGP-1011", id="long ETRN"),
    ],
)
def test_a_refusal_carries_its_code(gateway: Gateway, commands: list[str], basic: str, code: str) -> None:
    words = {**gateway.env, "DOMAIN": gateway.env["AGS_ADDRESS"].partition("@")[2]}
    session = gateway.smtp(login=gateway.account("TRADER"))
    *before, last = [line.format(**words) for line in commands]
    for line in before:
        assert gateway.command(session, line).startswith("250")
    reply = gateway.command(session, last)
    session.close()
    assert (reply[:3], _code(reply)) == (basic, code)


def test_the_longest_address_that_a_path_holds_is_not_cut(gateway: Gateway) -> None:
    domain = gateway.env["AGS_ADDRESS"].partition("@")[2]
    session = gateway.smtp(login=gateway.account("TRADER"))
    gateway.command(session, MAIL.format(**gateway.env))
    replies = [gateway.command(session, f"RCPT TO:<{'a' * (size - len(domain) - 1)}@{domain}>") for size in (254, 255)]
    session.close()
    assert replies[0].startswith("250")
    assert _code(replies[1]) == "DGP-1011"


def test_ehlo_announces_what_a_client_needs_and_no_more(gateway: Gateway) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    announced = set(session.esmtp_features)
    session.close()
    assert announced == {"pipelining", "size", "auth", "enhancedstatuscodes", "8bitmime", "dsn"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "NTLM"])
def test_a_failed_login_carries_its_code(gateway: Gateway, mechanism: str) -> None:
    session = gateway.smtp()
    words = base64.b64encode(f"\0{gateway.env['TRADER_LOGIN']}\0wrong".encode()).decode()
    reply = gateway.command(session, f"AUTH {mechanism} {words}")
    session.close()
    assert (reply[:3], _code(reply)) == ("535", "DGP-1012")


def test_a_session_of_errors_ends(gateway: Gateway) -> None:
    session = gateway.smtp()
    replies = [gateway.command(session, "NONSENSE") for _ in range(12)]
    assert {_code(reply) for reply in replies} == {"DGP-1013"}
    replies += [gateway.command(session, "NONSENSE") for _ in range(9)]
    assert _code(replies[20]) == "DGP-1015"
    with pytest.raises(smtplib.SMTPServerDisconnected):
        gateway.command(session, "NOOP")


def test_recipients_over_the_limit_of_a_message_wait(gateway: Gateway) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    gateway.command(session, MAIL.format(**gateway.env))
    replies = [gateway.command(session, RCPT.format(**gateway.env)) for _ in range(101)]
    session.close()
    assert {reply[:3] for reply in replies[:100]} == {"250"}
    assert (replies[100][:3], _code(replies[100])) == ("452", "DGP-1015")


@pytest.mark.parametrize(
    ("content", "basic", "code"),
    [
        pytest.param(b"Subject: x\n\r\nbody\r\n", 550, "DGP-3014", id="bare LF"),
        pytest.param(b"Subject: x\r\n\r\nbo\0dy\r\n", 550, "DGP-3014", id="NUL in the body"),
        pytest.param(b"Subject: x\0y\r\n\r\nbody\r\n", 550, "DGP-3014", id="NUL in the header"),
        pytest.param(b"Received: x\r\n" * 1100 + b"\r\nbody\r\n", 554, "DGP-3039", id="hops"),
        pytest.param(b"Subject: x\r\n\r\n" + b"x" * 900 + (b"\r\n" + b"y" * 998) * 26_300, 552, "DGP-1010", id="size"),
    ],
)
def test_a_message_that_postfix_refuses(gateway: Gateway, content: bytes, basic: int, code: str) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    for line in (MAIL, RCPT):
        assert gateway.command(session, line.format(**gateway.env)).startswith("250")
    assert gateway.command(session, "DATA").startswith("354")
    session.send(content + b"\r\n.\r\n")
    got, text = session.getreply()
    session.close()
    assert (got, _code(text.decode())) == (basic, code)
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    assert gateway.receipts(gateway.account("TRADER"), 0) == []


def _lines(stream: BufferedReader) -> list[bytes]:
    """Return one reply."""
    lines = [stream.readline()]
    while lines[-1][3:4] == b"-":
        lines.append(stream.readline())
    return lines


def test_commands_injected_before_tls_have_no_effect(gateway: Gateway) -> None:
    """What stands behind STARTTLS in the clear is thrown away: inside TLS the session begins anew."""
    env, mark = gateway.env, uuid.uuid4().hex
    injected = f"EHLO injected.test\r\n{MAIL.format(**env)}\r\nNOOP {mark}\r\n"
    context = ssl.create_default_context(cafile=env["CA_FILE"])
    with socket.create_connection((env["GATEWAY_HOST"], int(env["SUBMISSION_PORT"])), timeout=20) as plain:
        with plain.makefile("rb") as replies:
            assert _lines(replies)[0].startswith(b"220")
            plain.sendall(b"EHLO client.test\r\n")
            _lines(replies)
            plain.sendall(f"STARTTLS\r\n{injected}".encode())
            assert _lines(replies)[0].startswith(b"220 2.0.0")
        with (
            context.wrap_socket(plain, server_hostname=env["GATEWAY_HOST"]) as inside,
            inside.makefile("rb") as replies,
        ):
            inside.sendall(b"RCPT TO:<a@b.test>\r\nQUIT\r\n")
            answers = replies.read().splitlines()
    # The reply to RCPT is the first one inside, and knows of no EHLO and no MAIL.
    assert len(answers) == 2
    assert answers[0].startswith(b"503")
    assert answers[1].startswith(b"221")


def test_talking_before_the_greeting_ends_the_session(gateway: Gateway) -> None:
    context = ssl.create_default_context(cafile=gateway.env["CA_FILE"])
    host = gateway.env["GATEWAY_HOST"]
    with (
        socket.create_connection((host, int(gateway.env["SUBMISSION_PORT"])), timeout=20) as plain,
        plain.makefile("rb") as replies,
    ):
        plain.sendall(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
        said = replies.read()
    assert said.count(b"\r\n") <= 2
    assert b"250" not in said
    with smtplib.SMTP_SSL(host, int(gateway.env["SUBMISSIONS_PORT"]), context=context) as session:
        assert gateway.command(session, "GET / HTTP/1.1").startswith("221")


@pytest.mark.parametrize("noise", ["RSET", "NOOP"])
def test_an_honest_session_is_not_hurt(gateway: Gateway, noise: str) -> None:
    """A client that resets after each message, and errs now and then, gets all its messages through one session."""
    env = gateway.env
    session = gateway.smtp(login=gateway.account("TRADER"))
    marks = [uuid.uuid4().hex for _ in range(4)]
    for mark in marks:
        for _ in range(8):
            assert gateway.command(session, noise).startswith("250")
        assert not gateway.command(session, "HELP").startswith("421")
        message = compose(env["TRADER_ADDRESS"], env["AGS_ADDRESS"], "Aangifte", mark).as_bytes()
        session.sendmail(env["TRADER_ADDRESS"], [env["AGS_ADDRESS"]], message)
    session.quit()
    assert {receipt.action for receipt in gateway.receipts(gateway.account("TRADER"), len(marks))} == {"relayed"}
    assert [len(gateway.agency_copies(mark)) for mark in marks] == [1] * len(marks)


def test_many_refusals_do_not_slow_acceptance(gateway: Gateway) -> None:
    """The hop's few connections carry everybody's mail: a party's faults must not add Postfix's delay for errors."""
    env = gateway.env
    before = len(gateway.log())
    session = gateway.smtp(login=gateway.account("TRADER"))
    message = compose(env["TRADER_ADDRESS"], "unknown@" + env["AGS_ADDRESS"].partition("@")[2], "x", "x").as_bytes()
    for _ in range(25):
        session.sendmail(env["TRADER_ADDRESS"], ["unknown@" + env["AGS_ADDRESS"].partition("@")[2]], message)
    session.quit()
    receipts = gateway.receipts(gateway.account("TRADER"), 25)
    assert {receipt.action for receipt in receipts} == {"failed"}
    lines = [line for line in gateway.log()[before:].splitlines() if "/hop/" in line and "status=bounced" in line]
    delays = [float(delay) for line in lines for delay in re.findall(r"delays=[\d.]+/[\d.]+/[\d.]+/([\d.]+)", line)]
    assert len(delays) == 25
    assert max(delays) < 1


@pytest.fixture
def slow_logins(gateway: Gateway) -> Iterator[None]:
    """Let a login address LIMIT recipients a day for one test."""
    text = (gateway.layout.settings / "policyd.env").read_text(encoding="utf-8")
    lowered, count = re.subn(
        r"(SUBMISSION_RATE_RECIPIENTS)=.*\n(SUBMISSION_RATE_SECONDS)=.*", rf"\1={LIMIT}\n\2=86400", text
    )
    assert count == 1
    _restart_policyd(gateway, lowered)
    yield
    _restart_policyd(gateway, text)


def _restart_policyd(gateway: Gateway, settings: str) -> None:
    (gateway.layout.settings / "policyd.env").write_text(settings, encoding="utf-8")
    gateway.control("stop", "policyd")
    gateway.control("start", "policyd")


@pytest.mark.usefixtures("slow_logins")
def test_a_login_over_its_rate_waits_and_others_do_not(gateway: Gateway) -> None:
    session = gateway.smtp(login=gateway.account("TRADER"))
    gateway.command(session, MAIL.format(**gateway.env))
    replies = [gateway.command(session, RCPT.format(**gateway.env)) for _ in range(LIMIT + 1)]
    session.close()
    assert [reply[:3] for reply in replies] == ["250"] * LIMIT + ["450"]
    assert _code(replies[-1]) == "DGP-1009"
    assert re.search(
        rf"event=recipient_deferred .*reason=DGP-1009 .*login={gateway.env['TRADER_LOGIN']} ", gateway.log()
    )
    other = gateway.smtp(login=gateway.account("TRADER2"))
    gateway.command(other, f"MAIL FROM:<{gateway.env['TRADER2_ADDRESS']}>")
    assert gateway.command(other, RCPT.format(**gateway.env)).startswith("250")
    other.close()
