"""The protocol between authd and its clients, without any decision; docs/authd-protocol.md is its specification.

::

    request  = "DIGIPOORT-AUTH/1" TAB "verify" 1*( TAB field ) LF        ; at most 4096 octets, LF included
    field    = name "=" value        ; service, login and password once each, ip at most once, others are passed over
    name     = 1*( %x61-7A / "_" )   ; a-z
    value    = *( %x02-08 / %x0B-0C / %x0E-FF / escape )
    escape   = %x01 ( "0" / "1" / "t" / "r" / "n" )                      ; NUL, 0x01, TAB, CR, LF
    reply    = ( "ok" TAB "login=" value [ TAB "mailbox=" value ] / "fail" / "temp" ) LF

The escapes are those of Dovecot's own authentication protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from digipoort.framing import RequestMalformed

VERSION: Final = b"DIGIPOORT-AUTH/1"
COMMAND: Final = b"verify"
END_OF_LINE: Final = b"\n"
MAX_LINE_OCTETS: Final = 4096
FAIL: Final = b"fail\n"
TEMP: Final = b"temp\n"

_LETTERS: Final = {b"\0": b"0", b"\1": b"1", b"\t": b"t", b"\r": b"r", b"\n": b"n"}
_OCTETS: Final = {letter: octet for octet, letter in _LETTERS.items()}
_SPECIAL: Final = re.compile(rb"[\x00\x01\t\r\n]")
_VALUE: Final = re.compile(rb"(?:[^\x00\x01\t\r\n]|\x01[01trn])*")
_ESCAPE: Final = re.compile(rb"\x01([01trn])")
_NAME: Final = re.compile(rb"[a-z_]+")
_REQUIRED: Final = (b"service", b"login", b"password")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthRequest:
    """One login to verify, as octets: nothing is known yet about any of them. The password stays out of its repr."""

    service: bytes
    login: bytes
    password: bytes = field(repr=False)
    client: bytes = b""


def parse_request(line: bytes) -> AuthRequest:
    """Return the request in one line, LF included. Raises RequestMalformed for anything outside the grammar."""
    if len(line) > MAX_LINE_OCTETS or not line.endswith(END_OF_LINE):
        raise RequestMalformed("The request is not a line of at most 4096 octets.")
    version, *words = line.removesuffix(END_OF_LINE).split(b"\t")
    if version != VERSION:
        raise RequestMalformed("The request does not start with DIGIPOORT-AUTH/1.")
    if not words or words[0] != COMMAND:
        raise RequestMalformed("The command is not verify.")
    values = _values(words[1:])
    missing = [name.decode() for name in _REQUIRED if name not in values]
    if missing:
        raise RequestMalformed(f"The request lacks {' and '.join(missing)}.")
    return AuthRequest(
        service=values[b"service"],
        login=values[b"login"],
        password=values[b"password"],
        client=values.get(b"ip", b""),
    )


def _values(words: list[bytes]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for word in words:
        name, equals, value = word.partition(b"=")
        if not equals or _NAME.fullmatch(name) is None:
            raise RequestMalformed("A field is not name=value.")
        if name in values:
            raise RequestMalformed("A field occurs twice.")
        values[name] = unescape(value)
    return values


def format_accepted(login: str, mailbox: str | None) -> bytes:
    """Return the reply to an accepted login; `mailbox` is None for a credential that only submits."""
    fields = [b"ok", b"login=" + escape(login.encode())]
    if mailbox is not None:
        fields.append(b"mailbox=" + escape(mailbox.encode()))
    return b"\t".join(fields) + END_OF_LINE


def escape(value: bytes) -> bytes:
    """Return any octets in a form without NUL, TAB, CR and LF."""
    return _SPECIAL.sub(lambda match: b"\1" + _LETTERS[match[0]], value)


def unescape(value: bytes) -> bytes:
    """Return the octets that `escape` was given. Raises RequestMalformed for what it never returns."""
    if _VALUE.fullmatch(value) is None:
        raise RequestMalformed("A value is not escaped as it must be.")
    return _ESCAPE.sub(lambda match: _OCTETS[match[1]], value)
