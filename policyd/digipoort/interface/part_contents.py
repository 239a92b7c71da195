"""The contents of one part: whether they can be decoded, how large that makes them, whether they are in their charset.

Everything is judged while octets stream by, whatever the fragments: a decoder per transfer encoding, which hands what
it decodes to the checks of a text, when a profile asks for them.
"""

from __future__ import annotations

import binascii
import codecs
import re
from typing import TYPE_CHECKING, Final, Protocol

from digipoort import reasons
from digipoort.reasons import Finding

if TYPE_CHECKING:
    from digipoort.interface.mime_fields import ContentType
    from digipoort.interface.profile import InterfaceProfile
    from digipoort.reasons import Reason

_BASE64_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WHITE_SPACE: Final = b" \t\r\n"
_GROUP: Final = 4
# What says most comes first; the order in which chunks bring them must not matter.
_CAUSES: Final = ("alphabet", "after-padding", "padding", "length")
_MAX_PADDING: Final = 2
# Lower case digits break RFC 2045 section 6.7, yet every decoder reads them; transport may add white space to a line.
_MAX_BLANKS: Final = 98
_BAD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]{0,98}\r\n)")
_OPEN_ESCAPE = re.compile(rb"=(?:[0-9A-Fa-f]?|[ \t]{0,98}\r?)")
_BLANKS_BEFORE_BREAK = re.compile(rb"=[ \t]+(?=\r\n)")
_UUENCODE = re.compile(rb"\nbegin [0-7]{3,4} [^\r\n]{1,255}\r\n([!-M])([ -`]{1,88})(?=\r\n)")
# A `begin` line and the coded line after it.
_UUENCODE_OCTETS: Final = 400
_UUENCODE_ZERO: Final = 32


class Decoder(Protocol):
    """Decodes one part's transfer encoding."""

    @property
    def octets(self) -> int:
        """The octets after decoding, exact after `finish`; 0 when they cannot be decoded."""

    def feed(self, fragment: bytes) -> bytes:
        """Take the next octets, and return what is decoded now."""

    def finish(self) -> bytes:
        """Return what was held back."""

    def fault(self) -> tuple[Reason, dict[str, str]] | None:
        """Return why the contents cannot be decoded, after `finish`."""


class Identity:
    """7bit and 8bit (RFC 2045 section 6.2): the octets themselves."""

    __slots__ = ("_eight_bit", "_eight_bit_allowed", "octets")

    def __init__(self, *, eight_bit_allowed: bool) -> None:
        """Start at the beginning of a part."""
        self._eight_bit_allowed = eight_bit_allowed
        self._eight_bit = False
        self.octets = 0

    def feed(self, fragment: bytes) -> bytes:
        """Take the next octets."""
        self.octets += len(fragment)
        self._eight_bit = self._eight_bit or not (self._eight_bit_allowed or fragment.isascii())
        return fragment

    def finish(self) -> bytes:
        """Hold nothing back."""
        return b""

    def fault(self) -> tuple[Reason, dict[str, str]] | None:
        """Return that octets above 127 occurred where none may."""
        return (reasons.EIGHT_BIT_UNDECLARED, {}) if self._eight_bit else None


class Base64:
    """Base64 as in RFC 2045 section 6.8: the alphabet, in groups of four, padding only at the end.

    White space may stand anywhere. Contents are decoded only when asked for: counting is far cheaper.
    """

    __slots__ = ("_causes", "_decode", "_digits", "_padding", "_rest")

    def __init__(self, *, decode: bool) -> None:
        """Start at the beginning of a part."""
        self._decode = decode
        self._digits = 0
        self._padding = 0
        self._rest = b""
        self._causes: set[str] = set()

    @property
    def octets(self) -> int:
        """The octets after decoding; 0 when they cannot be decoded."""
        return 0 if self._causes else self._digits * 3 // 4

    def feed(self, fragment: bytes) -> bytes:
        """Take the next octets."""
        text = fragment.translate(None, _WHITE_SPACE)
        digits = text.rstrip(b"=")
        if digits:
            strange = digits.translate(None, _BASE64_ALPHABET)
            if self._padding or b"=" in strange:
                self._causes.add("after-padding")
            if strange.translate(None, b"="):
                self._causes.add("alphabet")
        self._padding += len(text) - len(digits)
        self._digits += len(digits)
        if not self._decode or self._causes:
            return b""
        digits = self._rest + digits
        whole = len(digits) - len(digits) % _GROUP
        self._rest = digits[whole:]
        return binascii.a2b_base64(digits[:whole])

    def finish(self) -> bytes:
        """Judge the end."""
        if (self._digits + self._padding) % _GROUP or self._padding > _MAX_PADDING:
            self._causes.add("padding" if self._padding else "length")
        if not self._decode or self._causes or not self._rest:
            return b""
        return binascii.a2b_base64(self._rest + b"=" * self._padding)

    def fault(self) -> tuple[Reason, dict[str, str]] | None:
        """Return why the contents cannot be decoded: of several causes the one that says most."""
        cause = next((cause for cause in _CAUSES if cause in self._causes), None)
        return (reasons.BASE64_INVALID, {"cause": cause}) if cause else None


class QuotedPrintable:
    """Quoted-printable as in RFC 2045 section 6.7: every `=` begins an octet or a soft line break."""

    __slots__ = ("_broken", "_decoded_octets", "_rest")

    def __init__(self) -> None:
        """Start at the beginning of a part."""
        self._rest = b""
        self._broken = False
        self._decoded_octets = 0

    @property
    def octets(self) -> int:
        """The octets after decoding; 0 when they cannot be decoded."""
        return 0 if self._broken else self._decoded_octets

    def feed(self, fragment: bytes) -> bytes:
        """Take the next octets."""
        text = self._rest + fragment
        last = text.rfind(b"=", -_MAX_BLANKS - 2)
        cut = last if last >= 0 and _OPEN_ESCAPE.fullmatch(text, last) else len(text)
        self._rest = text[cut:]
        return self._decoded(text[:cut])

    def finish(self) -> bytes:
        """Judge the end: a last line's soft break needs no CRLF."""
        return self._decoded(self._rest + b"\r\n") if self._rest else b""

    def fault(self) -> tuple[Reason, dict[str, str]] | None:
        """Return that an escape was none, or an octet not ASCII."""
        return (reasons.QUOTED_PRINTABLE_INVALID, {}) if self._broken else None

    def _decoded(self, text: bytes) -> bytes:
        self._broken = self._broken or not text.isascii() or _BAD_ESCAPE.search(text) is not None
        if b"= " in text or b"=\t" in text:
            text = _BLANKS_BEFORE_BREAK.sub(b"=", text)
        decoded = binascii.a2b_qp(text)
        self._decoded_octets += len(decoded)
        return decoded


class Charset:
    """Whether decoded octets are text in a charset."""

    __slots__ = ("_decoder", "broken")

    def __init__(self, charset: str) -> None:
        """Start at the beginning of a part; `charset` is one that Python knows."""
        self._decoder = codecs.getincrementaldecoder(charset)("strict")
        self.broken = False

    def feed(self, octets: bytes, *, final: bool = False) -> None:
        """Take the next octets."""
        if self.broken:
            return
        try:
            self._decoder.decode(octets, final)
        except UnicodeError:
            self.broken = True


class Uuencode:
    """Whether a text holds a uuencoded file: a `begin` line, and below it a line of the length that it announces."""

    __slots__ = ("_rest", "found")

    def __init__(self) -> None:
        """Start at the beginning of a part, which is the beginning of a line."""
        self._rest = b"\n"
        self.found = False

    def feed(self, fragment: bytes) -> None:
        """Take the next octets."""
        text = self._rest + fragment
        self.found = self.found or any(map(_is_coded, _UUENCODE.finditer(text)))
        self._rest = text[-_UUENCODE_OCTETS:]


def _is_coded(match: re.Match[bytes]) -> bool:
    announced = -(-(match[1][0] - _UUENCODE_ZERO) // 3) * 4
    # Some writers add a checksum character, some drop spaces at the end.
    return announced - 3 <= len(match[2]) <= announced + 1


class PartContents:
    """One leaf part's contents under a profile; `part` is the part's number in findings."""

    __slots__ = ("_charset", "_charset_name", "_decoder", "_part", "_profile", "_uuencode")

    def __init__(self, part: str, content_type: ContentType, encoding: str, profile: InterfaceProfile) -> None:
        """Start at the beginning of a part with this transfer encoding, in lower case."""
        self._part = part
        self._profile = profile
        text = content_type.is_text
        self._charset_name = content_type.parameters.get(b"charset", b"us-ascii").decode("latin-1").lower()
        charset = text and reasons.CHARSET_INVALID.code not in profile.off
        known = self._charset_name in profile.charsets
        self._charset = Charset(self._charset_name if known else "us-ascii") if charset else None
        if self._charset is not None and not known:
            self._charset.broken = True
        plain = encoding in {"7bit", "8bit"}
        uuencode = text and plain and reasons.UUENCODE_PRESENT.code not in profile.off
        self._uuencode = Uuencode() if uuencode else None
        self._decoder = _decoder(encoding, decode=charset)

    def feed(self, fragment: bytes) -> None:
        """Take the next octets of the contents."""
        decoded = self._decoder.feed(fragment)
        if self._charset is not None:
            self._charset.feed(decoded)
        if self._uuencode is not None:
            self._uuencode.feed(fragment)

    def finish(self) -> list[Finding]:
        """Return what is wrong, after the last octet."""
        decoded = self._decoder.finish()
        findings = []
        fault = self._decoder.fault()
        if fault is not None:
            reason, parameters = fault
            findings.append(Finding(reason, {**parameters, "part": self._part}))
        if self._charset is not None:
            self._charset.feed(decoded, final=True)
            if self._charset.broken and fault is None:
                findings.append(Finding(reasons.CHARSET_INVALID, {"charset": self._charset_name, "part": self._part}))
        if self._uuencode is not None and self._uuencode.found:
            findings.append(Finding(reasons.UUENCODE_PRESENT, {"part": self._part}))
        if self._decoder.octets > self._profile.max_part_octets:
            limit = str(self._profile.max_part_octets)
            findings.append(Finding(reasons.PART_TOO_LARGE, {"limit": limit, "part": self._part}))
        return findings


def _decoder(encoding: str, *, decode: bool) -> Decoder:
    if encoding == "base64":
        return Base64(decode=decode)
    if encoding == "quoted-printable":
        return QuotedPrintable()
    return Identity(eight_bit_allowed=encoding == "8bit")
