"""The protocol between authd and its clients, without any decision; docs/authd-protocol.md is its specification.

::

    request  = "DIGIPOORT-AUTH/1" TAB command *( TAB field ) LF          ; at most 4096 octets, LF included
    command  = "verify"              ; service, login and password once each; ip and secured=yes at most once
             / "lookup"              ; login once
             / "status"              ; of the limits; for the admin command
             / "reset"               ; scope and key once each; for the admin command
    field    = name "=" value        ; none twice; fields that are not named here are passed over
    name     = 1*( %x61-7A / "_" )   ; a-z
    value    = *( %x02-08 / %x0B-0C / %x0E-FF / escape )
    escape   = %x01 ( "0" / "1" / "t" / "r" / "n" )                      ; NUL, 0x01, TAB, CR, LF
    reply    = ( "ok" *( TAB field ) / "fail" / "temp" ) LF

The escapes are those of Dovecot's own authentication protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from digipoort.framing import RequestMalformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

VERSION: Final = b"DIGIPOORT-AUTH/1"
END_OF_LINE: Final = b"\n"
MAX_LINE_OCTETS: Final = 4096
# Only the reply to `status` is long.
MAX_REPLY_OCTETS: Final = 64 * 1024
FAIL: Final = b"fail\n"
TEMP: Final = b"temp\n"

_LETTERS: Final = {b"\0": b"0", b"\1": b"1", b"\t": b"t", b"\r": b"r", b"\n": b"n"}
_OCTETS: Final = {letter: octet for octet, letter in _LETTERS.items()}
_SPECIAL: Final = re.compile(rb"[\x00\x01\t\r\n]")
_VALUE: Final = re.compile(rb"(?:[^\x00\x01\t\r\n]|\x01[01trn])*")
_ESCAPE: Final = re.compile(rb"\x01([01trn])")
_NAME: Final = re.compile(rb"[a-z_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """One login to verify, as octets: nothing is known yet about any of them. The password stays out of its repr.

    `secured` tells that the client vouches for an encrypted connection to the user.
    """

    service: bytes
    login: bytes
    password: bytes = field(repr=False)
    client: bytes = b""
    secured: bool = False


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """A name whose mailbox is wanted, without proof of anything: for commands of the admin."""

    login: bytes


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Which logins and networks have to wait."""


@dataclass(frozen=True, slots=True)
class ResetRequest:
    """The failures of one login or network that are to be forgotten."""

    scope: bytes
    key: bytes


AuthRequest: TypeAlias = VerifyRequest | LookupRequest | StatusRequest | ResetRequest


def parse_request(line: bytes) -> AuthRequest:
    """Return the request in one line, LF included. Raises RequestMalformed for anything outside the grammar."""
    if len(line) > MAX_LINE_OCTETS or not line.endswith(END_OF_LINE):
        raise RequestMalformed("The request is not a line of at most 4096 octets.")
    version, *words = line.removesuffix(END_OF_LINE).split(b"\t")
    if version != VERSION:
        raise RequestMalformed("The request does not start with DIGIPOORT-AUTH/1.")
    made = _REQUESTS.get(words[0]) if words else None
    if made is None:
        raise RequestMalformed(f"The command is none of {', '.join(name.decode() for name in _REQUESTS)}.")
    return made(_values(words[1:]))


def _verify(values: Mapping[bytes, bytes]) -> VerifyRequest:
    service, login, password = _required(values, b"service", b"login", b"password")
    return VerifyRequest(
        service=service,
        login=login,
        password=password,
        client=values.get(b"ip", b""),
        secured=values.get(b"secured") == b"yes",
    )


def _lookup(values: Mapping[bytes, bytes]) -> LookupRequest:
    return LookupRequest(*_required(values, b"login"))


def _status(_values: Mapping[bytes, bytes]) -> StatusRequest:
    return StatusRequest()


def _reset(values: Mapping[bytes, bytes]) -> ResetRequest:
    return ResetRequest(*_required(values, b"scope", b"key"))


_REQUESTS: Final[Mapping[bytes, Callable[[Mapping[bytes, bytes]], AuthRequest]]] = {
    b"verify": _verify,
    b"lookup": _lookup,
    b"status": _status,
    b"reset": _reset,
}


def _required(values: Mapping[bytes, bytes], *names: bytes) -> list[bytes]:
    missing = [name.decode() for name in names if name not in values]
    if missing:
        raise RequestMalformed(f"The request lacks {' and '.join(missing)}.")
    return [values[name] for name in names]


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


def format_request(request: StatusRequest | ResetRequest) -> bytes:
    """Return a request of the admin as a line; logins come from clients that are written without this package."""
    if isinstance(request, StatusRequest):
        return b"\t".join([VERSION, b"status"]) + END_OF_LINE
    fields = [b"scope=" + escape(request.scope), b"key=" + escape(request.key)]
    return b"\t".join([VERSION, b"reset", *fields]) + END_OF_LINE


def format_ok(fields: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return the reply `ok` with fields, each a name and a value."""
    return b"\t".join([b"ok", *(name.encode() + b"=" + escape(value.encode()) for name, value in fields)]) + END_OF_LINE


def format_mailbox(login: str, mailbox: str | None) -> bytes:
    """Return the reply to an accepted or known login; `mailbox` is None for a credential that only submits."""
    return format_ok([("login", login), *([("mailbox", mailbox)] if mailbox is not None else [])])


def escape(value: bytes) -> bytes:
    """Return any octets in a form without NUL, TAB, CR and LF."""
    return _SPECIAL.sub(lambda match: b"\1" + _LETTERS[match[0]], value)


def unescape(value: bytes) -> bytes:
    """Return the octets that `escape` was given. Raises RequestMalformed for what it never returns."""
    if _VALUE.fullmatch(value) is None:
        raise RequestMalformed("A value is not escaped as it must be.")
    return _ESCAPE.sub(lambda match: _OCTETS[match[1]], value)
