"""The file name of a part: what its parameters say, decoded, and whether a receiver could store it as it stands.

A name may be given plainly, by RFC 2231 (charset, percent signs, continuations) or by RFC 2047's encoded words, which
belong in no parameter but are common there; as `filename` of Content-Disposition and as `name` of Content-Type.
"""

from __future__ import annotations

import re
import unicodedata
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.reasons import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from digipoort.interface.mime_fields import ContentType, Disposition
    from digipoort.interface.profile import InterfaceProfile

# What common file systems can store.
MAX_NAME_OCTETS: Final = 255
_PATH: Final = frozenset("/\\:")
# Characters that are not shown, or change how others are shown (Cf holds the bidirectional overrides).
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_EXTENDED = re.compile(rb"([!-&(-~]*)'[!-&(-~]*'((?:[!#$&+\-.0-9A-Z^_`a-z{|}~]|%[0-9A-Fa-f]{2})*)")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_ENCODED_WORD: Final = b"=?"


class NameInvalidError(Exception):
    """A name cannot be decoded, or is not acceptable; the argument is the cause as DGP-3036 names it."""


def file_name(content_type: ContentType | None, disposition: Disposition | None) -> str | None:
    """Return a part's file name, or None when it has none. Raises NameInvalidError."""
    names = {
        *(_names(disposition.parameters, b"filename") if disposition else ()),
        *(_names(content_type.parameters, b"name") if content_type else ()),
    }
    if len(names) > 1:
        raise NameInvalidError("ambiguous")
    for name in names:
        _require_storable(name)
    return next(iter(names), None)


def name_findings(name: str, part: str, profile: InterfaceProfile) -> list[Finding]:
    """Return what a flow's lists of extensions have against a name; without a dot its extension is `-`."""
    # Windows drops dots and spaces at the end, so that `x.exe.` is stored as `x.exe`.
    stem, dot, extension = name.rstrip(". ").rpartition(".")
    extension = extension.lower() if dot and stem else "-"
    allowed = not profile.allowed_extensions or extension in profile.allowed_extensions
    if allowed and extension not in profile.forbidden_extensions:
        return []
    return [Finding(reasons.EXTENSION_NOT_ALLOWED, {"extension": extension, "part": part})]


def _names(parameters: Mapping[bytes, bytes], key: bytes) -> list[str]:
    names: list[str] = []
    if not parameters:
        return names
    if key in parameters:
        names.append(_plain(parameters[key]))
    if key + b"*" in parameters:
        names.append(_extended(parameters[key + b"*"]))
    if key + b"*0" in parameters or key + b"*0*" in parameters:
        names.append(_continued(parameters, key))
    elif any(name.startswith(key + b"*") and name != key + b"*" for name in parameters):
        raise NameInvalidError("encoding")
    return names


def _continued(parameters: Mapping[bytes, bytes], key: bytes) -> str:
    """Return a name in pieces (RFC 2231 section 3): numbered from 0, without a gap; the first has the charset."""
    extended = key + b"*0*" in parameters
    pieces, used = [], set()
    for index in range(len(parameters)):
        plain, encoded = b"%b*%d" % (key, index), b"%b*%d*" % (key, index)
        if encoded in parameters and extended:
            pieces.append(parameters[encoded])
            used.add(encoded)
        elif plain in parameters:
            # Without an asterisk a per cent sign is one.
            pieces.append(parameters[plain].replace(b"%", b"%25") if extended else parameters[plain])
            used.add(plain)
        else:
            break
    if used != {name for name in parameters if name.startswith(key + b"*") and name != key + b"*"}:
        raise NameInvalidError("encoding")
    value = b"".join(pieces)
    return _extended(value) if extended else _plain(value)


def _extended(value: bytes) -> str:
    match = _EXTENDED.fullmatch(value)
    if match is None:
        raise NameInvalidError("encoding")
    octets = _PERCENT.sub(lambda escape: bytes([int(escape[1], 16)]), match[2])
    return _decoded(octets, match[1].decode("ascii") or "us-ascii")


def _plain(value: bytes) -> str:
    if _ENCODED_WORD not in value:
        # Octets above 127 are DGP-3023; here each only has to be told from the others.
        return value.decode("latin-1")
    try:
        return str(make_header(decode_header(value.decode("latin-1"))))
    except (MessageError, LookupError, ValueError) as error:
        raise NameInvalidError("encoding") from error


def _decoded(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset)
    except (LookupError, ValueError) as error:
        raise NameInvalidError("encoding") from error


def _require_storable(name: str) -> None:
    if any(unicodedata.category(character) in _UNSEEN for character in name):
        raise NameInvalidError("control")
    if _PATH & set(name) or not name.strip(". "):
        raise NameInvalidError("path")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_OCTETS:
        raise NameInvalidError("length")
