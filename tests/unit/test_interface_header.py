"""Address lists, and the header's agreement with the envelope."""

from __future__ import annotations

import pytest

from digipoort.interface.addresses import normalised, parse_addresses
from digipoort.interface.header_rules import HeaderRules
from digipoort.interface.header_values import auto_submitted_keyword, is_date_time, message_id
from digipoort.interface.measures import Meter
from digipoort.interface.profile import InterfaceProfile
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


def codes(
    headers: dict[str, bytes],
    *extra: tuple[str, bytes],
    recipient: str = RECIPIENT,
    profile: InterfaceProfile | None = None,
) -> list[str]:
    rules, meter = HeaderRules(profile or InterfaceProfile(), SENDER, [recipient]), Meter()
    for field in fields(*headers.items(), *extra):
        rules.add(field.name.strip().lower(), *field)
        meter.add_field(*field)
    return [finding.reason.code for finding in rules.findings(meter.measures())]


def test_a_good_header_has_no_findings() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize("name", GOOD)
def test_required_header_missing(name: str) -> None:
    found = codes({key: value for key, value in GOOD.items() if key != name})
    assert found[0] == "DGP-3001"


@pytest.mark.parametrize("name", ["From", "Date", "Message-ID"])
def test_single_header_repeated(name: str) -> None:
    assert codes(GOOD, (name.upper(), GOOD[name])) == ["DGP-3002"]


@pytest.mark.parametrize("name", ["Sender", "Reply-To", "Subject"])
def test_optional_single_header(name: str) -> None:
    assert codes(GOOD, (name, GOOD["From"])) == []
    assert codes(GOOD, (name, GOOD["From"]), (name.lower(), GOOD["From"])) == ["DGP-3002"]


def test_to_may_be_repeated() -> None:
    assert codes(GOOD, ("To", b" other@logical.example")) == []


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


@pytest.mark.parametrize("value", [b" other@logical.example", b" trader@logical.example, a@b", b""])
def test_sender_header_is_not_the_sender(value: bytes) -> None:
    assert codes(GOOD, ("Sender", value)) == ["DGP-3017"]


@pytest.mark.parametrize("value", [b" TRADER@Logical.example", b" Desk <desk@logical.example>, x@logical.example"])
def test_reply_to_in_the_senders_domain(value: bytes) -> None:
    assert codes(GOOD, ("Reply-To", value)) == []


@pytest.mark.parametrize("value", [b" a@b.example", b" x@logical.example, a@b", b" x: x@logical.example;", b" x@", b""])
def test_reply_to_elsewhere(value: bytes) -> None:
    assert codes(GOOD, ("Reply-To", value)) == ["DGP-3044"]


@pytest.mark.parametrize("name", ["Resent-From", "RESENT-Date", "Resent-X"])
def test_resent(name: str) -> None:
    assert codes(GOOD, (name, b" x")) == ["DGP-3018"]


@pytest.mark.parametrize("name", ["Disposition-Notification-To", "return-receipt-to", "X-Confirm-Reading-To"])
def test_read_receipt_request(name: str) -> None:
    assert codes(GOOD, (name, b" trader@logical.example")) == ["DGP-3024"]


def test_mailbox_line() -> None:
    assert codes(GOOD, ("X-Mailbox-Line", b" From trader Mon Nov 23 10:00:00 2026")) == ["DGP-3025"]


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b" Mon, 23 Nov 2026 10:00:00 +0100", True),
        (b" 23 Nov 2026 10:00 +0100", True),
        (b" mon,\n 3 nov 2025 10:00:00 -0000 (CET (winter))", True),
        (b" Mon, 23 Nov 2026 10:00:00 GMT", True),
        (b" Mon, 23 Nov 2026 10:00:00 UT", True),
        (b" Wed, 31 Dec 2025 23:59:60 +0000", True),
        (b" Tue, 29 Feb 2000 00:00:00 +0000", True),
        (b" Tue, 23 Nov 2026 10:00:00 +0100", False),
        (b" Mon, 30 Feb 2026 10:00:00 +0100", False),
        (b" Mon, 23 Nov 26 10:00:00 +0100", False),
        (b" Mon, 23 Nov 1026 10:00:00 +0100", False),
        (b" Mon, 23 Nov 2026 24:00:00 +0100", False),
        (b" Mon, 23 Nov 2026 10:00:61 +0100", False),
        (b" Mon, 23 Nov 2026 10:00:00 CET", False),
        (b" Mon, 23 Nov 2026 10:00:00", False),
        (b" Mon, 23 Nov 2026 10:00:00 +0160", False),
        (b" Mon, 23 November 2026 10:00:00 +0100", False),
        (b" Ma, 23 Nov 2026 10:00:00 +0100", False),
        (b" 2026-11-23T10:00:00Z", False),
        (b" Mon, 23 Nov 2026 10:00:00 +0100 (open", False),
        (b" \xd9\xa1 Nov 2026 10:00:00 +0100", False),
        (b"", False),
    ],
)
def test_dates(value: bytes, *, valid: bool) -> None:
    assert is_date_time(value) == valid
    found = codes(GOOD | {"Date": value})
    assert ("DGP-3019" in found) is not valid


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b" <1@x>", True),
        (b" <a.b$c%d@mail.example.nl>", True),
        (b"\n\t<a@[192.0.2.1]> (made here)", True),
        (b" a@b", False),
        (b" <a>", False),
        (b" <a@b", False),
        (b" <a@b> <c@d>", False),
        (b" <a@b@c>", False),
        (b" <a b@c>", False),
        (b' <"a b"@c>', False),
        (b" <a..b@c>", False),
        (b" <a@b.>", False),
        (b" <@b>", False),
        (b" <a@>", False),
        (b"", False),
        (b" (<a@b>", False),
    ],
)
def test_message_ids(value: bytes, *, valid: bool) -> None:
    assert (message_id(value) is not None) == valid
    assert codes(GOOD | {"Message-ID": value}) == ([] if valid else ["DGP-3020"])


@pytest.mark.parametrize(
    ("value", "keyword"),
    [
        (b" no", "no"),
        (b" NO (really)", "no"),
        (b" auto-replied; owner-email=x@y", "auto-replied"),
        (b" auto-generated", "auto-generated"),
        (b"", "-"),
        (b" a b", "-"),
        (b" (", "-"),
    ],
)
def test_auto_submitted(value: bytes, keyword: str) -> None:
    assert auto_submitted_keyword(value) == keyword
    assert codes(GOOD, ("Auto-Submitted", value)) == ([] if keyword == "no" else ["DGP-3040"])


def test_auto_submitted_can_be_allowed() -> None:
    profile = InterfaceProfile(auto_submitted=("no", "auto-generated"))
    assert codes(GOOD, ("Auto-Submitted", b" auto-generated"), profile=profile) == []


def test_number_of_fields() -> None:
    filler = [("X-A", b" b")] * (200 - len(GOOD))
    assert codes(GOOD, *filler) == []
    assert codes(GOOD, *filler, ("X-A", b" b")) == ["DGP-3021"]


def test_field_octets() -> None:
    line = b"\n " + b"x" * 900
    value = line * 9
    room = 8192 - len(b"Subject:" + value.replace(b"\n", b"\r\n") + b"\r\n")
    assert codes(GOOD, ("Subject", value + b"\n " + b"y" * (room - 3))) == []
    assert codes(GOOD, ("Subject", value + b"\n " + b"y" * (room - 2))) == ["DGP-3022"]


def test_header_octets() -> None:
    own = sum(len(name) + 1 + len(value) + 2 for name, value in GOOD.items())
    filler = [("X-A", b" " + b"b" * 993)] * 65
    room = 65536 - own - 65 * 1000
    assert codes(GOOD, *filler, ("X-B", b" " + b"c" * (room - 7))) == []
    assert codes(GOOD, *filler, ("X-B", b" " + b"c" * (room - 6))) == ["DGP-3015"]


def test_of_a_header_far_too_large_nothing_is_said_to_be_missing() -> None:
    filler = [("X-A", b" " + b"b" * 994)] * 80
    assert codes({}, *filler) == ["DGP-3015"]


def test_octets_above_127() -> None:
    assert codes(GOOD, ("Subject", b" caf\xc3\xa9"), ("X-Y", b" \xe9")) == ["DGP-3023", "DGP-3023"]


def test_received() -> None:
    assert codes(GOOD, *[("Received", b" from x by y; date")] * 20) == []
    assert codes(GOOD, *[("Received", b" from x by y; date")] * 21) == ["DGP-3039"]
