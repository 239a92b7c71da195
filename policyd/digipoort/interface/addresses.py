"""RFC 5322 address lists, read strictly and in linear time.

The standard library's readers are lenient in ways that let a header show one address and mean another, or take
quadratic time on hostile input; a sender check can afford neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from digipoort.interface.lexical import comment_end

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    rb"""
      (?P<space>[ \t\r\n]+)
    | (?P<quoted>"(?:[^"\\\r\n]|\\[^\r\n]|\r?\n[ \t])*")
    | (?P<literal>\[[!-Z^-~]*\])
    | (?P<special>[<>@,;:.])
    | (?P<atom>[^\x00-\x20()<>\[\]:;@\\,."\x7f]+)
    """,
    re.VERBOSE,
)
# Nearly every address is as simple as this, and needs no tokens.
_SIMPLE_LIMIT: Final = 400
_WORD: Final = rb"[^\x00-\x20()<>\[\]:;@\\,.\"\x7f-\xff]+"
_SIMPLE: Final = rb"%(w)b(?:\.%(w)b)*@%(w)b(?:\.%(w)b)*" % {b"w": _WORD}
_SIMPLE_PATH = re.compile(rb"<(%(s)b)>|(%(s)b)" % {b"s": _SIMPLE})
_SIMPLE_MAILBOX = re.compile(
    rb"[ \t\r\n]*(?:(?:%(w)b[ \t\r\n]+)*<(%(s)b)>|(%(s)b))[ \t\r\n]*" % {b"w": _WORD, b"s": _SIMPLE}
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


class _Token(NamedTuple):
    kind: str
    text: bytes


@dataclass(frozen=True, slots=True)
class AddressList:
    """The mailboxes of a header, normalised; `plain` tells that all of it is well-formed mailboxes, no group."""

    mailboxes: tuple[str, ...]
    plain: bool


def normalised(address: bytes) -> str:
    """Return an envelope address as `local@domain` in lower case, angle brackets and needless quotes removed.

    What is no address comes back in lower case as it is, so that it equals no mailbox but itself.
    """
    simple = _simple(_SIMPLE_PATH, address)
    if simple is not None:
        return simple
    bare = address.strip()
    if bare.startswith(b"<") and bare.endswith(b">"):
        bare = bare[1:-1]
    tokens = _tokens(bare)
    mailbox = _address_spec(tokens) if tokens is not None else None
    return mailbox or bare.decode("utf-8", "surrogateescape").lower()


def parse_addresses(value: bytes) -> AddressList:
    """Return the mailboxes of a From, To or Cc value (RFC 5322 section 3.4), those in groups included.

    Elements that are not well-formed are passed over and make the list not plain; a value that cannot be divided into
    tokens holds no mailbox.
    """
    simple = _simple(_SIMPLE_MAILBOX, value)
    if simple is not None:
        return AddressList((simple,), plain=True)
    tokens = _tokens(value)
    if tokens is None:
        return AddressList((), plain=False)
    mailboxes: list[str] = []
    plain = True
    for element in _elements(tokens):
        mailbox = _mailbox(element)
        if mailbox is not None:
            mailboxes.append(mailbox)
        elif element:
            plain = False
    grouped = _Token("special", b":") in tokens or _Token("special", b";") in tokens
    return AddressList(tuple(mailboxes), plain=plain and not grouped)


def _simple(grammar: re.Pattern[bytes], value: bytes) -> str | None:
    match = grammar.fullmatch(value) if len(value) <= _SIMPLE_LIMIT else None
    return (match[1] or match[2]).decode("ascii").lower() if match else None


def _tokens(value: bytes) -> list[_Token] | None:
    tokens: list[_Token] = []
    position = 0
    while position < len(value):
        if value[position] == ord("("):
            end = comment_end(value, position)
            if end is None:
                return None
            position = end
            continue
        match = _TOKEN.match(value, position)
        if match is None:
            return None
        if match.lastgroup is not None and match.lastgroup != "space":
            tokens.append(_Token(match.lastgroup, match[0]))
        position = match.end()
    return tokens


def _elements(tokens: list[_Token]) -> Iterator[list[_Token]]:
    """Divide at commas, at a group's end, and after a group's name, which is dropped."""
    element: list[_Token] = []
    for token in tokens:
        if token.kind != "special" or token.text not in {b",", b";", b":"}:
            element.append(token)
            continue
        if token.text != b":" or _Token("special", b"<") in element:
            yield element
        element = []
    yield element


def _mailbox(element: list[_Token]) -> str | None:
    opening = _Token("special", b"<")
    if opening not in element:
        return _address_spec(element)
    start = element.index(opening)
    phrase_is_words = all(token.kind in {"atom", "quoted"} or token.text == b"." for token in element[:start])
    if not phrase_is_words or element[-1] != _Token("special", b">"):
        return None
    return _address_spec(element[start + 1 : -1])


def _address_spec(tokens: list[_Token]) -> str | None:
    at = _Token("special", b"@")
    if tokens.count(at) != 1:
        return None
    middle = tokens.index(at)
    local, domain = tokens[:middle], tokens[middle + 1 :]
    literal = len(domain) == 1 and domain[0].kind == "literal"
    if not _dotted(local, {"atom", "quoted"}) or not (literal or _dotted(domain, {"atom"})):
        return None
    text = b"".join(_content(token) for token in local) + b"@" + b"".join(token.text for token in domain)
    return text.decode("utf-8", "surrogateescape").lower()


def _dotted(tokens: list[_Token], kinds: set[str]) -> bool:
    words, dots = tokens[::2], tokens[1::2]
    return len(tokens) % 2 == 1 and all(word.kind in kinds for word in words) and all(dot.text == b"." for dot in dots)


def _content(token: _Token) -> bytes:
    return _QUOTED_PAIR.sub(rb"\1", token.text[1:-1]) if token.kind == "quoted" else token.text
