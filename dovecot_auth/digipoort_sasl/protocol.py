"""Dovecot's authentication protocol, as much of it as a relay must understand; it decides nothing.

It is described in Dovecot's documentation, "Design.AuthProtocol" (2.3: version 1.2) and "Auth Protocol" (2.4: version
1.3). What passes here is::

    greeting  = "VERSION" TAB "1" TAB minor LF "CPID" TAB number LF                                    ; from smtpd
    handshake = "VERSION" TAB "1" TAB minor LF *( line LF ) "DONE" LF                                  ; to smtpd
    auth      = "AUTH" TAB id TAB mechanism *( TAB parameter ) LF         ; resp=, if there is one, is a secret
    response  = "CONT" TAB id TAB base64 LF                               ; a secret
    reply     = "CONT" TAB id TAB base64 LF / ( "OK" / "FAIL" ) TAB id *( TAB parameter ) LF

Nothing is unescaped and nothing rewritten. No line has a NUL or a CR: Postfix would read on from there as it likes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from digipoort.framing import RequestMalformed

# Dovecot 2.3's own limit. An AUTH command with more is no password's.
MAX_LINE_OCTETS: Final = 8192
# Dovecot's handshake has a line for each mechanism, and five others.
MAX_HANDSHAKE_LINES: Final = 64
END_OF_HANDSHAKE: Final = b"DONE\n"

_VERSION: Final = re.compile(rb"VERSION\t1\t[0-9]{1,10}\n")
_GREETING: Final = re.compile(rb"VERSION\t1\t[0-9]{1,10}\nCPID\t[0-9]{1,10}\n")
_AUTH: Final = re.compile(rb"AUTH\t([0-9]{1,10})\t([A-Za-z0-9_-]{1,20})((?:\t[^\t\r\n\0]*)*)\n")
_RESPONSE: Final = re.compile(rb"CONT\t([0-9]{1,10})\t[^\t\r\n\0]*\n")
_REPLY: Final = re.compile(rb"(CONT|OK|FAIL)\t([0-9]{1,10})((?:\t[^\t\r\n\0]*)*)\n")
# The credentials are right, and yet Dovecot refuses the login or sends it elsewhere. Postfix would let it in.
_NOT_LET_IN: Final = frozenset((b"nologin", b"proxy"))


class ReplyMalformed(Exception):  # noqa: N818 - beside RequestMalformed
    """A line of Dovecot that does not answer the login; the message is for the admin and holds nothing of the line."""


class Kind(Enum):
    """What Dovecot's reply makes of a login."""

    ANSWERED = "answered"
    CONTINUED = "continued"
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True)
class Login:
    """What may be told about a login that smtpd begins: its request's id, the mechanism and the user's address."""

    identity: bytes
    mechanism: bytes
    client: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Dovecot's reply to a login; `user` is the login's name, empty when Dovecot does not say."""

    kind: Kind
    user: bytes = b""


def handshake(process: int, connection: int, cookie: str) -> bytes:
    """Return what smtpd is told at once, whether Dovecot is there or not.

    The mechanisms are those of dovecot.conf's auth_mechanisms. `process` is our pid, `connection` a number of this
    connection's own, `cookie` 32 hexadecimal digits: what smtpd, having no master, does not use.
    """
    return (
        f"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n"
        f"SPID\t{process}\nCUID\t{connection}\nCOOKIE\t{cookie}\nDONE\n"
    ).encode()


def check_greeting(lines: bytes) -> None:
    """Raise RequestMalformed unless these two lines are a client's part of the handshake."""
    if _GREETING.fullmatch(lines) is None:
        raise RequestMalformed("The client does not begin with VERSION 1 and CPID.")


def check_version(line: bytes) -> None:
    """Raise ReplyMalformed unless this is the first line of Dovecot's handshake."""
    if _VERSION.fullmatch(line) is None:
        raise ReplyMalformed("Dovecot does not begin with VERSION 1")


def is_auth(line: bytes) -> bool:
    """Tell whether a line of smtpd begins a login, well-formed or not."""
    return line.startswith(b"AUTH\t")


def parse_auth(line: bytes) -> Login:
    """Return the login that a line of smtpd begins. Raises RequestMalformed when it begins none."""
    found = _AUTH.fullmatch(line)
    if found is None:
        raise RequestMalformed("A line that must begin a login is no AUTH.")
    identity, mechanism, parameters = found.groups()
    # resp= is the last one, by definition: whatever follows is the user's.
    return Login(identity, mechanism, _value(parameters.partition(b"\tresp=")[0], b"rip"))


def check_response(line: bytes, login: Login) -> None:
    """Raise RequestMalformed unless a line of smtpd goes on with this login."""
    found = _RESPONSE.fullmatch(line)
    if found is None or found[1] != login.identity:
        raise RequestMalformed("A line does not go on with the login under way.")


def cancellation(login: Login) -> bytes:
    """Return the line by which Dovecot's own clients take a login back; it has no reply before version 1.4."""
    return b"CANCEL\t%b\n" % login.identity


def parse_reply(line: bytes, login: Login) -> Reply:
    """Return what Dovecot's line makes of the login.

    "temp" is what Dovecot before 2.3 says for code=temp_fail. Raises ReplyMalformed for a line that does not answer
    this login, and for one that Postfix would take for a wrong password, or for a right one, although it is neither.
    """
    found = _REPLY.fullmatch(line)
    if found is None:
        raise ReplyMalformed("Dovecot's line is no reply")
    command, identity, parameters = found.groups()
    if identity != login.identity:
        raise ReplyMalformed("Dovecot replies to another request")
    if command == b"CONT":
        if not parameters:
            raise ReplyMalformed("Dovecot's CONT lacks its data")
        return Reply(Kind.CONTINUED)
    user, words = _value(parameters, b"user"), parameters.split(b"\t")
    if command == b"FAIL":
        temporary = b"temp" in words or b"code=temp_fail" in words
        return Reply(Kind.TEMPORARY if temporary else Kind.ANSWERED, user)
    if not user:
        raise ReplyMalformed("Dovecot's OK lacks the user")
    if any(word.partition(b"=")[0] in _NOT_LET_IN for word in words):
        raise ReplyMalformed("Dovecot's OK says nologin or proxy, which Postfix would pass over")
    return Reply(Kind.ANSWERED, user)


def _value(parameters: bytes, name: bytes) -> bytes:
    """Return the value of the last parameter of this name, as Postfix reads it."""
    values = [word.removeprefix(name + b"=") for word in parameters.split(b"\t") if word.startswith(name + b"=")]
    return values[-1] if values else b""
