"""The reference ("kenmerk"): the gateway's own id of one message, in every log line, header and receipt."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Final

REFERENCE_HEADER: Final = "X-Digipoort-Reference"
DIGEST_HEADER: Final = "X-Digipoort-Digest"
MEASURES_HEADER: Final = "X-Digipoort-Measures"
ENVELOPE_HEADER: Final = "X-Digipoort-Envelope"
GATEWAY_HEADER_PREFIX: Final = "x-digipoort-"

# Crockford's base 32: no I, L, O or U, so that a reference survives being read out over the telephone.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_CHARACTERS: Final = 16
_REFERENCE = re.compile(rf"DP-[0-9]{{8}}-[{_ALPHABET}]{{{_RANDOM_CHARACTERS}}}")


def new_reference(now: datetime | None = None) -> str:
    """Return a reference that was never given before: `DP-<UTC date>-<80 random bits>`."""
    date = (now or datetime.now(UTC)).strftime("%Y%m%d")
    return f"DP-{date}-{''.join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))}"


def is_reference(text: str) -> bool:
    """Tell whether `text` is exactly one reference."""
    return _REFERENCE.fullmatch(text) is not None
