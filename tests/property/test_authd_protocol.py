"""The protocol of authd for any octets: what is escaped comes back, and no parser fails but in its own way."""

from __future__ import annotations

import contextlib
import re

from hypothesis import given
from hypothesis import strategies as st

from digipoort.framing import RequestMalformed
from digipoort_auth import checkpassword
from digipoort_auth.protocol import (
    MAX_LINE_OCTETS,
    VerifyRequest,
    escape,
    format_mailbox,
    parse_request,
    unescape,
)

octets = st.binary(max_size=256)
# Octets that mean something to the grammar come up far more often than by chance.
hostile = st.lists(st.sampled_from([b"\0", b"\1", b"\t", b"\r", b"\n", b"=", b"1", b"0", b"t", b"\xff"])).map(b"".join)
value = octets | hostile
STARTS = [b"", *(b"DIGIPOORT-AUTH/1\t%b\t" % name for name in (b"verify", b"lookup", b"status", b"reset"))]


@given(value)
def test_unescape_returns_what_escape_was_given(plain: bytes) -> None:
    escaped = escape(plain)
    assert not set(escaped) & set(b"\0\t\r\n")
    assert unescape(escaped) == plain


@given(service=value, login=value, password=value, client=value, secured=st.booleans())
def test_authd_reads_what_checkpassword_writes(
    service: bytes,
    login: bytes,
    password: bytes,
    client: bytes,
    secured: bool,  # noqa: FBT001
) -> None:
    line = checkpassword.request(service, login, password, client, secured=secured)
    assert line.count(b"\n") == 1
    assert parse_request(line) == VerifyRequest(
        service=service, login=login, password=password, client=client, secured=secured
    )


@given(
    login=st.from_regex(r"[a-z0-9][a-z0-9._@-]{0,127}", fullmatch=True),
    mailbox=st.none() | st.from_regex(r"[a-z0-9]{4,32}", fullmatch=True),
)
def test_checkpassword_reads_what_authd_writes(login: str, mailbox: str | None) -> None:
    line = format_mailbox(login, mailbox)
    assert checkpassword.accepted_mailbox(line, login.encode()) == (mailbox or "").encode()


@given(
    st.binary(max_size=MAX_LINE_OCTETS + 2) | hostile,
    st.sampled_from(STARTS),
)
def test_any_line_is_a_request_or_malformed(rest: bytes, start: bytes) -> None:
    with contextlib.suppress(RequestMalformed):
        assert parse_request(start + rest + b"\n") is not None


@given(st.binary(max_size=300) | hostile, st.sampled_from([b"", b"ok\tlogin=trader", b"ok\tlogin=trader\tmailbox="]))
def test_any_reply_gives_a_safe_mailbox_or_no_verdict(rest: bytes, start: bytes) -> None:
    with contextlib.suppress(checkpassword.NoVerdictError):
        assert re.fullmatch(rb"([a-z0-9]{4,32})?", checkpassword.accepted_mailbox(start + rest + b"\n", b"trader"))
