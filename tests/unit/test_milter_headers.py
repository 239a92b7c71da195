"""Address lists, and the header's agreement with the envelope."""

from __future__ import annotations

import pytest

from digipoort.profiles import InterfaceProfile
from digipoort_milter.addresses import normalised, parse_addresses
from digipoort_milter.header_checks import header_findings
from tests.milter_samples import fields

SENDER = "trader@logical.example"
RECIPIENT = "ags@logical.example"
GOOD = {
    "From": b" Trader <Trader@Logical.example>",
    "Date": b" Fri, 2 Jan 2026 00:00:00 +0000",
    "Message-ID": b" <1@x>",
    "To": b" ags@logical.example",
}


@pytest.mark.parametrize(
    ("value", "mailboxes", "plain"),
    [
        (b"a@b.c", ("a@b.c",), True),
        (b" A B <A@B.C>", ("a@b.c",), True),
        (b'"x, y" <a@b.c>, d.e@f (comment (nested) \\) )', ("a@b.c", "d.e@f"), True),
        (b'"a"@b.c', ("a@b.c",), True),
        (b'"a\\"b c"@b', ('a"b c@b',), True),
        (b"a@[192.0.2.1]", ("a@[192.0.2.1]",), True),
        (b"J. Doe <a@b>\r\n , c@d", ("a@b", "c@d"), True),
        (b"group: a@b, c@d;", ("a@b", "c@d"), False),
        (b"undisclosed-recipients:;", (), False),
        (b"a@b, nonsense, c@d", ("a@b", "c@d"), False),
        (b"a@b c@d", (), False),
        (b"a@b)c@d", (), False),
        (b"(open a@b", (), False),
        (b"<a@b> <c@d>", (), False),
        (b"a@b <c@d>", (), False),
        (b"<a@b> x", (), False),
        (b"<@relay:a@b>", (), False),
        (b"a..b@c", (), False),
        (b"a@b@c", (), False),
        (b"@b", (), False),
        (b"a@", (), False),
        (b"", (), True),
        (b",,a@b,", ("a@b",), True),
        (b"\x00a@b", (), False),
        (b"\xc3\xa9@b", ("\u00e9@b",), True),
    ],
)
def test_parse_addresses(value: bytes, mailboxes: tuple[str, ...], *, plain: bool) -> None:
    result = parse_addresses(value)
    assert (result.mailboxes, result.plain) == (mailboxes, plain)


@pytest.mark.parametrize(
    ("address", "expected"),
    [(b"<A@B>", "a@b"), (b"A@b", "a@b"), (b'<"a"@b>', "a@b"), (b"<>", ""), (b"(x", "(x"), (b"nonsense", "nonsense")],
)
def test_normalised(address: bytes, expected: str) -> None:
    assert normalised(address) == expected


def codes(headers: dict[str, bytes], *extra: tuple[str, bytes], recipient: str = RECIPIENT) -> list[str]:
    found = header_findings(fields(*headers.items(), *extra), SENDER, [recipient], InterfaceProfile())
    return [finding.reason.code for finding in found]


def test_a_good_header_has_no_findings() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize("name", GOOD)
def test_required_header_missing(name: str) -> None:
    found = codes({key: value for key, value in GOOD.items() if key != name})
    assert found[0] == "DGP-3001"


@pytest.mark.parametrize("name", ["From", "Date", "Message-ID", "To"])
def test_required_header_repeated(name: str) -> None:
    assert codes(GOOD, (name.upper(), GOOD[name])) == ["DGP-3002"]


def test_a_second_to_counts_although_it_names_another() -> None:
    assert codes(GOOD, ("To", b" other@logical.example")) == ["DGP-3002"]


@pytest.mark.parametrize(
    "value", [b" other@logical.example", b" trader@logical.example, a@b", b" g:trader@logical.example;", b"", b" ((("]
)
def test_from_is_not_the_sender(value: bytes) -> None:
    assert codes(GOOD | {"From": value}) == ["DGP-3003"]


def test_second_from_is_judged_too() -> None:
    assert codes(GOOD, ("from", b" other@logical.example")) == ["DGP-3002", "DGP-3003"]


def test_recipient_in_cc() -> None:
    assert codes(GOOD | {"To": b" x@y"}, ("Cc", b" AGS <AGS@logical.example>")) == []


def test_recipient_in_neither() -> None:
    assert codes(GOOD, recipient="emcs@logical.example") == ["DGP-3004"]


def test_bcc() -> None:
    assert codes(GOOD, ("BCC", b" x@y")) == ["DGP-3005"]


def test_long_header_line() -> None:
    assert codes(GOOD, ("Subject", b" " + b"x" * 989)) == []
    assert codes(GOOD, ("Subject", b" " + b"x" * 990)) == ["DGP-3013"]
    assert codes(GOOD, ("Subject", b" x\n " + b"x" * 998)) == ["DGP-3013"]


@pytest.mark.parametrize("value", [b" a\rb", b" a\x00b"])
def test_octets_that_no_header_may_hold(value: bytes) -> None:
    assert codes(GOOD, ("Subject", value)) == ["DGP-3014"]
