"""The interface profile: every number, list and switch of the checks, with its default, and the parser of overrides.

A flow overrides the default profile with a JSON object whose keys are those of InterfaceProfile; `checks` switches
single checks on or off by their code::

    {"max_parts": 20, "allowed_media_types": ["text/*", "application/edifact"], "checks": {"DGP-3005": false}}
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Final

from digipoort import reasons

MAX_STORED_HEADER_OCTETS: Final = 1_048_576
# What a setting may be at most. Those of the structure also bound what a hostile message costs.
CEILINGS: Final[dict[str, int]] = {
    "max_depth": 100,
    "max_parts": 10_000,
    "max_header_octets": MAX_STORED_HEADER_OCTETS,
    "max_header_fields": 10_000,
    # Postfix cuts one field at about 60,000 octets without a word.
    "max_field_octets": 50_000,
    "max_line_octets": 1_048_576,
    "max_part_octets": 2**53,
    "max_attachments": 10_000,
    "max_received": 1_000,
}
# They keep the cost of a message bounded: their limits can be raised, they cannot be switched off.
GUARDS: Final = frozenset(
    reason.code
    for reason in (
        reasons.TOO_DEEP,
        reasons.TOO_MANY_PARTS,
        reasons.HEADER_TOO_LARGE,
        reasons.TOO_MANY_FIELDS,
        reasons.FIELD_TOO_LARGE,
        reasons.MESSAGE_TOO_LARGE,
    )
)
# What no message shows by itself: they follow from earlier ones (digipoort.resubmission), or from the directory.
_NOT_THE_MESSAGES: Final = frozenset(
    {reasons.RESUBMITTED.code, reasons.MESSAGE_ID_REUSED.code, reasons.PHYSICAL_NAME.code}
)
CHECK_CODES: Final = frozenset(code for code in reasons.CATALOGUE if code.startswith("DGP-3")) - _NOT_THE_MESSAGES
# RESUBMITTED has no switch: whether it is refused is the flow's own policy.
_SWITCHES: Final = CHECK_CODES | {reasons.MESSAGE_ID_REUSED.code, reasons.PHYSICAL_NAME.code}
_OFF_BY_DEFAULT: Final = frozenset({reasons.CHARSET_INVALID.code, reasons.UUENCODE_PRESENT.code})
_MAX_LIST: Final = 1000
_WORD: Final = r"[!#-'*+\-.0-9A-Z^-~]+"
_LISTS: Final[dict[str, re.Pattern[str]]] = {
    "required_headers": re.compile(r"[!-9;-~]+"),
    "single_headers": re.compile(r"[!-9;-~]+"),
    "forbidden_media_types": re.compile(rf"{_WORD}/{_WORD}", re.IGNORECASE),
    "allowed_media_types": re.compile(rf"{_WORD}/{_WORD}", re.IGNORECASE),
    "forbidden_extensions": re.compile(r"[0-9a-z_-]+", re.IGNORECASE),
    "allowed_extensions": re.compile(r"[0-9a-z_-]+", re.IGNORECASE),
    "charsets": re.compile(r"[0-9a-z_:.+()-]+", re.IGNORECASE),
    "auto_submitted": re.compile(r"[a-z-]+", re.IGNORECASE),
}
# Header names keep the spelling that a finding shows.
_KEEP_CASE: Final = frozenset({"required_headers", "single_headers"})


class ProfilesInvalidError(Exception):
    """The profiles do not follow the format; the message tells where."""


@dataclass(frozen=True, slots=True)
class InterfaceProfile:
    """The technical rules of a flow's interface.

    Octets of a line are without its CRLF, those of a field and of the header with it. In a list of media types `text/*`
    stands for all of a type. An empty `allowed_` list allows everything that is not forbidden. `off` holds the codes of
    the checks that are not made.
    """

    required_headers: tuple[str, ...] = ("From", "Date", "Message-ID", "To")
    single_headers: tuple[str, ...] = ("From", "Date", "Message-ID", "Sender", "Reply-To", "Subject")
    max_header_octets: int = 65_536
    max_header_fields: int = 200
    max_field_octets: int = 8_192
    max_line_octets: int = 998
    max_depth: int = 10
    max_parts: int = 100
    max_part_octets: int = 26_214_400
    max_attachments: int = 50
    max_received: int = 20
    forbidden_media_types: tuple[str, ...] = ("message/partial", "message/external-body")
    allowed_media_types: tuple[str, ...] = ()
    forbidden_extensions: tuple[str, ...] = (
        "bat", "cmd", "com", "cpl", "exe", "hta", "jar", "js", "jse", "lnk", "msi", "pif", "ps1", "scr", "vbe", "vbs",
        "wsf", "wsh",
    )  # fmt: skip
    allowed_extensions: tuple[str, ...] = ()
    charsets: tuple[str, ...] = ("us-ascii", "utf-8", "iso-8859-1", "iso-8859-15", "windows-1252")
    auto_submitted: tuple[str, ...] = ("no",)
    off: frozenset[str] = _OFF_BY_DEFAULT


def parse_interface(value: object, code: str) -> InterfaceProfile:
    """Return the interface of the flow `code`: the default profile with the overrides of a JSON object.

    Raises ProfilesInvalidError for unknown keys and for values of the wrong type or out of bounds.
    """
    if not isinstance(value, dict):
        raise ProfilesInvalidError(f"interface of flow {code} is not an object")
    unknown = value.keys() - CEILINGS.keys() - _LISTS.keys() - {"checks"}
    if unknown:
        raise ProfilesInvalidError(f"interface of flow {code} has unknown keys: {', '.join(sorted(unknown))}")
    given: dict[str, Any] = {
        name: number(value[name], f"{name} of flow {code}", most) for name, most in CEILINGS.items() if name in value
    }
    given |= {name: _names(name, value[name], code) for name in _LISTS if name in value}
    if "checks" in value:
        given["off"] = _off(value["checks"], code)
    return dataclasses.replace(InterfaceProfile(), **given)


def number(value: object, what: str, most: int) -> int:
    """Return a whole number from 1 to `most`; raises ProfilesInvalidError, which says `what` is not."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ProfilesInvalidError(f"{what} is not a number from 1 to {most}")
    return value


def _names(name: str, value: object, code: str) -> tuple[str, ...]:
    grammar = _LISTS[name]
    if (
        not isinstance(value, list)
        or len(value) > _MAX_LIST
        or not all(isinstance(item, str) and grammar.fullmatch(item) for item in value)
    ):
        raise ProfilesInvalidError(f"{name} of flow {code} is not a list of such names")
    if name == "charsets":
        _require_text_codecs(value, code)
    return tuple(value) if name in _KEEP_CASE else tuple(item.lower() for item in value)


def _require_text_codecs(charsets: list[str], code: str) -> None:
    for charset in charsets:
        try:
            # Unlike codecs.lookup, this refuses codecs that are no charset, such as rot13.
            b"".decode(charset)
        except LookupError as error:
            raise ProfilesInvalidError(f"charsets of flow {code} has {charset}, which is not known") from error


def _off(value: object, code: str) -> frozenset[str]:
    if not isinstance(value, dict) or not all(isinstance(switch, bool) for switch in value.values()):
        raise ProfilesInvalidError(f"checks of flow {code} is not an object of true and false")
    unknown = value.keys() - _SWITCHES
    if unknown:
        raise ProfilesInvalidError(f"checks of flow {code} has codes of no check: {', '.join(sorted(unknown))}")
    off = {check for check, switch in value.items() if not switch}
    if off & GUARDS:
        listed = ", ".join(sorted(off & GUARDS))
        raise ProfilesInvalidError(f"checks of flow {code} switches off {listed}: raise the limit instead")
    return frozenset((_OFF_BY_DEFAULT | off) - {check for check, switch in value.items() if switch})
