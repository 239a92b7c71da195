"""Whether a part's contents can be decoded at all, judged while they stream by and without decoding them."""

from __future__ import annotations

import re
from typing import Final, Protocol

_BASE64_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WHITE_SPACE: Final = b" \t\r\n"
_BASE64_GROUP: Final = 4
_MAX_PADDING: Final = 2
# Lower case digits break RFC 2045 section 6.7, yet every decoder reads them; transport may add white space to a line.
_BAD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r\n)")


class ContentCheck(Protocol):
    """Judges the contents of one part."""

    def feed(self, lines: bytes) -> None:
        """Take the next whole lines, the last CRLF included."""

    def valid(self) -> bool:
        """Tell, after the last line, whether the contents can be decoded."""


class Base64Check:
    """Base64 as in RFC 2045 section 6.8: the alphabet, in groups of four, padding only at the end."""

    __slots__ = ("_broken", "_octets", "_padding")

    def __init__(self) -> None:
        """Start at the beginning of a part."""
        self._octets = 0
        self._padding = 0
        self._broken = False

    def feed(self, lines: bytes) -> None:
        """Take the next whole lines."""
        text = lines.translate(None, _WHITE_SPACE)
        digits = text.rstrip(b"=")
        if digits and (self._padding or digits.translate(None, _BASE64_ALPHABET)):
            self._broken = True
        self._padding += len(text) - len(digits)
        self._octets += len(text)

    def valid(self) -> bool:
        """Tell whether what was fed is whole base64."""
        return not self._broken and self._padding <= _MAX_PADDING and self._octets % _BASE64_GROUP == 0


class QuotedPrintableCheck:
    """Quoted-printable as in RFC 2045 section 6.7: every `=` begins an octet or a soft line break."""

    __slots__ = ("_broken",)

    def __init__(self) -> None:
        """Start at the beginning of a part."""
        self._broken = False

    def feed(self, lines: bytes) -> None:
        """Take the next whole lines."""
        self._broken = self._broken or _BAD_ESCAPE.search(lines) is not None

    def valid(self) -> bool:
        """Tell whether every escape was one."""
        return not self._broken


def check_for(encoding: str) -> ContentCheck | None:
    """Return the check of an encoding, or None where any octet is allowed."""
    if encoding == "base64":
        return Base64Check()
    if encoding == "quoted-printable":
        return QuotedPrintableCheck()
    return None
