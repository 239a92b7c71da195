"""The MIME rules: every finding, and what must not be one."""

from __future__ import annotations

import tracemalloc

import pytest

from digipoort.interface.mime_fields import ContentType, is_mime_version, parse_content_type, parse_transfer_encoding
from digipoort.interface.mime_structure import MimeScanner
from digipoort.interface.profile import InterfaceProfile
from digipoort.reasons import CHARSET_MISSING
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
    return [
        finding.text().partition(") ")[0].replace(" (", " ").split(" The ")[0]
        for finding in scanner.finish()
        if finding.reason is not CHARSET_MISSING
    ]


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
    scanner.feed(b"hello\r\n")
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
    value = b" text/plain; charset=utf-8" if header == "Content-Type" else b" 7bit"
    findings = MimeScanner(fields((header, value)), InterfaceProfile()).finish()
    assert [finding.reason.code for finding in findings] == ["DGP-3006"]


@pytest.mark.parametrize("versions", [[b" 1.1"], [b" 1.0 1.0"], [b""]])
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
    assert scan(body, MIXED) == ["DGP-3027 header=Content-Type part=1"]


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
    assert scan(body, MIXED) == ["DGP-3028 cause=alphabet part=1"]


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


def test_a_blank_line_that_comes_in_pieces_ends_the_header() -> None:
    body = lines(b"Content-Type: message/rfc822", b"", b"Content-Type: message/partial", b"", b"x")
    top = fields(("MIME-Version", b" 1.0"), ("Content-Type", b" message/rfc822"))
    found = []
    for step in (1, len(body)):
        scanner = MimeScanner(top, InterfaceProfile())
        for start in range(0, len(body), step):
            scanner.feed(body[start : start + step])
        found.append(scanner.finish())
    assert found[0] == found[1]
    assert found[0][0].parameters == {"type": "message/partial", "part": "1.1"}


def test_message_at_the_top_cut_off_in_its_header() -> None:
    body = lines(b"Content-Type: message/rfc822", b"", b"Content-Type: multipart/mixed; boundary=c")
    assert scan(body, b" message/rfc822") == ["DGP-3009 part=1.1"]


def test_parts_of_a_digest_are_messages() -> None:
    body = lines(b"--b", b"", b"Content-Type: message/partial", b"", b"--b--")
    assert scan(body, b" multipart/digest; boundary=b") == ["DGP-3012 type=message/partial part=1.1"]
    assert scan(body, MIXED) == []


def test_the_line_end_before_a_boundary_is_not_contents() -> None:
    body = lines(b"--b", b"", b"12345", b"--b", b"", b"123456", b"--b--")
    assert scan(body, MIXED, max_part_octets=5) == ["DGP-3038 limit=5 part=2"]
    assert scan(b"12345\r\n", b" text/plain", max_part_octets=7) == []
    assert scan(b"12345\r\n", b" text/plain", max_part_octets=6) == ["DGP-3038 limit=6 part=0"]


def test_an_endless_line_is_no_boundary() -> None:
    body = b"--b" + b" " * 9000 + b"\r\n--b\r\n\r\nx\r\n--b--\r\n"
    assert scan(body, MIXED) == []


def test_part_header_too_large() -> None:
    body = lines(b"--b", *[b"X: " + b"y" * 95] * 20, b"", b"--b--")
    assert scan(body, MIXED, max_header_octets=2000) == []
    assert scan(body, MIXED, max_header_octets=1999) == ["DGP-3015 limit=1999"]


@pytest.mark.parametrize("limit", range(20, 30))
def test_a_part_header_is_as_large_however_it_comes(limit: int) -> None:
    """The header is 25 octets: a field of 17 with its line end, and one of 8."""
    body = lines(b"--b", b"X-Number: 12345", b"Y: 123", b"", b"x", b"--b--")
    for step in range(1, len(body) + 1):
        scanner = MimeScanner(
            fields(("MIME-Version", b" 1.0"), ("Content-Type", MIXED)), InterfaceProfile(max_header_octets=limit)
        )
        for start in range(0, len(body), step):
            scanner.feed(body[start : start + step])
        assert bool(scanner.finish()) == (limit < 25), step


def test_octets_above_127_in_a_part_header() -> None:
    body = lines(b"--b", b"Content-Description: caf\xe9", b"X-\xff", b"", b"--b--")
    assert scan(body, MIXED) == ["DGP-3023 header=Content-Description"]
    assert scan(lines(b"--b", b"\xff", b"", b"--b--"), MIXED) == ["DGP-3023 header=-"]


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "found"),
    [
        (b"caf\xe9\r\n", b" text/plain", None, ["DGP-3026 part=0"]),
        (b"caf\xe9\r\n", b" text/plain", b" 8bit", []),
        (b"\xe9\r\n--b\r\n\r\nx\r\n--b--\r\n", MIXED, None, ["DGP-3026 part=0"]),
        (b"\xe9\r\n--b\r\n\r\nx\r\n--b--\r\n", MIXED, b" 8bit", []),
        (b"--b\r\n\r\nx\r\n--b--\r\n\xe9", MIXED, None, ["DGP-3026 part=0"]),
        (b"--b\r\n\r\n\xe9\r\n--b--\r\n", MIXED, b" 8bit", ["DGP-3026 part=1"]),
    ],
)
def test_octets_above_127_only_where_declared(
    body: bytes, content_type: bytes, encoding: bytes | None, found: list[str]
) -> None:
    assert scan(body, content_type, encoding=encoding) == found


def test_findings_are_bounded() -> None:
    body = lines(*[b"--b", b"Content-Type: nonsense", b""] * 300, b"--b", b"", b"\xff", b"--b--")
    found = scan(body, MIXED, max_parts=1000)
    assert found[:10] == [f"DGP-3007 part={part}" for part in range(1, 11)]
    assert found[10:] == ["DGP-3026 part=301"]


@pytest.mark.parametrize(
    "unit",
    [b"x" * 76 + b"\r\n", b"--\r\n", b"\r\n", b"--b ", b"-", b"--bx\r\n", b"\r", b"(" * 70 + b"\r\n"],
    ids=["text", "dashes", "empty lines", "one line", "one dash", "nearly", "bare", "parentheses"],
)
def test_ten_megabytes_take_little_memory(unit: bytes) -> None:
    chunk = (unit * (65535 // len(unit) + 1))[:65535]
    scanner = MimeScanner(fields(("MIME-Version", b" 1.0"), ("Content-Type", MIXED)), InterfaceProfile())
    tracemalloc.start()
    for _ in range(160):
        scanner.feed(chunk)
    scanner.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
