"""What is measured of a message as it came in: its size, its header, longest line, forbidden octets, body digest.

Only where a message comes in does it stand as its submitter sent it: later it has the gateway's own trace fields.
Submission measures, and hands the measures to acceptance on the message, in the grammar::

    measures = "octets=" number " header=" number " fields=" number " received=" number " line=" number
               " bare=" flag " nul=" flag
    flag     = "0" / "1"

Octets are those of RFC 5322's CRLF form, without the gateway's own X-Digipoort headers.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from digipoort.interface.fields import CRLF_OCTETS, field_octets

_CRLF: Final = b"\r\n"
_NUMBER: Final = rb"([0-9]{1,18})"
_MEASURES = re.compile(
    rb"octets=%(n)b header=%(n)b fields=%(n)b received=%(n)b line=%(n)b bare=([01]) nul=([01])" % {b"n": _NUMBER}
)


@dataclass(frozen=True, slots=True)
class Measures:
    """A message's measures.

    `octets` of the whole message, `header_octets` of its header without the blank line, the number of `fields` and of
    `received` ones among them; `longest_line` in octets without CRLF; whether a `bare` CR or LF, or a `nul`, occurs.
    """

    octets: int
    header_octets: int
    fields: int
    received: int
    longest_line: int
    bare: bool
    nul: bool

    def text(self) -> str:
        """Return the measures in their grammar."""
        return (
            f"octets={self.octets} header={self.header_octets} fields={self.fields} received={self.received}"
            f" line={self.longest_line} bare={self.bare:d} nul={self.nul:d}"
        )


def parse_measures(value: bytes) -> Measures | None:
    """Return the measures in a value, or None when it does not follow the grammar."""
    match = _MEASURES.fullmatch(value)
    if match is None:
        return None
    octets, header_octets, fields, received, longest_line = map(int, match.groups()[:5])
    return Measures(octets, header_octets, fields, received, longest_line, match[6] == b"1", match[7] == b"1")


class Meter:
    """Measures a message while it streams by: its fields first, then its body in any chunks."""

    __slots__ = (
        "_after_cr", "_bare", "_body_octets", "_fields", "_hash", "_header_octets", "_longest", "_nul", "_open_line",
        "_received",
    )  # fmt: skip

    def __init__(self) -> None:
        """Start before the first field."""
        self._hash = hashlib.sha256()
        self._header_octets = 0
        self._fields = 0
        self._received = 0
        self._body_octets = 0
        self._longest = 0
        self._bare = False
        self._nul = False
        self._open_line = 0
        self._after_cr = False

    def add_field(self, name: str, value: bytes) -> None:
        """Measure one header field; its folds may be LF or CRLF."""
        self._header_octets += field_octets(name, value)
        self._fields += 1
        self._received += name.strip().lower() == "received"
        lines = value.replace(_CRLF, b"\n").split(b"\n")
        self._longest = max(self._longest, len(name) + 1 + len(lines[0]), *map(len, lines))
        self._bare = self._bare or b"\r" in value.replace(_CRLF, b"")
        self._nul = self._nul or b"\0" in value

    def add_body(self, chunk: bytes) -> None:
        """Measure and digest the next octets of the body."""
        self._body_octets += len(chunk)
        self._hash.update(chunk)
        self._nul = self._nul or b"\0" in chunk
        # A CR at the end may be half of a CRLF: it is judged with the next chunk.
        octets = b"\r" + chunk if self._after_cr else chunk
        self._after_cr = octets.endswith(b"\r")
        if self._after_cr:
            octets = octets[:-1]
        lines = octets.split(_CRLF)
        pairs = len(lines) - 1
        self._bare = self._bare or octets.count(b"\n") != pairs or octets.count(b"\r") != pairs
        first = self._open_line + len(lines[0])
        self._longest = max(self._longest, first, *map(len, lines))
        self._open_line = len(lines[-1]) if pairs else first

    def digest(self) -> str:
        """Return the body's digest as the gateway writes it: `sha256=` and 64 hexadecimal digits."""
        return f"sha256={self._hash.hexdigest()}"

    def measures(self) -> Measures:
        """Return what was measured, after the last octet."""
        longest = max(self._longest, self._open_line + self._after_cr)
        return Measures(
            octets=self._header_octets + CRLF_OCTETS + self._body_octets,
            header_octets=self._header_octets,
            fields=self._fields,
            received=self._received,
            longest_line=longest,
            bare=self._bare or self._after_cr,
            nul=self._nul,
        )
