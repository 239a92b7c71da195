"""Cases for flows of their own: every setting of an interface at another value than its default, and sizes."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged
from tests.corpus.wire import (
    BASE64,
    EDIFACT,
    EIGHT_BIT,
    QUOTED_PRINTABLE,
    TEXT,
    attachment,
    basic,
    encoded,
    entity,
    fill_fields,
    header,
    long_field,
    multipart,
    nested,
    part,
    plus,
    text_part,
    with_body,
    without,
)  # fmt: skip
from tests.sandbox.interfaces import LENIENT_INTERFACE, STRICT_INTERFACE
from tests.sandbox.parties import SMALL_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.sample import Case, Envelope
    from tests.corpus.wire import Message

_UUENCODED: Final = b"begin 644 a.edi\r\n+56UB*U5.3T,Z,R<`\r\n`\r\nend\r\n"
_EDIFACT_TYPE: Final = b"Content-Type: application/edifact"


def strict_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield cases of a flow with every check on and its own limits."""
    good = basic(envelope)
    yield from chain(
        _charsets(good), _uuencode(good), _types(good), _names(good), _numbers(good), _part_sizes(good), _header(good)
    )


def default_off_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield what the checks that are off by default would refuse: it is accepted."""
    good = basic(envelope)
    yield judged(
        "3031 off: unknown charset", entity(good, [b"Content-Type: text/plain; charset=x-eigen"], b"x\r\n").raw()
    )
    yield judged("3031 off: not in its charset", entity(good, [TEXT, EIGHT_BIT], b"\xe9\xe9n\r\n").raw())
    yield judged("3032 off: uuencode", with_body(good, _UUENCODED).raw())


def lenient_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield what even a flow that checks as little as possible refuses, and its edge."""
    good = basic(envelope)
    depth, octets = int(LENIENT_INTERFACE["max_depth"]), int(LENIENT_INTERFACE["max_field_octets"])
    head = header([*good.fields, b"MIME-Version: 1.0"])
    yield judged(f"3010 {depth} deep", head + nested(depth))
    yield judged(f"3010 {depth + 1} deep", head + nested(depth + 1), 3010)
    yield judged("3022 field at the ceiling", plus(good, long_field(b"X-Lang", octets)).raw())
    yield judged("3022 field over the ceiling", plus(good, long_field(b"X-Lang", octets + 1)).raw(), 3022)


def small_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield cases at the size limit of a flow."""
    good = basic(envelope)
    for octets in (SMALL_LIMIT, SMALL_LIMIT + 1, SMALL_LIMIT + 1_000):
        codes = (3016,) if octets > SMALL_LIMIT else ()
        yield judged(f"3016 {octets} octets", _of_size(good, octets), *codes)


def _of_size(message: Message, octets: int) -> bytes:
    head = with_body(message, b"").raw()
    lines, rest = divmod(octets - len(head), 80)
    # The last line takes what is over, so that no line is only half a CRLF.
    return head + (b"x" * 78 + b"\r\n") * (lines - 1) + b"x" * (78 + rest) + b"\r\n"


def _charsets(good: Message) -> Iterator[Case]:
    for charset, field, body, codes in (
        (b"utf-8", EIGHT_BIT, "één €\r\n".encode(), ()),
        (b"ISO-8859-15", QUOTED_PRINTABLE, b"=E9=E9n =A4\r\n", ()),
        (b"utf-8", BASE64, encoded("één €\r\n".encode() * 100), ()),
        (b"us-ascii", QUOTED_PRINTABLE, b"=E9=E9n\r\n", (3031,)),
        (b"utf-8", EIGHT_BIT, b"\xe9\xe9n\r\n", (3031,)),
        (b"utf-8", BASE64, encoded(b"\xc3"), (3031,)),
        (b"utf-7", EIGHT_BIT, b"een\r\n", (3031,)),
        (b"x-eigen", BASE64, encoded(b"een\r\n"), (3031,)),
    ):
        content_type = b"Content-Type: text/plain; charset=" + charset
        name = f"3031 {charset.decode()} {field[27:].decode()}{' wrong' if codes else ''}"
        yield judged(name, entity(good, [content_type, field], body).raw(), *codes)


def _uuencode(good: Message) -> Iterator[Case]:
    yield judged("3032 the words of uuencode", with_body(good, b"begin 644 a.edi\r\nwas de opdracht\r\n").raw())
    yield judged("3032 uuencode in base64", entity(good, [TEXT, BASE64], encoded(_UUENCODED)).raw())
    yield judged("3032 uuencode", with_body(good, _UUENCODED).raw(), 3032)
    yield judged("3032 uuencode behind text", multipart(good, text_part(b"Zie:\r\n" + _UUENCODED)).raw(), 3032)


def _types(good: Message) -> Iterator[Case]:
    yield judged("3034 allowed by name", entity(good, [_EDIFACT_TYPE], EDIFACT).raw())
    yield judged(
        "3034 allowed by its kind", entity(good, [b"Content-Type: text/xml; charset=utf-8"], b"<a/>\r\n").raw()
    )
    for media_type in (b"application/octet-stream", b"image/png"):
        one = part([b"Content-Type: " + media_type, BASE64], encoded(b"x"))
        yield judged(f"3034 {media_type.decode()}", multipart(good, text_part(), one).raw(), 3034)
    html = entity(good, [b"Content-Type: text/html; charset=utf-8"], b"<p>x</p>\r\n")
    yield judged("3012 forbidden by the flow", html.raw(), 3012)
    enclosed = part([b"Content-Type: message/rfc822"], good.raw())
    yield judged("3012 message/rfc822 forbidden by the flow", multipart(good, enclosed).raw(), 3012)


def _names(good: Message) -> Iterator[Case]:
    for name in (b"a.edi", b"A.PDF", b"a.exe.txt"):
        one = attachment(b"; filename=" + name, media_type=_EDIFACT_TYPE)
        yield judged(f"3035 {name.decode()}", multipart(good, one).raw())
    for name in (b"a.zip", b"aangifte", b"a.pdf.exe"):
        one = attachment(b"; filename=" + name, media_type=_EDIFACT_TYPE)
        yield judged(f"3035 {name.decode()}", multipart(good, one).raw(), 3035)


def _numbers(good: Message) -> Iterator[Case]:
    most = int(STRICT_INTERFACE["max_attachments"])
    one = attachment(b"; filename=a.edi", media_type=_EDIFACT_TYPE)
    yield judged(f"3033 {most} attachments", multipart(good, *[one] * most).raw())
    yield judged(f"3033 {most + 1} attachments", multipart(good, *[one] * (most + 1)).raw(), 3033)
    parts = int(STRICT_INTERFACE["max_parts"])
    yield judged(f"3011 {parts} parts", multipart(good, *[text_part()] * parts).raw())
    yield judged(f"3011 {parts + 1} parts", multipart(good, *[text_part()] * (parts + 1)).raw(), 3011)
    depth = int(STRICT_INTERFACE["max_depth"])
    head = header([*good.fields, b"MIME-Version: 1.0"])
    yield judged(f"3010 {depth} deep", head + nested(depth))
    yield judged(f"3010 {depth + 1} deep", head + nested(depth + 1), 3010)


def _part_sizes(good: Message) -> Iterator[Case]:
    most = int(STRICT_INTERFACE["max_part_octets"])
    for octets, codes in ((most, ()), (most + 1, (3038,))):
        data = (b"x" * 98 + b"\r\n") * (octets // 100) + b"y" * (octets % 100)
        # The CRLF before a boundary is the boundary's.
        for field, body in (
            (EIGHT_BIT, data),
            (BASE64, encoded(data)),
            (QUOTED_PRINTABLE, data.replace(b"xx", b"=78x")),
        ):
            raw = multipart(good, part([TEXT, field], body)).raw()
            yield judged(f"3038 {octets} octets in {field[27:].decode()}", raw, *codes)
    half = text_part((b"x" * 98 + b"\r\n") * (most // 200 + 1))
    yield judged("3038 two parts that are too large together", multipart(good, half, half).raw())


def _header(good: Message) -> Iterator[Case]:
    yield judged("3001 no Subject", without(good, b"subject").raw(), 3001)
    yield judged("3002 Keywords twice", plus(good, b"Keywords: a", b"Keywords: b").raw(), 3002)
    yield judged("3040 auto-generated", plus(good, b"Auto-Submitted: auto-generated").raw())
    yield judged("3040 auto-replied", plus(good, b"Auto-Submitted: auto-replied").raw(), 3040)
    most = {name: value for name, value in STRICT_INTERFACE.items() if isinstance(value, int)}
    for more in (0, 1):
        hop = b"Received: by a.test; Mon, 23 Nov 2026 10:00:00 +0100"
        traced = header([hop] * (most["max_received"] + more)) + good.raw()
        fields = plus(good, *[b"X-Veld: x"] * (most["max_header_fields"] + more - len(good.fields)))
        tall = plus(good, *fill_fields(most["max_header_octets"] + more - len(header(good.fields)), 350, 150))
        long = plus(good, long_field(b"X-Lang", most["max_field_octets"] + more, 150))
        wide = with_body(good, b"x" * (most["max_line_octets"] + more) + b"\r\n")
        for number, raw in (
            (3039, traced), (3021, fields.raw()), (3015, tall.raw()), (3022, long.raw()), (3013, wide.raw()),
        ):  # fmt: skip
            yield judged(f"{number} {'over' if more else 'at'} the flow's limit", raw, *([number] if more else []))
