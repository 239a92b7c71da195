"""The marks that the gateway itself sets on a message, and how they are read back at acceptance and from receipts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digipoort.interface.fields import HeaderField, unfolded
from digipoort.interface.measures import Measures, parse_measures
from digipoort.references import DIGEST_HEADER, ENVELOPE_HEADER, MEASURES_HEADER, REFERENCE_HEADER, is_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGEST = re.compile(rb"sha256=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Marks:
    """What submission wrote on a message: `envelope` as in envelope.py's grammar or empty."""

    reference: str
    digest: str
    measures: Measures
    envelope: bytes


def read_marks(fields: Sequence[HeaderField]) -> Marks | None:
    """Return the gateway's marks, or None when one is absent, repeated or malformed."""
    reference = read_reference(fields)
    digest = _sole(fields, DIGEST_HEADER) or b""
    measures = parse_measures(_sole(fields, MEASURES_HEADER) or b"")
    envelopes = _values(fields, ENVELOPE_HEADER)
    if reference is None or measures is None or not _DIGEST.fullmatch(digest) or len(envelopes) > 1:
        return None
    return Marks(reference, digest.decode("ascii"), measures, envelopes[0] if envelopes else b"")


def read_reference(fields: Sequence[HeaderField]) -> str | None:
    """Return the reference that the fields carry, or None when there is not exactly one."""
    value = _sole(fields, REFERENCE_HEADER)
    text = "" if value is None else value.decode("ascii", "replace")
    return text if is_reference(text) else None


def read_digest(fields: Sequence[HeaderField]) -> str | None:
    """Return the digest that the fields carry, 64 hexadecimal digits, or None when there is not exactly one."""
    match = _DIGEST.fullmatch(_sole(fields, DIGEST_HEADER) or b"")
    return match[1].decode("ascii") if match else None


def _values(fields: Sequence[HeaderField], name: str) -> list[bytes]:
    key = name.lower()
    return [unfolded(value) for other, value in fields if other.lower() == key]


def _sole(fields: Sequence[HeaderField], name: str) -> bytes | None:
    values = _values(fields, name)
    return values[0] if len(values) == 1 else None
