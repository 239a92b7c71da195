"""Comments of structured header fields (RFC 5322 section 3.2.2), found in linear time whatever stands in them."""

from __future__ import annotations

import re
from typing import Final

_OPENING: Final = ord("(")
_COMMENT_STEP = re.compile(rb"(?:[^()\\]|\\.)*([()])", re.DOTALL)


def comment_end(value: bytes, start: int) -> int | None:
    """Return where the comment ends that opens at `start`, those inside it included; None when it is not closed."""
    depth, position = 1, start + 1
    while depth:
        match = _COMMENT_STEP.match(value, position)
        if match is None:
            return None
        depth += 1 if match[1] == b"(" else -1
        position = match.end()
    return position


def without_comments(value: bytes) -> bytes | None:
    """Return a value that knows no quoted strings with a space for every comment; None when one is not closed."""
    kept, position = [], 0
    while (opening := value.find(_OPENING, position)) >= 0:
        end = comment_end(value, opening)
        if end is None:
            return None
        kept.append(value[position:opening])
        position = end
    kept.append(value[position:])
    return b" ".join(kept)
