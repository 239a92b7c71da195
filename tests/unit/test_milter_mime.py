"""The MIME rules: every finding, and what must not be one."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from digipoort.profiles import InterfaceProfile
from digipoort_milter.content_type import ContentType, is_mime_version, parse_content_type, parse_transfer_encoding
from digipoort_milter.mime_structure import MimeScanner
from digipoort_milter.transfer_encoding import Base64Check, QuotedPrintableCheck
from tests.milter_samples import fields

MIXED = b' multipart/mixed; boundary="b"'


def scan(body: bytes, content_type: bytes | None = None, *, encoding: bytes | None = None, **limits: int) -> list[str]:
    headers = [("MIME-Version", b" 1.0")]
    if content_type is not None:
        headers.append(("Content-Type", content_type))
    if encoding is not None:
        headers.append(("Content-Transfer-Encoding", encoding))
    scanner = MimeScanner(fields(*headers), InterfaceProfile(**limits))  # type: ignore[arg-type]
    scanner.feed(body)
    return [finding.text().partition(") ")[0].replace(" (", " ").split(" The ")[0] for finding in scanner.finish()]


def lines(*texts: bytes) -> bytes:
    return b"".join(text + b"\r\n" for text in texts)


def nested(depth: int, content: bytes = b"x") -> bytes:
    """Return the body of a multipart with `depth` levels of multiparts, the outermost included."""
    if depth == 0:
        return lines(content)
    boundary = b"b%d" % depth
    inner = b'Content-Type: multipart/mixed; boundary="b%d"' % (depth - 1) if depth > 1 else b"Content-Type: text/plain"
    return lines(b"--" + boundary, inner, b"") + nested(depth - 1, content) + lines(b"--" + boundary + b"--")


def test_plain_text_without_mime() -> None:
    scanner = MimeScanner(fields(("Subject", b" x")), InterfaceProfile())
    scanner.feed(b"hello\r\n\xff\r\n")
    assert scanner.finish() == []


def test_no_body_at_all() -> None:
    assert MimeScanner([], InterfaceProfile()).finish() == []


def test_a_good_multipart() -> None:
    body = lines(
        b"preamble --b",
        b"--b",
        b"Content-Type: text/plain",
        b"",
        b"text --b",
        b"--b ",
        b"",
        b"no header",
        b"--b",
        b"Content-Type: application/edifact; name=x",
        b"Content-Transfer-Encoding: base64",
        b"",
        b"VU5B",
        b"",
        b"--b--",
        b"epilogue",
        b"--b",
    )
    assert scan(body, MIXED) == []


def test_last_line_without_crlf() -> None:
    assert scan(b"--b\r\n\r\nx\r\n--b--", MIXED) == []


@pytest.mark.parametrize("header", ["Content-Type", "Content-Transfer-Encoding"])
def test_mime_version_missing(header: str) -> None:
    value = b" text/plain" if header == "Content-Type" else b" 7bit"
    findings = MimeScanner(fields((header, value)), InterfaceProfile()).finish()
    assert [finding.reason.code for finding in findings] == ["DGP-3006"]


@pytest.mark.parametrize("versions", [[b" 1.1"], [b" 1.0", b" 1.0"], [b""]])
def test_mime_version_invalid(versions: list[bytes]) -> None:
    findings = MimeScanner(fields(*(("mime-version", value) for value in versions)), InterfaceProfile()).finish()
    assert [finding.reason.code for finding in findings] == ["DGP-3006"]


def test_mime_version_with_comment() -> None:
    assert is_mime_version(b" (made by x) 1 . 0 (y)")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" Text/Plain", ContentType("text/plain")),
        (b" text/plain; charset=us-ascii;", ContentType("text/plain")),
        (b'\ttext/plain (c) ; charset = "u\\"tf" (d)', ContentType("text/plain")),
        (b" multipart/mixed;\r\n boundary=simple", ContentType("multipart/mixed", b"simple")),
        (b' multipart/mixed; boundary="a b?=(x)"', ContentType("multipart/mixed", b"a b?=(x)")),
        (b" multipart/mixed; boundary=" + b"x" * 70, ContentType("multipart/mixed", b"x" * 70)),
        (b" multipart/mixed; boundary=" + b"x" * 71, None),
        (b' multipart/mixed; boundary="x "', None),
        (b' multipart/mixed; boundary=""', None),
        (b" multipart/mixed", None),
        (b" multipart/mixed; boundary=a=b", None),
        (b" multipart/mixed; boundary=a; boundary=b", None),
        (b" text", None),
        (b" text/", None),
        (b" text/plain charset=x", None),
        (b" text/plain;;", None),
        (b" text/plain; charset", None),
        (b"", None),
        (b" text/plain; x=\xff", None),
    ],
)
def test_parse_content_type(value: bytes, expected: ContentType | None) -> None:
    assert parse_content_type(value) == expected


def test_parse_transfer_encoding() -> None:
    assert parse_transfer_encoding(b" BASE64 (x)") == "base64"
    assert parse_transfer_encoding(b" 7bit 8bit") is None


def test_content_type_invalid_at_the_top_and_below() -> None:
    assert scan(b"x\r\n", b" nonsense") == ["DGP-3007 part=0"]
    body = lines(b"--b", b"Content-Type: multipart/mixed", b"", b"x", b"--b--")
    assert scan(body, MIXED) == ["DGP-3007 part=1"]


def test_content_type_twice() -> None:
    body = lines(b"--b", b"Content-Type: text/plain", b"content-type: text/html", b"", b"--b--")
    assert scan(body, MIXED) == ["DGP-3007 part=1"]


@pytest.mark.parametrize("encoding", [b" x-uuencode", b" binary", b" 7bit; x", b""])
def test_transfer_encoding_invalid(encoding: bytes) -> None:
    assert scan(b"x\r\n", b" text/plain", encoding=encoding) == ["DGP-3008 part=0"]


@pytest.mark.parametrize("encoding", [b" 7bit", b" 8BIT", b" quoted-printable"])
def test_transfer_encoding_valid(encoding: bytes) -> None:
    assert scan(b"x\r\n", b" text/plain", encoding=encoding) == []


def test_composite_with_encoding() -> None:
    assert scan(lines(b"--b", b"", b"--b--"), MIXED, encoding=b" base64") == ["DGP-3008 part=0"]
    assert scan(lines(b"--b", b"", b"--b--"), MIXED, encoding=b" 8bit") == []


def test_base64_that_cannot_be_decoded() -> None:
    body = lines(b"--b", b"Content-Transfer-Encoding: base64", b"", b"VU5B*", b"--b--")
    assert scan(body, MIXED) == ["DGP-3008 part=1"]


@pytest.mark.parametrize(
    ("pieces", "valid"),
    [
        ([b""], True),
        ([b"VU5B\r\n", b"VU5=\r\n"], True),
        ([b"V U5B\r\n"], True),
        ([b"VU5\r\n", b"B\r\n"], True),
        ([b"VU=\r\n", b"=\r\n"], True),
        ([b"VU5\r\n"], False),
        ([b"VU==\r\n", b"VU5B\r\n"], False),
        ([b"VU==VU5B\r\n"], False),
        ([b"V===\r\n"], False),
        ([b"VU5-\r\n"], False),
    ],
)
def test_base64(pieces: list[bytes], *, valid: bool) -> None:
    check = Base64Check()
    for piece in pieces:
        check.feed(piece)
    assert check.valid() == valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [(b"a=3Db=\r\nc=e9 \r\n", True), (b"a= \r\n", True), (b"a=\r\n", True), (b"a=3\r\n", False), (b"a=b\r\n", False)],
)
def test_quoted_printable(text: bytes, *, valid: bool) -> None:
    check = QuotedPrintableCheck()
    check.feed(text)
    assert check.valid() == valid


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary\r\n",
        b"--b\r\n\r\ncut off",
        b"--b\r\nContent-Type: text/plain\r\n",
        b"--b--\r\n",
        b"--b\r\n\r\n--bb--\r\n",
        b" --b\r\n\r\n --b--\r\n",
    ],
)
def test_multipart_not_closed_or_empty(body: bytes) -> None:
    assert scan(body, MIXED) == ["DGP-3009 part=0"]


def test_parents_boundary_ends_an_unclosed_child() -> None:
    body = lines(
        b"--b", b"", b"--b", b"Content-Type: multipart/mixed; boundary=c", b"", b"--c", b"", b"x", b"--b", b"", b"--b--"
    )
    assert scan(body, MIXED) == ["DGP-3009 part=2"]


def test_boundary_in_an_unfinished_header_ends_the_part() -> None:
    assert scan(lines(b"--b", b"Content-Type: text/plain", b"--b--"), MIXED) == []


def test_boundaries_that_begin_alike() -> None:
    body = lines(
        b"--b",
        b"Content-Type: multipart/mixed; boundary=bb",
        b"",
        b"--bb",
        b"",
        b"x",
        b"--bb--",
        b"--b",
        b'Content-Type: multipart/mixed; boundary="b--"',
        b"",
        b"--b--",
        b"",
        b"--b----",
        b"--b--",
    )
    assert scan(body, MIXED) == []


def test_depth() -> None:
    assert scan(nested(10), b" multipart/mixed; boundary=b10") == []
    assert scan(nested(11), b" multipart/mixed; boundary=b11") == ["DGP-3010 limit=10"]
    assert scan(nested(3), b" multipart/mixed; boundary=b3", max_depth=2) == ["DGP-3010 limit=2"]


def test_parts() -> None:
    assert scan(lines(*[b"--b", b""] * 100, b"--b--"), MIXED) == []
    assert scan(lines(*[b"--b", b""] * 101, b"--b--"), MIXED) == ["DGP-3011 limit=100"]


@pytest.mark.parametrize("media_type", ["message/partial", "Message/External-Body"])
def test_forbidden_types(media_type: str) -> None:
    expected = f"DGP-3012 type={media_type.lower()}"
    assert scan(b"x\r\n", b" " + media_type.encode() + b"; id=x") == [expected + " part=0"]
    body = lines(b"--b", b"Content-Type: " + media_type.encode(), b"", b"--b--")
    assert scan(body, MIXED) == [expected + " part=1"]


def test_message_in_a_message_is_entered() -> None:
    body = lines(
        b"--b",
        b"Content-Type: message/rfc822",
        b"",
        b"Subject: inner",
        b"Content-Type: multipart/mixed; boundary=c",
        b"",
        b"--c",
        b"Content-Type: message/partial",
        b"",
        b"--c--",
        b"--b--",
    )
    assert scan(body, MIXED) == ["DGP-3012 type=message/partial part=1.1.1"]


def test_message_at_the_top_cut_off_in_its_header() -> None:
    body = lines(b"Content-Type: message/rfc822", b"", b"Content-Type: multipart/mixed; boundary=c")
    assert scan(body, b" message/rfc822") == ["DGP-3009 part=1.1"]


def test_parts_of_a_digest_are_messages() -> None:
    body = lines(b"--b", b"", b"Content-Type: message/partial", b"", b"--b--")
    assert scan(body, b" multipart/digest; boundary=b") == ["DGP-3012 type=message/partial part=1.1"]
    assert scan(body, MIXED) == []


def test_line_length() -> None:
    assert scan(b"x" * 998 + b"\r\n") == []
    assert scan(b"x" * 999 + b"\r\n" + b"y" * 5000) == ["DGP-3013 limit=998"]
    assert scan(b"x" * 999) == ["DGP-3013 limit=998"]
    assert scan(b"x" * 79 + b"\r\n", max_line_octets=78) == ["DGP-3013 limit=78"]
    assert scan(b"x" * 5000 + b"\r\n", max_line_octets=5000) == []


@pytest.mark.parametrize("body", [b"a\x00b\r\n", b"a\nb\r\n", b"a\rb\r\n", b"a\r", b"\n", b"a\r\r\n"])
def test_octets_that_no_body_may_hold(body: bytes) -> None:
    assert scan(body) == ["DGP-3014"]


def test_part_header_too_large() -> None:
    body = lines(b"--b", *[b"X: " + b"y" * 95] * 20, b"", b"--b--")
    assert scan(body, MIXED, max_header_octets=2000) == []
    assert scan(body, MIXED, max_header_octets=1999) == ["DGP-3015 limit=1999"]


def test_at_most_ten_findings() -> None:
    body = lines(*[b"--b", b"Content-Type: nonsense", b""] * 30, b"--b--", b"\x00")
    assert len(scan(body, MIXED)) == 10


@pytest.mark.parametrize(
    "unit",
    [b"x" * 76 + b"\r\n", b"--\r\n", b"\r\n", b"--b ", b"-", b"--bx\r\n", b"\r", b"(" * 70 + b"\r\n"],
    ids=["text", "dashes", "empty lines", "one line", "one dash", "nearly", "bare", "parentheses"],
)
def test_ten_megabytes_take_little_time_and_memory(unit: bytes) -> None:
    chunk = (unit * (65535 // len(unit) + 1))[:65535]
    scanner = MimeScanner(fields(("MIME-Version", b" 1.0"), ("Content-Type", MIXED)), InterfaceProfile())
    tracemalloc.start()
    started = time.process_time()
    for _ in range(160):
        scanner.feed(chunk)
    scanner.finish()
    spent = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spent < 10  # generous: tracing slows it several times, and machines are shared
    assert peak < 8 * 1024 * 1024
