"""Header fields as octets: one field, a block of them, and what only the gateway itself may set."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from digipoort.references import GATEWAY_HEADER_PREFIX

CRLF_OCTETS: Final = 2
# Of a field's name, in a finding: it may be as long as a client likes.
MAX_SHOWN_NAME: Final = 60
_COLON_OCTETS: Final = 1
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
