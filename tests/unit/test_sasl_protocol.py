"""The relay's reading of Dovecot's authentication protocol, by example."""

from __future__ import annotations

import pytest

from digipoort.framing import RequestMalformed
from digipoort_sasl.protocol import (
    Kind,
    Login,
    Reply,
    ReplyMalformed,
    check_greeting,
    check_response,
    check_version,
    handshake,
    parse_auth,
    parse_reply,
)

LOGIN = Login(b"1", b"PLAIN", b"192.0.2.1")


def test_the_handshake_is_what_postfix_waits_for() -> None:
    lines = handshake(412, 7, "00" * 16).split(b"\n")
    assert lines[0] == b"VERSION\t1\t1"
    # Postfix takes a socket that says SPID before MECH for the wrong one.
    assert [line.split(b"\t")[0] for line in lines[1:]] == [b"MECH", b"MECH", b"SPID", b"CUID", b"COOKIE", b"DONE", b""]


@pytest.mark.parametrize("lines", [b"VERSION\t1\t0\nCPID\t12\n", b"VERSION\t1\t2\nCPID\t4294967295\n"])
def test_a_greeting(lines: bytes) -> None:
    check_greeting(lines)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"VERSION\t2\t0\nCPID\t12\n",
        b"CPID\t12\nVERSION\t1\t0\n",
        b"VERSION\t1\t0\n",
        b"VERSION\t1\t0\nCPID\t-1\n",
        b"VERSION\t1\t0\nAUTH\t1\tPLAIN\n",
    ],
)
def test_no_greeting(lines: bytes) -> None:
    with pytest.raises(RequestMalformed):
        check_greeting(lines)


def test_postfixs_line_tells_who_asks_and_keeps_its_secret() -> None:
    # Postfix 3.7's own, with a parameter that only a user could have put behind the response.
    line = b"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.2\trip=192.0.2.1\tsecured\tresp=AGEAc2VjcmV0\trip=x\n"
    assert parse_auth(line) == LOGIN
    assert b"AGEA" not in repr(parse_auth(line)).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"AUTH\t1\n",
        b"AUTH\tx\tPLAIN\n",
        b"AUTH\t1\tPL AIN\n",
        b"AUTH\t1\tPLAIN\trip=\0\n",
        b"CONT\t1\tAA==\n",
        b"\n",
    ],
)
def test_what_begins_no_login(line: bytes) -> None:
    with pytest.raises(RequestMalformed):
        parse_auth(line)


@pytest.mark.parametrize("line", [b"CONT\t1\tAA==\n", b"CONT\t1\t\n"])
def test_a_response_goes_on_with_the_login(line: bytes) -> None:
    check_response(line, LOGIN)


@pytest.mark.parametrize("line", [b"CONT\t2\tAA==\n", b"CONT\t1\n", b"CONT\t1\tA\tB\n", b"CANCEL\t1\n", b"\n"])
def test_what_does_not_go_on_with_it(line: bytes) -> None:
    with pytest.raises(RequestMalformed):
        check_response(line, LOGIN)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"OK\t1\tuser=aal\n", Reply(Kind.ANSWERED, b"aal")),
        (b"OK\t1\tuser=aal\toriginal_user=AAL\n", Reply(Kind.ANSWERED, b"aal")),
        (b"CONT\t1\tVXNlcm5hbWU6\n", Reply(Kind.CONTINUED)),
        (b"FAIL\t1\n", Reply(Kind.ANSWERED)),
        (b"FAIL\t1\tuser=aal\n", Reply(Kind.ANSWERED, b"aal")),
        (b"FAIL\t1\tuser=aal\tcode=user_disabled\n", Reply(Kind.ANSWERED, b"aal")),
        (b"FAIL\t1\tuser=temp\treason=temp \n", Reply(Kind.ANSWERED, b"temp")),
        (b"FAIL\t1\tuser=aal\ttemp\n", Reply(Kind.TEMPORARY, b"aal")),
        (b"FAIL\t1\tuser=aal\tcode=temp_fail\n", Reply(Kind.TEMPORARY, b"aal")),
    ],
)
def test_a_reply(line: bytes, reply: Reply) -> None:
    assert parse_reply(line, LOGIN) == reply


@pytest.mark.parametrize(
    "line",
    [
        b"OK\t2\tuser=aal\n",
        b"OK\t01\tuser=aal\n",
        b"OK\t1\n",
        b"OK\t1\tuser=\n",
        b"OK\t1\tuser=aal\tnologin\n",
        b"OK\t1\tuser=aal\tnologin=y\treason=closed\n",
        b"OK\t1\tuser=aal\tproxy\thost=192.0.2.3\n",
        b"OK\t1\tuser=aal\0\n",
        b"OK\t1\tuser=aal\r\n",
        b"CONT\t1\n",
        b"FAIL\n",
        b"CANCELLED\t1\n",
        b"DONE\n",
        b"OK\t1\tuser=aal",
    ],
)
def test_what_is_no_reply(line: bytes) -> None:
    with pytest.raises(ReplyMalformed):
        parse_reply(line, LOGIN)


def test_another_version_of_the_protocol_is_not_spoken() -> None:
    check_version(b"VERSION\t1\t4\n")
    with pytest.raises(ReplyMalformed):
        check_version(b"VERSION\t2\t0\n")
