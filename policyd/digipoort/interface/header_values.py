"""Header values of a strict grammar: a date, a message identifier, and Auto-Submitted's keyword.

The standard library's readers accept far more than the grammar (docs/decisions/0008).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from digipoort.interface.fields import unfolded
from digipoort.interface.lexical import without_comments

_DAYS: Final = (b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun")
_MONTHS: Final = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_FIRST_YEAR: Final = 1900
_LEAP_SECOND: Final = 60
_DATE_TIME = re.compile(
    rb"(?:(?P<day_name>%b) ?, ?)?(?P<day>[0-9]{1,2}) (?P<month>%b) (?P<year>[0-9]{4})"
    rb" (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    rb" (?:[+-][0-9]{2}[0-5][0-9]|GMT|UT)" % (b"|".join(_DAYS), b"|".join(_MONTHS)),
    re.IGNORECASE,
)
_ATEXT: Final = rb"[!#-'*+\-/-9=?A-Z^-~]+"
_MESSAGE_ID = re.compile(rb"<%(a)b(?:\.%(a)b)*@(?:%(a)b(?:\.%(a)b)*|\[[!-Z^-~]*\])>" % {b"a": _ATEXT})
_KEYWORD = re.compile(rb" ?([A-Za-z0-9-]+) ?(?:;.*)?", re.DOTALL)


def is_date_time(value: bytes) -> bool:
    """Tell whether a value is a date-time of RFC 5322 section 3.3 that exists, its day of the week included.

    Of the obsolete syntax of section 4.3 only the zones GMT and UT are let pass, which current software still writes.
    """
    plain = without_comments(value)
    match = _DATE_TIME.fullmatch(unfolded(plain)) if plain is not None else None
    if match is None or int(match["year"]) < _FIRST_YEAR:
        return False
    second = int(match["second"] or 0)
    month = _MONTHS.index(match["month"].lower()) + 1
    try:
        # datetime knows no leap second.
        moment = datetime(  # noqa: DTZ001 - only whether it exists is asked
            int(match["year"]), month, int(match["day"]), int(match["hour"]), int(match["minute"]),
            second - (second == _LEAP_SECOND),
        )  # fmt: skip
    except ValueError:
        return False
    return match["day_name"] is None or _DAYS.index(match["day_name"].lower()) == moment.weekday()


def message_id(value: bytes) -> bytes | None:
    """Return the msg-id that a value is, brackets included (RFC 5322 section 3.6.4, none of its obsolete forms).

    Comments and folds are gone; None when it is not exactly one.
    """
    plain = without_comments(value)
    match = _MESSAGE_ID.fullmatch(unfolded(plain)) if plain is not None else None
    return match[0] if match else None


def auto_submitted_keyword(value: bytes) -> str:
    """Return the keyword of an Auto-Submitted value in lower case (RFC 3834 section 5.2), `-` when there is none."""
    plain = without_comments(value)
    match = _KEYWORD.fullmatch(unfolded(plain)) if plain is not None else None
    return match[1].decode("ascii").lower() if match else "-"
