"""Cases that violate several checks at once: a receipt tells all, so that a party corrects them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged
from tests.corpus.wire import (
    BASE64,
    EIGHT_BIT,
    MIME_VERSION,
    OCTETS,
    QUOTED_PRINTABLE,
    TEXT,
    attachment,
    basic,
    content_type,
    entity,
    instead,
    joined,
    long_field,
    multipart,
    part,
    plus,
    text_part,
    with_body,
    without,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.sample import Case, Envelope
    from tests.corpus.wire import Message

_BAD_BASE64: Final = part([OCTETS, BASE64], b"U*m\r\n")
_BAD_QUOTED: Final = part([TEXT, QUOTED_PRINTABLE], b"a=b\r\n")
_NO_CHARSET: Final = part([b"Content-Type: text/plain"], b"x\r\n")
_NO_TYPE: Final = part([b"Content-Type: x"], b"x\r\n")
_NO_ENCODING: Final = part([TEXT, b"Content-Transfer-Encoding: x-uuencode"], b"x\r\n")
_EXECUTABLE: Final = attachment(b"; filename=a.exe")
_BAD_NAME: Final = attachment(b'; filename="../a"')
_BAD_DISPOSITION: Final = part([OCTETS, b"Content-Disposition: attachment; filename"], b"x\r\n")
_ACCENTS: Final = part([TEXT], b"\xc3\xa9\r\n")
_PARTIAL: Final = part([b"Content-Type: message/partial; id=1; number=1"], b"x\r\n")


def combined_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield cases with three findings or more."""
    good = basic(envelope)
    yield from _of_the_header(good)
    yield from _of_the_parts(good)
    yield from _of_both(good)


def _of_the_header(good: Message) -> Iterator[Case]:
    bare = without(good, b"from", b"to", b"date", b"message-id")
    yield judged("several: nothing that is required", plus(bare, b"Bcc: x@y.test").raw(), 3001, 3004, 3005)
    yield judged(
        "several: another's mail sent on",
        instead(plus(good, b"Resent-From: x@y.test", b"Bcc: x@y.test"), b"From: x@y.test").raw(),
        3003, 3005, 3018,
    )  # fmt: skip
    yield judged(
        "several: an answering machine",
        plus(good, b"Auto-Submitted: auto-replied", b"Return-Receipt-To: x@y.test", b"Sender: x@y.test").raw(),
        3017, 3024, 3040,
    )  # fmt: skip
    yield judged(
        "several: home-made header",
        instead(good, b"Date: gisteren", b"Message-ID: 1", "Subject: één".encode()).raw(),
        3019, 3020, 3023,
    )  # fmt: skip
    yield judged(
        "several: everything twice",
        plus(instead(good, b"To: x@y.test"), b"Date: nu", b"Subject: x", long_field(b"X-Lang", 9_000)).raw(),
        3002, 3004, 3019, 3022,
    )  # fmt: skip


def _of_the_parts(good: Message) -> Iterator[Case]:
    for parts, codes in (
        ((_BAD_BASE64, _BAD_QUOTED, _NO_CHARSET), (3028, 3029, 3030)),
        ((_NO_TYPE, _NO_ENCODING, _ACCENTS), (3007, 3008, 3026)),
        ((_EXECUTABLE, _BAD_NAME, _BAD_DISPOSITION, _PARTIAL), (3012, 3035, 3036, 3037)),
        ((_BAD_BASE64, _BAD_BASE64, _NO_CHARSET, _NO_CHARSET, _NO_TYPE), (3007, 3028, 3030)),
        ((_BAD_BASE64,) * 12 + (_NO_CHARSET, _EXECUTABLE), (3028, 3030, 3035)),
    ):
        yield judged(f"several: parts with {codes}", multipart(good, *parts).raw(), *codes)
    cut_off = joined([_BAD_QUOTED, _NO_CHARSET]).removesuffix(b"--grens--\r\n")
    yield judged("several: cut off", entity(good, [content_type()], cut_off).raw(), 3009, 3029, 3030)
    wide = with_body(plus(good, TEXT), b"x" * 1_200 + b"\xe9\ra\r\n")
    yield judged("several: what a text editor saved", wide.raw(), 3006, 3013, 3014, 3026)


def _of_both(good: Message) -> Iterator[Case]:
    parts = (_EXECUTABLE, _BAD_BASE64, _NO_CHARSET)
    mixed = multipart(plus(without(good, b"date"), b"Bcc: x@y.test"), *parts)
    yield judged("several: header and parts", mixed.raw(), 3001, 3005, 3028, 3030, 3035)
    twice = plus(multipart(good, text_part(), _ACCENTS), MIME_VERSION, EIGHT_BIT, EIGHT_BIT, b"X-A: \xe9")
    yield judged("several: MIME fields", twice.raw(), 3023, 3026, 3027)
    everything = instead(
        plus(good, b"Bcc: x@y.test", b"Resent-To: x@y.test", b"Auto-Submitted: auto-replied", b"Sender: x@y.test",
             b"Read-Receipt-To: x@y.test"),
        b"From: x@y.test", b"To: x@y.test", b"Date: nu", b"Message-ID: 1",
    )  # fmt: skip
    worst = multipart(everything, _BAD_BASE64, _BAD_QUOTED, _NO_CHARSET, _EXECUTABLE, _BAD_NAME, _NO_TYPE)
    yield judged(
        "several: fifteen", worst.raw(),
        3003, 3004, 3005, 3007, 3017, 3018, 3019, 3020, 3024, 3028, 3029, 3030, 3035, 3036, 3040,
    )  # fmt: skip
    ten = multipart(everything, _BAD_BASE64)
    yield judged("several: ten", ten.raw(), 3003, 3004, 3005, 3017, 3018, 3019, 3020, 3024, 3028, 3040)
