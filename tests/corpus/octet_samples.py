"""Cases for what is judged octet by octet: line lengths, NUL, bare CR and LF, and octets above 127."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged, refused_in_session
from tests.corpus.wire import (
    BASE64,
    EIGHT_BIT,
    TEXT,
    basic,
    content_type,
    entity,
    joined,
    multipart,
    part,
    plus,
    text_part,
    with_body,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.sample import Case, Envelope
    from tests.corpus.wire import Message

MAX_LINE: Final = 998
_ACCENTS: Final = "één roos\r\n".encode()


def octet_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield the cases of the octets' checks."""
    good = basic(envelope)
    yield from _lines(good)
    yield from _dots(good)
    yield from _forbidden(good)
    yield from _eight_bit(good)


def _lines(good: Message) -> Iterator[Case]:
    for octets, codes in ((MAX_LINE, ()), (MAX_LINE + 1, (3013,)), (5_000, (3013,))):
        yield judged(f"3013 body line of {octets}", with_body(good, b"x" * octets + b"\r\n").raw(), *codes)
        name = b"X-Regel: "
        field = name + b"y" * (octets - len(name))
        yield judged(f"3013 header line of {octets}", plus(good, field).raw(), *codes)
    fold = plus(good, b"X-Regel: y\r\n " + b"y" * MAX_LINE)
    yield judged("3013 fold of 999", fold.raw(), 3013)


def _dots(good: Message) -> Iterator[Case]:
    yield judged("3013 dots at the start of lines", with_body(good, b".\r\n..\r\n.x\r\n\r\n.\r\n").raw())
    yield judged("3013 lines of 998 that begin with a dot", with_body(good, (b"." * MAX_LINE + b"\r\n") * 3).raw())
    yield judged("3013 no body", with_body(good, b"").raw())
    yield judged("3013 blank lines at the end", with_body(good, b"x\r\n\r\n\r\n").raw())
    yield judged("3013 white space at the end of lines", with_body(good, b"x \t\r\n \r\n\t\r\n").raw())


def _forbidden(good: Message) -> Iterator[Case]:
    others = bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\r\n"
    yield judged("3014 every octet but NUL, CR and LF", entity(good, [EIGHT_BIT], others).raw())
    yield judged("3014 bare CR in the body", with_body(good, b"a\rb\r\n").raw(), 3014)
    yield judged("3014 bare CR at the start of a line", with_body(good, b"a\r\n\rb\r\n").raw(), 3014)
    yield judged("3014 bare CR in the header", plus(good, b"X-Los: a\rb").raw(), 3014)
    yield judged("3014 two CRs before LF", with_body(good, b"a\r\r\nb\r\n").raw(), 3014)
    yield refused_in_session("3014 NUL in the body", with_body(good, b"a\0b\r\n").raw(), 3014)
    yield refused_in_session("3014 NUL in the header", plus(good, b"X-Nul: a\0b").raw(), 3014)
    yield refused_in_session("3014 bare LF in the body", with_body(good, b"a\nb\r\n").raw(), 3014)
    yield refused_in_session("3014 bare LF in the header", plus(good, b"X-Los: a\n b").raw(), 3014)
    yield refused_in_session("3014 bare LF around a dot", with_body(good, b"a\n.\nQUIT\r\n").raw(), 3014)


def _eight_bit(good: Message) -> Iterator[Case]:
    yield judged("3026 8bit that is declared", entity(good, [TEXT, EIGHT_BIT], _ACCENTS).raw())
    yield judged("3026 no MIME at all", with_body(good, _ACCENTS).raw(), 3026)
    yield judged("3026 no encoding declared", entity(good, [TEXT], _ACCENTS).raw(), 3026)
    declared = b"Content-Transfer-Encoding: 7bit"
    yield judged("3026 7bit declared", multipart(good, part([TEXT, declared], _ACCENTS)).raw(), 3026)
    body = joined([text_part(), part([TEXT, BASE64], b"w6k=\r\n")])
    for name, octets in {"preamble": _ACCENTS + body, "epilogue": body + _ACCENTS}.items():
        yield judged(f"3026 in the {name}", entity(good, [content_type()], octets).raw(), 3026)
        yield judged(f"3026 in the {name} of 8bit", entity(good, [content_type(), EIGHT_BIT], octets).raw())
