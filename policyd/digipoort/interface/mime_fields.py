"""The MIME headers of one entity: Content-Type, Content-Transfer-Encoding, Content-Disposition and MIME-Version.

The grammar is that of RFC 2045 and RFC 2183, a boundary's that of RFC 2046 section 5.1.1. The readers take any octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# A comment in a comment is not read: nothing writes one there, and refusing it keeps the pattern regular.
_GRAMMAR: Final = {
    b"cfws": rb"(?:[ \t\r\n]|\((?:[^()\\]|\\.)*\))*",
    b"token": rb"[!#-'*+\-.0-9A-Z^-~]+",
    b"quoted": rb'"(?:[^"\\]|\\.)*"',
}
_MEDIA_TYPE = re.compile(rb"%(cfws)b(%(token)b)%(cfws)b/%(cfws)b(%(token)b)%(cfws)b" % _GRAMMAR, re.DOTALL)
_PARAMETER = re.compile(
    rb";%(cfws)b(%(token)b)%(cfws)b=%(cfws)b(?:(%(token)b)|(%(quoted)b))%(cfws)b" % _GRAMMAR, re.DOTALL
)
_TRAILING_SEMICOLON = re.compile(rb";%(cfws)b" % _GRAMMAR, re.DOTALL)
_WORD = re.compile(rb"%(cfws)b(%(token)b)%(cfws)b" % _GRAMMAR, re.DOTALL)
_VERSION = re.compile(rb"%(cfws)b1%(cfws)b\.%(cfws)b0%(cfws)b" % _GRAMMAR, re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_MAX_PARAMETERS: Final = 100


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type in lower case, e.g. `multipart/mixed`, its parameters, and a multipart's boundary.

    Parameters have their names in lower case and their values without quotes.
    """

    media_type: str
    boundary: bytes | None = None
    parameters: Mapping[bytes, bytes] = field(default_factory=dict, compare=False)

    @property
    def is_text(self) -> bool:
        """Whether the contents are text, in a charset."""
        return self.media_type.startswith("text/")

    @property
    def is_multipart(self) -> bool:
        """Whether the entity is divided by boundaries."""
        return self.media_type.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        """Whether the entity holds a message with headers of its own (RFC 2046 section 5.2.1, RFC 6532 section 3.7)."""
        return self.media_type in {"message/rfc822", "message/global"}

    @property
    def is_composite(self) -> bool:
        """Whether only the encodings 7bit and 8bit may stand on it (RFC 2045 section 6.4)."""
        return self.is_multipart or self.is_message


@dataclass(frozen=True, slots=True)
class Disposition:
    """How a part is meant: `kind` in lower case, `inline` or `attachment` by custom; parameters as in ContentType."""

    kind: str
    parameters: Mapping[bytes, bytes]


PLAIN_TEXT: Final = ContentType("text/plain")
MESSAGE: Final = ContentType("message/rfc822")


def parse_content_type(value: bytes) -> ContentType | None:
    """Return a Content-Type, or None when malformed (RFC 2045 section 5.1) or a multipart without a valid boundary.

    One semicolon too many at the end, which much software writes, is let pass.
    """
    match = _MEDIA_TYPE.match(value)
    parameters = _parameters(value, match.end()) if match is not None else None
    if match is None or parameters is None:
        return None
    media_type = b"/".join(match.groups()).decode("ascii").lower()
    if not media_type.startswith("multipart/"):
        return ContentType(media_type, parameters=parameters)
    boundary = parameters.get(b"boundary", b"")
    return ContentType(media_type, boundary, parameters) if _BOUNDARY.fullmatch(boundary) else None


def parse_disposition(value: bytes) -> Disposition | None:
    """Return a Content-Disposition (RFC 2183 section 2), or None when malformed; a trailing semicolon is let pass."""
    match = _WORD.match(value)
    parameters = _parameters(value, match.end()) if match is not None else None
    return None if match is None or parameters is None else Disposition(match[1].decode("ascii").lower(), parameters)


def parse_transfer_encoding(value: bytes) -> str | None:
    """Return a Content-Transfer-Encoding's token in lower case (RFC 2045 section 6.1), or None."""
    match = _WORD.fullmatch(value)
    return match[1].decode("ascii").lower() if match else None


def is_mime_version(value: bytes) -> bool:
    """Tell whether a MIME-Version is 1.0, comments aside (RFC 2045 section 4)."""
    return _VERSION.fullmatch(value) is not None


def _parameters(value: bytes, position: int) -> dict[bytes, bytes] | None:
    """Return the parameters that begin at `position`, or None when they are malformed, repeated or too many."""
    parameters: dict[bytes, bytes] = {}
    while position < len(value) and not _TRAILING_SEMICOLON.fullmatch(value, position):
        match = _PARAMETER.match(value, position)
        if match is None or match[1].lower() in parameters or len(parameters) == _MAX_PARAMETERS:
            return None
        parameters[match[1].lower()] = match[2] if match[3] is None else _QUOTED_PAIR.sub(rb"\1", match[3][1:-1])
        position = match.end()
    return parameters
