"""The MIME scanner on any octets in any chunks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from digipoort.interface.measures import Meter
from digipoort.interface.mime_fields import parse_content_type, parse_transfer_encoding
from digipoort.interface.mime_structure import MimeScanner
from digipoort.interface.profile import InterfaceProfile
from tests.milter_samples import chunks, fields

PROFILE = InterfaceProfile(max_depth=3, max_parts=6, max_header_octets=200, max_part_octets=30, off=frozenset())
TOP = fields(("MIME-Version", b" 1.0"), ("Content-Type", b' multipart/mixed; boundary="b"'))
FRAGMENTS = st.sampled_from(
    [
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"\x00",
        b"--b",
        b"--b\r\n",
        b"--b--\r\n",
        b"--c\r\n",
        b"--c--\r\n",
        b"--",
        b" ",
        b"=",
        b"VU5B",
        b"x" * 77,
        b"y" * 1001,
        b"Content-Type: multipart/mixed; boundary=c\r\n",
        b"Content-Type: multipart/digest; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: message/partial\r\n",
        b"Content-Type: nonsense\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        b"Content-Transfer-Encoding: binary\r\n",
    ]
)
BODIES = st.lists(st.one_of(FRAGMENTS, st.binary(max_size=20)), max_size=30).map(b"".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=10)


def scan(pieces: list[bytes]) -> list[str]:
    scanner = MimeScanner(TOP, PROFILE)
    for piece in pieces:
        scanner.feed(piece)
    return [finding.text() for finding in scanner.finish()]


@settings(max_examples=100, deadline=None)
@given(BODIES, CUTS)
def test_findings_do_not_depend_on_the_chunks(body: bytes, cuts: list[int]) -> None:
    whole = scan([body])
    assert scan(chunks(body, cuts)) == whole
    assert scan([body[index : index + 1] for index in range(len(body))]) == whole
    assert len(whole) <= 100


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=500), st.lists(st.binary(max_size=100), max_size=4))
def test_any_octets_can_be_scanned(body: bytes, values: list[bytes]) -> None:
    names = ["Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Content-Type"]
    scanner = MimeScanner(fields(*zip(names, values, strict=False)), PROFILE)
    scanner.feed(body)
    scanner.finish()


@settings(max_examples=100, deadline=None)
@given(BODIES, CUTS)
def test_lines_and_octets_are_measured_alike(body: bytes, cuts: list[int]) -> None:
    meter = Meter()
    for piece in chunks(body, cuts):
        meter.add_body(piece)
    measures = meter.measures()
    rest = body.replace(b"\r\n", b"")
    assert measures.longest_line == max(map(len, body.split(b"\r\n")))
    assert measures.bare == (b"\r" in rest or b"\n" in rest)
    assert measures.nul == (b"\x00" in body)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_value_can_be_parsed(value: bytes) -> None:
    parse_content_type(value)
    parse_content_type(b"text/plain;" + value)
    parse_transfer_encoding(value)
