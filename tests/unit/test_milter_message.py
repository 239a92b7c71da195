"""Octets, digest, marks and envelope parameters."""

from __future__ import annotations

import hashlib

import pytest

from digipoort.interface.fields import is_gateway_header, parse_fields, unfolded
from digipoort.interface.measures import Measures, Meter
from digipoort_milter.envelope import kept_parameters, parse_envelope
from digipoort_milter.marks import Marks, read_digest, read_marks, read_reference
from tests.milter_samples import DIGEST, REFERENCE, fields

MEASURES = Measures(1234, 200, 5, 1, 76, bare=False, nul=True)
GOOD_MARKS = (
    ("X-Digipoort-Reference", b" " + REFERENCE.encode()),
    ("X-Digipoort-Digest", b" " + DIGEST.encode()),
    ("X-Digipoort-Measures", b" " + MEASURES.text().encode()),
)


def test_meter_counts_the_message_in_crlf_form() -> None:
    message = b"From: a@b\r\nSubject: x\r\n folded\r\n\r\nbody\r\n"
    meter = Meter()
    meter.add_field("From", b" a@b")
    meter.add_field("Subject", b" x\n folded")
    meter.add_body(b"bo")
    meter.add_body(b"dy\r\n")
    assert meter.measures() == Measures(len(message), len(message) - 8, 2, 0, 10, bare=False, nul=False)
    assert meter.digest() == "sha256=" + hashlib.sha256(b"body\r\n").hexdigest()


@pytest.mark.parametrize("name", ["X-Digipoort-Reference", "x-dIGIPOORT-new", "X-Digipoort-Measures "])
def test_gateway_headers_in_any_spelling(name: str) -> None:
    assert is_gateway_header(name)


def test_other_headers_are_not_the_gateways() -> None:
    assert not is_gateway_header("X-Digi")


def test_marks() -> None:
    marks = read_marks(fields(*GOOD_MARKS, ("x-digipoort-envelope", b" ENVID=a\n RET=FULL")))
    assert marks == Marks(REFERENCE, DIGEST, MEASURES, b"ENVID=a RET=FULL")


@pytest.mark.parametrize("missing", range(3))
def test_absent_mark(missing: int) -> None:
    assert read_marks(fields(*(mark for index, mark in enumerate(GOOD_MARKS) if index != missing))) is None


@pytest.mark.parametrize("extra", [*GOOD_MARKS, ("X-Digipoort-Envelope", b"")])
def test_repeated_mark(extra: tuple[str, bytes]) -> None:
    assert read_marks(fields(*GOOD_MARKS, ("X-Digipoort-Envelope", b""), extra)) is None


@pytest.mark.parametrize(
    "bad",
    [
        ("X-Digipoort-Reference", b" DP-1"),
        ("X-Digipoort-Digest", b" md5=00"),
        ("X-Digipoort-Measures", b" 1234"),
        ("X-Digipoort-Measures", b" " + MEASURES.text().encode() + b"0"),
        ("X-Digipoort-Measures", b" octets=" + b"1" * 30 + b" header=1 fields=1 received=0 line=1 bare=0 nul=0"),
        ("X-Digipoort-Reference", b"\xff"),
    ],
)
def test_malformed_mark(bad: tuple[str, bytes]) -> None:
    marks = [bad if name == bad[0] else (name, value) for name, value in GOOD_MARKS]
    assert read_marks(fields(*marks)) is None


def test_reference_and_digest_of_returned_headers() -> None:
    found = fields(*GOOD_MARKS)
    assert read_reference(found) == REFERENCE
    assert read_digest(found) == DIGEST.removeprefix("sha256=")
    assert read_reference(found * 2) is None
    assert read_digest([]) is None


def test_parse_fields_tolerates_what_is_no_field() -> None:
    block = b"A: 1\r\n\tcontinued\r\nno field\r\n: empty\r\nB :2\nC:\xff\r\n"
    assert parse_fields(block, 10) == fields(("A", b" 1\r\n\tcontinued"), ("B", b"2"), ("C", b"\xff"))
    assert len(parse_fields(b"A: 1\r\n" * 100, 7)) == 7


def test_unfolded() -> None:
    assert unfolded(b" a\r\n\t b \n c ") == b"a b c"


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        ([], ""),
        ([b"SIZE=10", b"BODY=8BITMIME"], ""),
        ([b"ENVID=E+2B1"], "ENVID=E+2B1"),
        ([b"ret=hdrs", b"envid=a"], "ENVID=a RET=HDRS"),
        ([b"RET=FULL", b"RET=HDRS"], "RET=FULL"),
        ([b"RET=SOME", b"ENVID=a b", b"ENVID=+zz", b"ENVID=", b"ENVID=\xff", b"RET"], ""),
        ([b"ENVID=" + b"x" * 100], "ENVID=" + "x" * 100),
        ([b"ENVID=" + b"x" * 101], ""),
    ],
)
def test_kept_parameters(parameters: list[bytes], kept: str) -> None:
    assert kept_parameters(parameters) == kept


def test_parse_envelope_keeps_only_the_grammar() -> None:
    assert parse_envelope(b"ENVID=a RET=HDRS") == "ENVID=a RET=HDRS"
    assert parse_envelope(b"ENVID=a<x> NOTIFY=NEVER RET=\xff") == "ENVID=a<x>"
    assert parse_envelope(b"") == ""
