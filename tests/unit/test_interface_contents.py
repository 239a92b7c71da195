"""The contents of parts: decoders, charsets, uuencode, file names and lists of types."""

from __future__ import annotations

import base64
import dataclasses

import pytest

from digipoort.interface.file_names import NameInvalidError, file_name
from digipoort.interface.inspection import Inspection
from digipoort.interface.measures import Meter
from digipoort.interface.mime_fields import parse_content_type, parse_disposition
from digipoort.interface.part_contents import Base64, PartContents, QuotedPrintable
from digipoort.interface.profile import InterfaceProfile
from digipoort.profiles import FlowProfile
from tests.milter_samples import fields

ALL = InterfaceProfile(off=frozenset())


def contents(content_type: bytes, encoding: str, *pieces: bytes, profile: InterfaceProfile = ALL) -> list[str]:
    parsed = parse_content_type(content_type)
    assert parsed is not None
    part = PartContents("1", parsed, encoding, profile)
    for piece in pieces:
        part.feed(piece)
    return [finding.text().partition(") ")[0] for finding in part.finish()]


@pytest.mark.parametrize(
    ("pieces", "cause"),
    [
        ([b""], None),
        ([b"VU5B\r\n", b"VU5=\r\n"], None),
        ([b"V U5B\r\n"], None),
        ([b"VU5\r\n", b"B\r\n"], None),
        ([b"VU=\r\n", b"=\r\n"], None),
        ([b"VU5\r\n"], "length"),
        ([b"VU==\r\n", b"VU5B\r\n"], "after-padding"),
        ([b"VU==VU5B\r\n"], "after-padding"),
        ([b"V===\r\n"], "padding"),
        ([b"VU5B=\r\n"], "padding"),
        ([b"VU5B====\r\n"], "padding"),
        ([b"VU5-\r\n"], "alphabet"),
        ([b"VU=5\r\n", b"B*\r\n"], "alphabet"),
        ([b"VU5\xff\r\n"], "alphabet"),
    ],
)
@pytest.mark.parametrize("decode", [False, True])
def test_base64(pieces: list[bytes], cause: str | None, *, decode: bool) -> None:
    decoder = Base64(decode=decode)
    decoded = b"".join(map(decoder.feed, pieces)) + decoder.finish()
    fault = decoder.fault()
    assert (fault[1]["cause"] if fault else None) == cause
    if cause is None:
        whole = base64.b64decode(b"".join(pieces))
        assert decoder.octets == len(whole)
        assert decoded == (whole if decode else b"")


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        (b"a=3Db=\r\nc=e9 \r\n", b"a=bc\xe9 \r\n"),
        (b"a= \r\nb", b"ab"),
        (b"a=\t \r\nb", b"ab"),
        (b"a=", b"a"),
        (b"a=4", None),
        (b"a=b\r\n", None),
        (b"a=\rb\r\n", None),
        (b"caf\xe9\r\n", None),
    ],
)
def test_quoted_printable(text: bytes, decoded: bytes | None) -> None:
    for cut in range(len(text) + 1):
        decoder = QuotedPrintable()
        result = decoder.feed(text[:cut]) + decoder.feed(text[cut:]) + decoder.finish()
        assert (decoder.fault() is None) == (decoded is not None)
        if decoded is not None:
            assert result == decoded
            assert decoder.octets == len(decoded)


def test_blanks_after_an_equals_sign_are_bounded() -> None:
    assert contents(b"a/b", "quoted-printable", b"a=" + b" " * 98, b"\r\n") == []
    assert contents(b"a/b", "quoted-printable", b"a=" + b" " * 99, b"\r\n") == ["DGP-3029 (part=1"]
    assert contents(b"a/b", "quoted-printable", b"a=" + b" " * 99 + b"\r\n") == ["DGP-3029 (part=1"]


@pytest.mark.parametrize(
    ("content_type", "encoding", "pieces", "found"),
    [
        (b"text/plain; charset=utf-8", "8bit", [b"caf\xc3", b"\xa9"], []),
        (b"text/plain; charset=UTF-8", "8bit", [b"caf\xc3"], ["DGP-3031 (charset=utf-8 part=1"]),
        (b"text/plain; charset=utf-8", "quoted-printable", [b"caf=C3=A9"], []),
        (b"text/plain; charset=utf-8", "quoted-printable", [b"caf=E9"], ["DGP-3031 (charset=utf-8 part=1"]),
        (b"text/plain; charset=utf-8", "base64", [b"w6k", b"="], []),
        (b"text/plain; charset=utf-8", "base64", [b"6Q=="], ["DGP-3031 (charset=utf-8 part=1"]),
        (b"text/plain; charset=utf-8", "base64", [b"6Q="], ["DGP-3028 (cause=padding part=1"]),
        (b"text/plain; charset=utf-16", "7bit", [b"x"], ["DGP-3031 (charset=utf-16 part=1"]),
        (b"text/plain; charset=rot13", "7bit", [b"x"], ["DGP-3031 (charset=rot13 part=1"]),
        (b"text/plain", "7bit", [b"x"], []),
        (b"application/x; charset=none", "8bit", [b"\xff"], []),
    ],
)
def test_charset(content_type: bytes, encoding: str, pieces: list[bytes], found: list[str]) -> None:
    assert contents(content_type, encoding, *pieces) == found
    off = dataclasses.replace(ALL, off=frozenset({"DGP-3031"}))
    assert "DGP-3031" not in "".join(contents(content_type, encoding, *pieces, profile=off))


UUENCODED = b"begin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (UUENCODED, True),
        (b"x\r\n" + UUENCODED, True),
        (b"begin 644 a.txt\r\nand now the text goes on\r\n", False),
        (b"x begin 644 a.txt\r\n#86)C\r\n", False),
        (b"begin the day\r\n#86)C\r\n", False),
    ],
)
def test_uuencode(text: bytes, *, found: bool) -> None:
    for cut in range(len(text) + 1):
        assert contents(b"text/plain", "7bit", text[:cut], text[cut:]) == (["DGP-3032 (part=1"] if found else [])
    assert contents(b"application/x", "7bit", text) == []


def test_part_size() -> None:
    profile = InterfaceProfile(max_part_octets=6)
    assert contents(b"a/b", "base64", b"MTIzNDU2", profile=profile) == []
    assert contents(b"a/b", "base64", b"MTIzNDU2Nw==", profile=profile) == ["DGP-3038 (limit=6 part=1"]
    assert contents(b"a/b", "quoted-printable", b"=31=32=\r\n3456", profile=profile) == []
    assert contents(b"a/b", "quoted-printable", b"=31=32=\r\n34567", profile=profile) == ["DGP-3038 (limit=6 part=1"]


@pytest.mark.parametrize(
    ("disposition", "content_type", "expected"),
    [
        (b"attachment", b"a/b", None),
        (b"attachment; filename=cusdec.edi", b"a/b", "cusdec.edi"),
        (b'attachment; filename="met spatie.edi"', b'a/b; name="met spatie.edi"', "met spatie.edi"),
        (b"attachment; filename*=utf-8'nl'na%C3%AFef.edi", b"a/b", "na\u00efef.edi"),
        (b"attachment; filename*0*=utf-8''na%C3%AF; filename*1=ef.edi", b"a/b", "na\u00efef.edi"),
        (b"attachment; filename*1=b.edi; filename*0=a", b"a/b", "ab.edi"),
        (b'attachment; filename="=?utf-8?q?na=C3=AFef=2Eedi?="', b"a/b", "na\u00efef.edi"),
        (b"attachment; filename=a.edi; filename*=utf-8''a.edi", b"a/b", "a.edi"),
        (b"attachment; filename=100%25.edi", b"a/b", "100%25.edi"),
    ],
)
def test_file_names(disposition: bytes, content_type: bytes, expected: str | None) -> None:
    assert file_name(parse_content_type(content_type), parse_disposition(disposition)) == expected


@pytest.mark.parametrize(
    ("disposition", "content_type", "cause"),
    [
        (b"attachment; filename=a.edi", b"a/b; name=b.edi", "ambiguous"),
        (b"attachment; filename=a.edi; filename*=utf-8''b.edi", b"a/b", "ambiguous"),
        (b'attachment; filename="../a.edi"', b"a/b", "path"),
        (b'attachment; filename="a\\\\b.edi"', b"a/b", "path"),
        (b'attachment; filename="c:a.edi"', b"a/b", "path"),
        (b'attachment; filename=".."', b"a/b", "path"),
        (b'attachment; filename=""', b"a/b", "path"),
        (b"attachment; filename*=utf-8''a%2Fb", b"a/b", "path"),
        (b'attachment; filename="=?utf-8?q?a=2Fb?="', b"a/b", "path"),
        (b"attachment; filename*=utf-8''a%00.edi", b"a/b", "control"),
        (b"attachment; filename*=utf-8''a%0D%0Ab", b"a/b", "control"),
        (b"attachment; filename*=utf-8''ide.%E2%80%AEexe", b"a/b", "control"),
        (b"attachment; filename*=utf-8''a%FF", b"a/b", "encoding"),
        (b"attachment; filename*=nonsense''a", b"a/b", "encoding"),
        (b"attachment; filename*=utf-8'a", b"a/b", "encoding"),
        (b"attachment; filename*=utf-8''a%zz", b"a/b", "encoding"),
        (b"attachment; filename*0=a; filename*2=b", b"a/b", "encoding"),
        (b"attachment; filename*1=a", b"a/b", "encoding"),
        (b'attachment; filename="=?none?q?a?="', b"a/b", "encoding"),
        (b'attachment; filename="=?\xe9?q?a?="', b"a/b", "encoding"),
        (b"attachment; filename=" + b"x" * 256, b"a/b", "length"),
    ],
)
def test_file_names_refused(disposition: bytes, content_type: bytes, cause: str) -> None:
    with pytest.raises(NameInvalidError, match=cause):
        file_name(parse_content_type(content_type), parse_disposition(disposition))


@pytest.mark.parametrize("value", [b"attachment; filename=a; filename=b", b"", b"attachment; =x", b"a b"])
def test_dispositions_refused(value: bytes) -> None:
    assert parse_disposition(value) is None


HEADER = fields(
    ("From", b" a@b"), ("To", b" c@d"), ("Date", b" Mon, 23 Nov 2026 10:00:00 +0100"), ("Message-ID", b" <1@b>"),
    ("MIME-Version", b" 1.0"),
)  # fmt: skip


def inspect(body: bytes, *mime: tuple[str, bytes], profile: InterfaceProfile | None = None) -> list[str]:
    """Return what a whole message's inspection finds, codes and parameters."""
    inspection = Inspection(FlowProfile("AGS", 1_000_000, profile or InterfaceProfile()), "a@b", ["c@d"])
    meter = Meter()
    for field in (*HEADER, *fields(*mime)):
        inspection.header(*field)
        meter.add_field(*field)
    inspection.body(body)
    meter.add_body(body)
    return [finding.text().partition(") ")[0].partition(" The ")[0] for finding in inspection.finish(meter.measures())]


def attached(*headers: bytes) -> bytes:
    return b"--b\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\nx\r\n--b--\r\n"


MIXED = ("Content-Type", b" multipart/mixed; boundary=b")


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        (b"a.exe", "exe"),
        (b"a.EXE", "exe"),
        (b'"a.exe. "', "exe"),
        (b'"a.pdf.js"', "js"),
    ],
)
def test_forbidden_extensions(name: bytes, extension: str) -> None:
    body = attached(b"Content-Type: a/b", b"Content-Disposition: attachment; filename=" + name)
    assert inspect(body, MIXED) == [f"DGP-3035 (extension={extension} part=1"]


def test_allowed_extensions() -> None:
    profile = InterfaceProfile(allowed_extensions=("edi",))
    for name, refused in ((b"a.edi", ""), (b"a.xml", "xml"), (b"a", "-")):
        found = [f"DGP-3035 (extension={refused} part=1"] if refused else []
        assert inspect(attached(b"Content-Type: a/b; name=" + name), MIXED, profile=profile) == found


def test_allowed_media_types() -> None:
    profile = InterfaceProfile(allowed_media_types=("text/*", "application/edifact"))
    assert inspect(attached(b"Content-Type: application/EDIFACT"), MIXED, profile=profile) == []
    assert inspect(attached(), MIXED, profile=profile) == []
    assert inspect(attached(b"Content-Type: image/png"), MIXED, profile=profile) == ["DGP-3034 (type=image/png part=1"]
    only = InterfaceProfile(allowed_media_types=("application/edifact",))
    assert inspect(attached(), MIXED, profile=only) == ["DGP-3034 (type=text/plain part=1"]


def test_attachments_are_counted() -> None:
    body = attached(b"Content-Disposition: attachment")[:-7] * 2 + attached(b"Content-Type: a/b; name=x")
    assert inspect(body, MIXED, profile=InterfaceProfile(max_attachments=3)) == []
    assert inspect(body, MIXED, profile=InterfaceProfile(max_attachments=2)) == ["DGP-3033 (limit=2"]


def test_disposition_malformed_or_repeated() -> None:
    assert inspect(attached(b"Content-Disposition: ;"), MIXED) == ["DGP-3037 (part=1"]
    twice = attached(b"Content-Disposition: inline", b"Content-Disposition: attachment")
    assert inspect(twice, MIXED) == ["DGP-3027 (header=Content-Disposition part=1"]


def test_charset_missing_only_where_a_type_is_given() -> None:
    assert inspect(b"x\r\n", ("Content-Type", b" text/plain")) == ["DGP-3030 (part=0"]
    assert inspect(b"x\r\n", ("Content-Type", b" text/plain; charset=us-ascii")) == []
    assert inspect(b"x\r\n", ("Content-Transfer-Encoding", b" 7bit")) == []


@pytest.mark.parametrize(
    ("content_type", "refused"),
    [
        (b" multipart/report; boundary=b; report-type=delivery-status", True),
        (b" multipart/report; boundary=b; report-type=Disposition-Notification", True),
        (b" multipart/report; boundary=b", True),
        (b" message/delivery-status", True),
        (b" multipart/report; boundary=b; report-type=customs", False),
    ],
)
def test_reports(content_type: bytes, *, refused: bool) -> None:
    assert ("DGP-3041" in "".join(inspect(attached(), ("Content-Type", content_type)))) is refused


def test_octets_and_size() -> None:
    assert inspect(b"x" * 999 + b"\r\n") == ["DGP-3013 (limit=998"]
    assert inspect(b"a\rb\r\n") == ["DGP-3014"]
    assert inspect(b"a\0b\r\n") == ["DGP-3014"]
    assert inspect((b"x" * 98 + b"\r\n") * 10_000)[0].startswith("DGP-3016 (flow=AGS size=1000")


def test_every_switchable_check_can_be_off() -> None:
    body = attached(b'Content-Disposition: attachment; filename="../a.exe"', b"Content-Type: text/plain")
    assert inspect(body, MIXED) == ["DGP-3036 (cause=path part=1", "DGP-3030 (part=1"]
    off = InterfaceProfile(off=frozenset({"DGP-3036", "DGP-3030"}))
    assert inspect(body, MIXED, profile=off) == []


def test_the_first_of_each_check_comes_before_repetitions() -> None:
    body = (b"--b\r\nContent-Type: nonsense\r\n\r\n" * 20) + b"x" * 999 + b"\r\n--b--\r\n"
    found = inspect(body, MIXED, ("Bcc", b" x"))
    assert found[:4] == ["DGP-3005", "DGP-3007 (part=1", "DGP-3013 (limit=998", "DGP-3007 (part=2"]
    assert len(found) == 10
