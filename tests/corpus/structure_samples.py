"""Cases for MIME's structure: its fields, boundaries, depth and number of parts, and the types that hide contents."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged
from tests.corpus.wire import (
    BASE64,
    CRLF,
    EDIFACT,
    EIGHT_BIT,
    MIME_VERSION,
    OCTETS,
    QUOTED_PRINTABLE,
    TEXT,
    basic,
    content_type,
    encoded,
    entity,
    header,
    joined,
    multipart,
    nested,
    part,
    plus,
    text_part,
    with_body,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.sample import Case, Envelope
    from tests.corpus.wire import Message

MAX_DEPTH: Final = 10
MAX_PARTS: Final = 100
_DISPOSITION: Final = b"Content-Disposition: inline"
_PARTIAL: Final = b'Content-Type: message/partial; id="1@y.test"; number=1; total=2'
_EXTERNAL: Final = b"Content-Type: message/external-body; access-type=URL; URL=x"
_GOOD_TYPES: Final = {
    "semicolon at the end": b"Content-Type: text/plain; charset=utf-8;",
    "comments": b"Content-Type: text/plain (plat) ; charset (tekens) = utf-8 (acht)",
    "capitals": b"CONTENT-TYPE: TEXT/PLAIN; CHARSET=UTF-8",
    "quoted pair": b'Content-Type: text/plain; charset="utf\\-8"; x="a\\"b"',
    "folded": b"Content-Type: text/plain;\r\n\tcharset=utf-8",
}
_BAD_TYPES: Final = {
    "no slash": b"Content-Type: text",
    "empty": b"Content-Type:",
    "no semicolon": b"Content-Type: text/plain charset=utf-8",
    "quote not closed": b'Content-Type: text/plain; charset="utf-8',
    "parameter twice": b"Content-Type: text/plain; charset=utf-8; charset=utf-7",
    "slash in a token": b"Content-Type: text/plain; charset=utf-8; name=a/b",
}
_BAD_BOUNDARIES: Final = {
    "absent": b"",
    "empty": b'; boundary=""',
    "71 characters": b"; boundary=" + b"b" * 71,
    "a space at the end": b'; boundary="grens "',
    "a forbidden character": b'; boundary="gr*ns"',
}


def structure_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield the cases of the structure's checks."""
    good = basic(envelope)
    yield from chain(
        _versions(good), _repeated(good), _types(good), _boundaries(good), _encodings(good), _closing(good),
        _bounds(good), _hiding(good),
    )  # fmt: skip


def _versions(good: Message) -> Iterator[Case]:
    for name, version in {"comment": b"(door) 1.0 (ons)", "spaces": b"1 . 0"}.items():
        yield judged(f"3006 version with {name}", plus(good, b"MIME-Version: " + version, TEXT).raw())
    yield judged("3006 version without other fields", plus(good, MIME_VERSION).raw())
    for field in (TEXT, QUOTED_PRINTABLE, _DISPOSITION):
        yield judged(f"3006 only {field.partition(b':')[0].decode()}", plus(good, field).raw(), 3006)
    for version in (b"1.1", b"", b"1.0 x"):
        yield judged(f"3006 version {version.decode()}", plus(good, b"MIME-Version: " + version, TEXT).raw(), 3006)


def _repeated(good: Message) -> Iterator[Case]:
    seven_bit = b"Content-Transfer-Encoding: 7bit"
    whole = entity(good, [TEXT, seven_bit, _DISPOSITION], EDIFACT)
    for field in (MIME_VERSION, TEXT, seven_bit, _DISPOSITION):
        yield judged(f"3027 {field.partition(b':')[0].decode()} twice", plus(whole, field).raw(), 3027)
    twice = part([TEXT, _DISPOSITION, _DISPOSITION], b"x\r\n")
    yield judged("3027 twice in a part", multipart(good, text_part(), twice).raw(), 3027)
    yield judged("3027 once in every part", multipart(good, text_part(), text_part()).raw())


def _types(good: Message) -> Iterator[Case]:
    for name, field in _GOOD_TYPES.items():
        yield judged(f"3007 {name}", entity(good, [field], EDIFACT).raw())
    for name, field in _BAD_TYPES.items():
        yield judged(f"3007 {name}", entity(good, [field], EDIFACT).raw(), 3007)
    yield judged("3007 in a part", multipart(good, part([b"Content-Type: plain"], b"x\r\n")).raw(), 3007)


def _boundaries(good: Message) -> Iterator[Case]:
    for boundary in (b"b" * 70, b"a b", b"'()+_,-./:=?"):
        body = joined([text_part()], boundary)
        raw = entity(good, [content_type(boundary=boundary)], body).raw()
        yield judged(f"3007 boundary {boundary.decode()[:12]}", raw)
    for name, parameter in _BAD_BOUNDARIES.items():
        field = b"Content-Type: multipart/mixed" + parameter
        yield judged(f"3007 boundary: {name}", entity(good, [field], joined([text_part()])).raw(), 3007)


def _encodings(good: Message) -> Iterator[Case]:
    for token in (b"7BIT", b"8Bit (acht)", b"Base64", b"Quoted-Printable"):
        contents = encoded(EDIFACT) if token == b"Base64" else b"Rozen\r\n"
        raw = entity(good, [TEXT, b"Content-Transfer-Encoding: " + token], contents).raw()
        yield judged(f"3008 {token.decode()}", raw)
    for token in (b"x-uuencode", b"binary", b"8 bit", b"", b'"8bit"', b"quotedprintable"):
        raw = entity(good, [TEXT, b"Content-Transfer-Encoding: " + token], EDIFACT).raw()
        yield judged(f"3008 {token.decode() or 'empty'}", raw, 3008)
    body = joined([text_part()])
    yield judged("3008 multipart in 8bit", entity(good, [content_type(), EIGHT_BIT], body).raw())
    for field in (BASE64, QUOTED_PRINTABLE):
        yield judged(
            f"3008 multipart in {field[27:].decode()}", entity(good, [content_type(), field], body).raw(), 3008
        )
    enclosed = part([b"Content-Type: message/rfc822", BASE64], encoded(good.raw()))
    yield judged("3008 message in base64", multipart(good, enclosed).raw(), 3008)


def _closing(good: Message) -> Iterator[Case]:
    whole = joined([text_part(), text_part()])
    mixed = entity(good, [content_type()], b"")
    for name, body in {
        "preamble and epilogue": b"voor\r\n" + whole + b"na\r\n",
        "white space after a boundary": whole.replace(b"--grens\r\n", b"--grens \t\r\n"),
        "a longer line that begins alike": whole.replace(b"Zie", b"--grenspost\r\nZie"),
        "no blank line before the end": b"--grens\r\n\r\n--grens--\r\n",
        "no header in a part": b"--grens\r\n\r\nx\r\n--grens--\r\n",
    }.items():
        yield judged(f"3009 {name}", with_body(mixed, body).raw())
    for name, body in {
        "not closed": whole.removesuffix(b"--grens--\r\n"),
        "cut off in a part": whole[: len(whole) // 2] + b"\r\n",
        "no boundary at all": EDIFACT,
        "no part": b"--grens--\r\n",
        "closed with something behind": whole.replace(b"--grens--", b"--grens--x"),
        "no body": b"",
    }.items():
        yield judged(f"3009 {name}", with_body(mixed, body).raw(), 3009)
    inner = part([content_type(boundary=b"binnen")], b"--binnen" + CRLF + text_part())
    yield judged("3009 inner one not closed", multipart(good, inner).raw(), 3009)


def _bounds(good: Message) -> Iterator[Case]:
    head = header([*good.fields, MIME_VERSION])
    for depth in (MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 20):
        codes = (3010,) if depth > MAX_DEPTH else ()
        yield judged(f"3010 {depth} deep", head + nested(depth), *codes)
    for levels in (MAX_DEPTH, MAX_DEPTH + 1):
        codes = (3010,) if levels > MAX_DEPTH else ()
        yield judged(f"3010 {levels} messages in each other", head + _enclosed(good, levels), *codes)
    for parts in (MAX_PARTS, MAX_PARTS + 1, MAX_PARTS + 50):
        codes = (3011,) if parts > MAX_PARTS else ()
        yield judged(f"3011 {parts} parts", multipart(good, *[text_part(b"x\r\n")] * parts).raw(), *codes)


def _enclosed(good: Message, levels: int) -> bytes:
    """Return field, blank line and body of a message that encloses another, `levels` in each other."""
    field = b"Content-Type: message/rfc822"
    inner = good.raw()
    for _ in range(levels - 1):
        inner = header([*good.fields, MIME_VERSION, field]) + CRLF + inner
    return part([field], inner)


def _hiding(good: Message) -> Iterator[Case]:
    enclosed = part([b"Content-Type: message/rfc822"], good.raw())
    yield judged("3012 a message enclosed", multipart(good, text_part(), enclosed).raw())
    yield judged("3012 message/partial", entity(good, [_PARTIAL], EDIFACT).raw(), 3012)
    yield judged("3012 message/partial in a part", multipart(good, part([_PARTIAL], good.raw())).raw(), 3012)
    outside = part([_EXTERNAL], header([OCTETS]) + CRLF)
    yield judged("3012 message/external-body in a part", multipart(good, text_part(), outside).raw(), 3012)
    yield judged("3012 message/external-body", entity(good, [_EXTERNAL], header([OCTETS]) + CRLF).raw(), 3012)
