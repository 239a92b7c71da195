"""What is counted and read of any message: header fields, octets, the digest, and the marks the gateway itself sets.

Octets are those of RFC 5322's CRLF form, as the submitter sent them, without the gateway's own X-Digipoort headers.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from digipoort.references import (
    DIGEST_HEADER,
    ENVELOPE_HEADER,
    GATEWAY_HEADER_PREFIX,
    REFERENCE_HEADER,
    SIZE_HEADER,
    is_reference,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CRLF_OCTETS: Final = 2
_COLON_OCTETS: Final = 1
_DIGEST = re.compile(rb"sha256=([0-9a-f]{64})")
_SIZE = re.compile(rb"[0-9]{1,18}")
_FIELD_BREAK = re.compile(rb"\r?\n(?![ \t])")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_WHITE_SPACE = re.compile(rb"[ \t\r\n]+")


class HeaderField(NamedTuple):
    """One header field: the value keeps its leading space, and its folds as LF or CRLF."""

    name: str
    value: bytes


def field_octets(name: str, value: bytes) -> int:
    """Return the octets of a header field in CRLF form, its own CRLF included."""
    bare_newlines = value.count(b"\n") - value.count(b"\r\n")
    return len(name) + _COLON_OCTETS + len(value) + bare_newlines + CRLF_OCTETS


def is_gateway_header(name: str) -> bool:
    """Tell whether only the gateway may set this header."""
    return name.strip().lower().startswith(GATEWAY_HEADER_PREFIX)


def unfolded(value: bytes) -> bytes:
    """Return a field's value on one line (RFC 5322 section 2.2.3), every run of white space as one space."""
    return _WHITE_SPACE.sub(b" ", value).strip(b" ")


def parse_fields(block: bytes, limit: int) -> list[HeaderField]:
    """Return the header fields of a block of lines, at most `limit`; what is no field is passed over."""
    fields = []
    for text in _FIELD_BREAK.split(block, limit)[:limit]:
        match = _FIELD.fullmatch(text)
        if match is not None:
            fields.append(HeaderField(match[1].decode("ascii"), match[2]))
    return fields


class Meter:
    """Counts a message's octets and digests its body while it streams by."""

    __slots__ = ("_hash", "_octets")

    def __init__(self) -> None:
        """Start with the blank line between header and body, which no callback hands over."""
        self._hash = hashlib.sha256()
        self._octets = CRLF_OCTETS

    def add_field(self, name: str, value: bytes) -> None:
        """Count one header field."""
        self._octets += field_octets(name, value)

    def add_body(self, chunk: bytes) -> None:
        """Count and digest the next octets of the body."""
        self._octets += len(chunk)
        self._hash.update(chunk)

    @property
    def octets(self) -> int:
        """The octets so far: header, blank line and body."""
        return self._octets

    def digest(self) -> str:
        """Return the body's digest as the gateway writes it: `sha256=` and 64 hexadecimal digits."""
        return f"sha256={self._hash.hexdigest()}"


@dataclass(frozen=True, slots=True)
class Marks:
    """What submission wrote on a message: `size` in octets, `envelope` as in envelope.py's grammar or empty."""

    reference: str
    digest: str
    size: int
    envelope: bytes


def read_marks(fields: Sequence[HeaderField]) -> Marks | None:
    """Return the gateway's marks, or None when one is absent, repeated or malformed."""
    reference, digest, size = (_sole(fields, name) for name in (REFERENCE_HEADER, DIGEST_HEADER, SIZE_HEADER))
    envelopes = list(_values(fields, ENVELOPE_HEADER))
    if reference is None or digest is None or size is None or len(envelopes) > 1:
        return None
    reference_text = reference.decode("ascii", "replace")
    if not (is_reference(reference_text) and _DIGEST.fullmatch(digest) and _SIZE.fullmatch(size)):
        return None
    return Marks(reference_text, digest.decode("ascii"), int(size), envelopes[0] if envelopes else b"")


def read_reference(fields: Sequence[HeaderField]) -> str | None:
    """Return the reference that the fields carry, or None when there is not exactly one."""
    value = _sole(fields, REFERENCE_HEADER)
    text = "" if value is None else value.decode("ascii", "replace")
    return text if is_reference(text) else None


def read_digest(fields: Sequence[HeaderField]) -> str | None:
    """Return the digest that the fields carry, 64 hexadecimal digits, or None when there is not exactly one."""
    match = _DIGEST.fullmatch(_sole(fields, DIGEST_HEADER) or b"")
    return match[1].decode("ascii") if match else None


def _values(fields: Sequence[HeaderField], name: str) -> Iterable[bytes]:
    return (unfolded(field.value) for field in fields if field.name.lower() == name.lower())


def _sole(fields: Sequence[HeaderField], name: str) -> bytes | None:
    values = list(_values(fields, name))
    return values[0] if len(values) == 1 else None
