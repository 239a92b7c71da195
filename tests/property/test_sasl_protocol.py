"""The relay's grammar for any octets: nothing passes that Postfix could misread, and nothing secret is kept."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from digipoort.framing import RequestMalformed
from digipoort_sasl.protocol import (
    Kind,
    Login,
    ReplyMalformed,
    check_greeting,
    check_response,
    check_version,
    is_auth,
    parse_auth,
    parse_reply,
)

LOGIN = Login(b"7", b"PLAIN", b"192.0.2.1")
words = st.sampled_from([
    b"OK", b"FAIL", b"CONT", b"AUTH", b"\t", b"\t", b"\t7", b"7", b"07", b"user=", b"temp", b"code=temp_fail",
    b"nologin", b"proxy", b"resp=", b"rip=", b"PLAIN", b"=", b"\n", b"\0", b"\r", b"\1", b"\xff", b"x",
])  # fmt: skip
hostile = st.lists(words).map(b"".join)
lines = st.binary(max_size=200) | hostile | hostile.map(lambda octets: octets + b"\n")
base64 = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", max_size=60).map(str.encode)
parameter = st.from_regex(rb"[a-z-]{1,12}(=[^\t\r\n\0]{0,20})?", fullmatch=True)


@given(lines)
def test_every_line_is_understood_or_refused(line: bytes) -> None:
    with contextlib.suppress(RequestMalformed):
        check_greeting(line)
    with contextlib.suppress(RequestMalformed):
        parse_auth(line)
        assert is_auth(line)
    with contextlib.suppress(RequestMalformed):
        check_response(line, LOGIN)
    with contextlib.suppress(ReplyMalformed):
        check_version(line)


@given(lines)
def test_what_passes_to_postfix_is_one_line_that_it_reads_as_the_relay_does(line: bytes) -> None:
    try:
        reply = parse_reply(line, LOGIN)
    except ReplyMalformed:
        return
    assert line.count(b"\n") == 1
    assert not set(line) & set(b"\0\r")
    command, identity, *parameters = line.removesuffix(b"\n").split(b"\t")
    assert int(identity) == 7
    if command == b"OK":
        # Postfix takes an OK without a user for a wrong password; with nologin it would let the user in.
        assert reply.user
        assert not {word.partition(b"=")[0] for word in parameters} & {b"nologin", b"proxy"}
    if reply.kind is not Kind.TEMPORARY and command == b"FAIL":
        assert not {b"temp", b"code=temp_fail"} & set(parameters)


@given(identity=st.integers(0, 2**32 - 1), parameters=st.lists(parameter), secret=base64)
def test_a_login_keeps_nothing_of_what_the_user_sent(identity: int, parameters: list[bytes], secret: bytes) -> None:
    told = [word for word in parameters if not word.startswith(b"resp=")]
    line = b"\t".join([b"AUTH", b"%d" % identity, b"PLAIN", *told, b"rip=192.0.2.9", b"resp=" + secret]) + b"\n"
    assert parse_auth(line) == Login(b"%d" % identity, b"PLAIN", b"192.0.2.9")


@given(st.lists(parameter, min_size=1))
def test_a_temporary_failure_is_seen_wherever_it_stands(parameters: list[bytes]) -> None:
    for word in (b"temp", b"code=temp_fail"):
        line = b"FAIL\t7\t" + b"\t".join([*parameters, word]) + b"\n"
        assert parse_reply(line, LOGIN).kind is Kind.TEMPORARY
