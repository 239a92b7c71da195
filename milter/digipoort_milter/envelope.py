"""The envelope's ENVID and RET (RFC 3461 sections 4.3 and 4.4), which the hop cannot carry and a header therefore does.

The header X-Digipoort-Envelope and the parameters of chgfrom share one grammar::

    envelope = [ "ENVID=" xtext ] [ SP ] [ "RET=" ( "FULL" / "HDRS" ) ]    ; at least one of the two
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ENVID_OCTETS: Final = 100
_MAX_PARAMETERS: Final = 20
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")


def kept_parameters(parameters: Iterable[bytes]) -> str:
    """Return ENVID and RET of MAIL FROM's parameters in the envelope grammar; empty when neither is given and valid.

    Keywords are case-insensitive (RFC 5321 section 2.4). xtext stays xtext. Of a repeated parameter the first counts.
    """
    kept: dict[str, str] = {}
    for parameter, _ in zip(parameters, range(_MAX_PARAMETERS), strict=False):
        keyword, _, value = parameter.partition(b"=")
        name = keyword.upper()
        if name == b"ENVID" and len(value) <= MAX_ENVID_OCTETS and _XTEXT.fullmatch(value):
            kept.setdefault("ENVID", value.decode("ascii"))
        elif name == b"RET" and value.upper() in {b"FULL", b"HDRS"}:
            kept.setdefault("RET", value.upper().decode("ascii"))
    return " ".join(f"{name}={kept[name]}" for name in ("ENVID", "RET") if name in kept)


def parse_envelope(value: bytes) -> str:
    """Return a header's envelope value with only what the grammar allows; empty when nothing is."""
    return kept_parameters(value.split(maxsplit=_MAX_PARAMETERS))
