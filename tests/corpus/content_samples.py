"""Cases for the contents of parts: base64, quoted-printable and charsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged
from tests.corpus.wire import BASE64, EDIFACT, OCTETS, QUOTED_PRINTABLE, TEXT, basic, entity, multipart, part, text_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.sample import Case, Envelope
    from tests.corpus.wire import Message

_GOOD_BASE64: Final = {
    "without padding": b"Um96ZW4h\r\n",
    "one padding": b"Um96ZW4=\r\n",
    "two paddings": b"Um96ZQ==\r\n",
    "nothing": b"",
    "white space": b"Um96\r\n \t ZW4=\r\n\r\n",
    "lines of any length": b"U\r\nm96Z\r\nW4=\r\n",
}
_BAD_BASE64: Final = {
    "alphabet": b"Um96*ZW4\r\n",
    "alphabet of URLs": b"Um96_-W4\r\n",
    "octets above 127": b"Um96ZW4\xe9\r\n",
    "length": b"Um96ZW\r\n",
    "length of one": b"U\r\n",
    "padding": b"Um96ZQ=\r\n",
    "three paddings": b"U===\r\n",
    "after padding": b"Um96ZQ==Um96ZW4h\r\n",
    "text behind": b"Um96ZQ==\r\n\r\nMet vriendelijke groet\r\n",
}
_GOOD_QUOTED: Final = {
    "soft line breaks": b"Rozen =\r\nen=\r\n tulpen\r\n",
    "lower case digits": b"R=c3=b6zen\r\n",
    "white space behind a soft break": b"Rozen = \t\r\nen tulpen\r\n",
    "encoded equals sign": b"a=3Db\r\n",
}
_BAD_QUOTED: Final = {
    "no digits": b"prijs=hoog\r\n",
    "one digit": b"a=4\r\n",
    "equals sign in the line": b"a= b\r\n",
    "octets above 127": b"R\xc3\xb6zen\r\n",
}


def content_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield the cases of the contents' checks."""
    good = basic(envelope)
    for good_one, bad_one, field, number in (
        (_GOOD_BASE64, _BAD_BASE64, BASE64, 3028),
        (_GOOD_QUOTED, _BAD_QUOTED, QUOTED_PRINTABLE, 3029),
    ):
        for name, body in good_one.items():
            yield judged(f"{number} {name}", entity(good, [TEXT, field], body).raw())
        for name, body in bad_one.items():
            yield judged(f"{number} {name}", entity(good, [TEXT, field], body).raw(), number)
    cut_off = multipart(good, text_part(), part([OCTETS, BASE64], b"Um96Z\r\n"), text_part())
    yield judged("3028 in the middle of a multipart", cut_off.raw(), 3028)
    yield from _charsets(good)


def _charsets(good: Message) -> Iterator[Case]:
    yield judged("3030 no Content-Type", multipart(good, part([], b"x\r\n")).raw())
    yield judged("3030 other than text", entity(good, [b"Content-Type: application/edifact"], EDIFACT).raw())
    yield judged("3030 quoted charset", entity(good, [b'Content-Type: text/xml; charset="ISO-8859-1"'], EDIFACT).raw())
    yield judged("3030 text/plain", entity(good, [b"Content-Type: text/plain"], EDIFACT).raw(), 3030)
    flowed = part([b"Content-Type: text/html; format=flowed"], b"x\r\n")
    yield judged("3030 in a part", multipart(good, flowed).raw(), 3030)
