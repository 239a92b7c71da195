"""Octets, addresses and envelope parameters of any message."""

from __future__ import annotations

import hashlib
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from digipoort.interface.addresses import normalised, parse_addresses
from digipoort.interface.fields import parse_fields, unfolded
from digipoort.interface.measures import Meter, parse_measures
from digipoort_milter.envelope import kept_parameters, parse_envelope
from digipoort_milter.marks import read_marks
from tests.milter_samples import chunks, fields

NAMES = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20)
VALUES = st.lists(st.binary(max_size=30).map(lambda line: line.translate(None, b"\r\n")), min_size=1, max_size=4).map(
    b"\n ".join
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=10)
XTEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=33).map(
    lambda text: "".join(f"+{ord(character):02X}" if character in "+=" else character for character in text)
)


@settings(max_examples=100, deadline=None)
@given(HEADERS, st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_octets_are_those_of_the_message(header: list[tuple[str, bytes]], body: bytes, cuts: list[int]) -> None:
    meter = Meter()
    text = b""
    for name, value in header:
        meter.add_field(name, value)
        text += name.encode() + b":" + value.replace(b"\n", b"\r\n") + b"\r\n"
    for piece in chunks(body, cuts):
        meter.add_body(piece)
    measures = meter.measures()
    assert measures.octets == len(text + b"\r\n" + body)
    assert (measures.header_octets, measures.fields) == (len(text), len(header))
    assert parse_measures(measures.text().encode()) == measures
    assert meter.digest() == "sha256=" + hashlib.sha256(body).hexdigest()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES.map(lambda value: b" " + value)), max_size=10))
def test_fields_are_read_back(header: list[tuple[str, bytes]]) -> None:
    block = b"".join(name.encode() + b":" + value.replace(b"\n", b"\r\n") + b"\r\n" for name, value in header)
    read = parse_fields(block, 100)
    assert [(field.name, unfolded(field.value)) for field in read] == [
        (name, unfolded(value)) for name, value in header
    ]


@settings(max_examples=100, deadline=None)
@given(XTEXT, st.sampled_from(["FULL", "HDRS", "full", "hdrs", ""]))
def test_envelope_round_trip(xtext: str, ret: str) -> None:
    given_parameters = [b"SIZE=10", b"envid=" + xtext.encode(), *([b"RET=" + ret.encode()] if ret else [])]
    header = kept_parameters(given_parameters)
    assert header == f"ENVID={xtext}" + (f" RET={ret.upper()}" if ret else "")
    assert parse_envelope(unfolded(b" " + header.encode())) == header


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=30))
def test_any_parameters_give_a_safe_envelope(parameters: list[bytes]) -> None:
    header = kept_parameters(parameters)
    assert header.isascii()
    assert header.isprintable()
    assert parse_envelope(header.encode()) == header


ATOMS = st.text(string.ascii_lowercase + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(ATOMS, ATOMS, st.booleans()), min_size=1, max_size=5))
def test_addresses_are_read_back(addresses: list[tuple[str, str, bool]]) -> None:
    value = ", ".join(f'"Name, {local}" <{local}@{domain}>' if named else f"{local}@{domain}"
                      for local, domain, named in addresses)  # fmt: skip
    read = parse_addresses(value.encode())
    assert read.plain
    assert list(read.mailboxes) == [f"{local}@{domain}" for local, domain, _ in addresses]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"B", b".", b"@", b"<", b">", b" ", b"\r\n ", b",", b'"', b"(", b")"]), max_size=12)
)
def test_simple_addresses_are_read_as_all_others_are(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    # A comment is too much for the short way.
    assert parse_addresses(value) == parse_addresses(value + b"()")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_can_be_an_address_list(value: bytes) -> None:
    parse_addresses(value)
    normalised(value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["X-Digipoort-Reference", "X-Digipoort-Digest", "X-Digipoort-Measures"]),
                          st.binary(max_size=40)), max_size=5))  # fmt: skip
def test_any_marks_can_be_read(header: list[tuple[str, bytes]]) -> None:
    read_marks(fields(*header))
