"""The grammar of a request and of a reply, form by form."""

from __future__ import annotations

import pytest

from digipoort.framing import RequestMalformed
from digipoort_auth.protocol import (
    MAX_LINE_OCTETS,
    LookupRequest,
    ResetRequest,
    StatusRequest,
    VerifyRequest,
    escape,
    format_mailbox,
    parse_request,
    unescape,
)

START = b"DIGIPOORT-AUTH/1\tverify"
FIELDS = b"\tservice=pop3\tlogin=trader\tpassword=secret"


def _verify(fields: bytes) -> VerifyRequest:
    request = parse_request(START + fields + b"\n")
    assert isinstance(request, VerifyRequest)
    return request


def test_a_request_has_its_fields() -> None:
    request = parse_request(START + FIELDS + b"\tip=192.0.2.1\n")
    assert request == VerifyRequest(service=b"pop3", login=b"trader", password=b"secret", client=b"192.0.2.1")


def test_the_client_address_may_be_absent_and_other_fields_are_passed_over() -> None:
    assert _verify(b"\tsession=a=b" + FIELDS).client == b""


def test_only_yes_is_secured() -> None:
    assert _verify(FIELDS + b"\tsecured=yes").secured
    assert not any(_verify(FIELDS + word).secured for word in (b"", b"\tsecured=", b"\tsecured=no"))


def test_the_other_commands_have_their_fields() -> None:
    start = b"DIGIPOORT-AUTH/1\t"
    assert parse_request(start + b"lookup\tservice=doveadm\tlogin=trader\n") == LookupRequest(b"trader")
    assert parse_request(start + b"status\n") == StatusRequest()
    assert parse_request(start + b"reset\tscope=login\tkey=trader\n") == ResetRequest(b"login", b"trader")


def test_values_are_octets() -> None:
    line = START + b"\tservice=\tlogin=\xff\tpassword=a\x010b\x011c\x01td\x01re\x01nf=\xc3\xa9\n"
    request = _verify(line.removeprefix(START).removesuffix(b"\n"))
    assert request.login == b"\xff"
    assert request.password == b"a\0b\1c\td\re\nf=\xc3\xa9"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        START + FIELDS,
        b"DIGIPOORT-AUTH/2\tverify" + FIELDS + b"\n",
        b"DIGIPOORT-AUTH/1\n",
        b"DIGIPOORT-AUTH/1\tlookup\tservice=doveadm\n",
        b"DIGIPOORT-AUTH/1\treset\tscope=login\n",
        b"DIGIPOORT-AUTH/1\tforget\n",
        START + b"\n",
        START + b"\tservice=pop3\tlogin=trader\n",
        START + FIELDS + b"\tlogin=other\n",
        START + FIELDS + b"\tflag\n",
        START + FIELDS + b"\t\n",
        START + FIELDS + b"\t=value\n",
        START + FIELDS + b"\tIP=192.0.2.1\n",
        START + FIELDS + b"\r\n",
        START + FIELDS + b"\0\n",
        START + FIELDS + b"\1\n",
        START + FIELDS + b"\1x\n",
        START + FIELDS + b"\n\n",
        START + FIELDS + b"x" * MAX_LINE_OCTETS + b"\n",
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_what_is_outside_the_grammar_is_malformed(line: bytes) -> None:
    with pytest.raises(RequestMalformed) as caught:
        parse_request(line)
    assert "secret" not in str(caught.value)


def test_a_line_of_the_largest_size_is_understood() -> None:
    line = START + FIELDS
    line += b"x" * (MAX_LINE_OCTETS - len(line) - 1) + b"\n"
    assert len(_verify(line.removeprefix(START).removesuffix(b"\n")).password) > 4000


def test_escapes_are_those_of_dovecot() -> None:
    assert escape(b"\0\1\t\r\n") == b"\0010\0011\1t\1r\1n"
    assert unescape(b"\0011t") == b"\1t"


def test_an_accepted_reply_names_the_mailbox_when_there_is_one() -> None:
    assert format_mailbox("trader", "abcd1234") == b"ok\tlogin=trader\tmailbox=abcd1234\n"
    assert format_mailbox("trader", None) == b"ok\tlogin=trader\n"


def test_a_request_never_shows_its_password() -> None:
    assert "secret" not in repr(parse_request(START + FIELDS + b"\n"))
