"""Cases for attachments: how many, and what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged
from tests.corpus.wire import OCTETS, attachment, basic, multipart, part, text_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.sample import Case, Envelope
    from tests.corpus.wire import Message

MAX_ATTACHMENTS: Final = 50
_EXECUTABLES: Final = {
    "exe": b"; filename=factuur.exe",
    "capitals": b"; filename=FACTUUR.JS",
    "two extensions": b"; filename=factuur.pdf.scr",
    "dots at the end": b'; filename="factuur.exe. ."',
    "RFC 2231": b"; filename*=utf-8''factuur.%65xe",
    "encoded word": b'; filename="=?utf-8?q?factuur=2Evbs?="',
}
_GOOD_NAMES: Final = {
    "no name": b"",
    "no extension": b"; filename=aangifte",
    "exe that is not last": b"; filename=factuur.exe.pdf",
    "RFC 2231": b"; filename*=utf-8'nl'factuur%20%C3%A9%C3%A9n.pdf",
    "RFC 2231 in pieces": b"; filename*0*=utf-8''factuur%20; filename*1=een; filename*2*=%C3%A9n.pdf",
    "RFC 2231 without charset": b"; filename*0=fact; filename*1=uur.pdf",
    "encoded word": b'; filename="=?iso-8859-1?q?factuur_=E9=E9n=2Epdf?="',
    "quoted": b'; filename="factuur; (een) \\"x\\".pdf"',
    "plain and extended alike": b"; filename=factuur.pdf; filename*=utf-8''factuur.pdf",
    "255 octets": b'; filename="' + b"f" * 251 + b'.pdf"',
}
_BAD_NAMES: Final = {
    "unknown charset": b"; filename*=utf-99''factuur.pdf",
    "not in its charset": b"; filename*=utf-8''factuur%E9.pdf",
    "percent sign without digits": b"; filename*=utf-8''factuur%2.pdf",
    "a piece is missing": b"; filename*0=fact; filename*2=uur.pdf",
    "slash": b'; filename="../factuur.pdf"',
    "backslash": b'; filename="C\\\\factuur.pdf"',
    "drive": b'; filename="C:factuur.pdf"',
    "encoded slash": b"; filename*=utf-8''..%2Ffactuur.pdf",
    "only dots": b'; filename=".."',
    "line break": b"; filename*=utf-8''factuur%0D%0A.pdf",
    "right to left": b"; filename*=utf-8''factuur%E2%80%AEfdp.txt",
    "256 octets": b'; filename="' + b"f" * 252 + b'.pdf"',
    "extended differs": b"; filename=factuur.pdf; filename*=utf-8''rekening.pdf",
}
_BAD_DISPOSITIONS: Final = {
    "empty": b"",
    "parameter only": b"filename=factuur.pdf",
    "no value": b"attachment; filename",
    "no semicolon": b"attachment filename=factuur.pdf",
    "quote not closed": b'attachment; filename="factuur.pdf',
}


def attachment_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield the cases of the attachments' checks."""
    good = basic(envelope)
    yield from _number(good)
    yield from _extensions(good)
    yield from _names(good)
    yield from _dispositions(good)


def _number(good: Message) -> Iterator[Case]:
    kinds = {
        "attached": attachment(b""),
        "named inline": part([OCTETS, b"Content-Disposition: inline; filename=a.edi"], b"x\r\n"),
        "named by type": part([OCTETS + b"; name=a.edi"], b"x\r\n"),
    }
    for name, one in kinds.items():
        full = multipart(good, text_part(), *[one] * MAX_ATTACHMENTS)
        over = multipart(good, text_part(), *[one] * (MAX_ATTACHMENTS + 1))
        yield judged(f"3033 {MAX_ATTACHMENTS} {name}", full.raw())
        yield judged(f"3033 {MAX_ATTACHMENTS + 1} {name}", over.raw(), 3033)


def _extensions(good: Message) -> Iterator[Case]:
    for name, parameters in _EXECUTABLES.items():
        yield judged(f"3035 {name}", multipart(good, text_part(), attachment(parameters)).raw(), 3035)
    by_type = attachment(b"", media_type=OCTETS + b'; name="factuur.exe"')
    yield judged("3035 name of the type", multipart(good, by_type).raw(), 3035)


def _names(good: Message) -> Iterator[Case]:
    for name, parameters in _GOOD_NAMES.items():
        yield judged(f"3036 {name}", multipart(good, text_part(), attachment(parameters)).raw())
    for name, parameters in _BAD_NAMES.items():
        yield judged(f"3036 {name}", multipart(good, text_part(), attachment(parameters)).raw(), 3036)
    same = attachment(b"; filename*=utf-8''%C3%A9%C3%A9n.pdf", media_type=OCTETS + b'; name="=?utf-8?b?w6nDqW4ucGRm?="')
    other = attachment(b"; filename=factuur.pdf", media_type=OCTETS + b"; name=rekening.pdf")
    yield judged("3036 name and filename alike", multipart(good, same).raw())
    yield judged("3036 name and filename differ", multipart(good, other).raw(), 3036)


def _dispositions(good: Message) -> Iterator[Case]:
    for value in (b"inline", b"x-eigen; soort=a", b'attachment; filename="a.pdf"; size=3; creation-date="x"'):
        field = b"Content-Disposition: " + value
        yield judged(f"3037 {value.decode()}", multipart(good, part([OCTETS, field], b"x\r\n")).raw())
    for name, value in _BAD_DISPOSITIONS.items():
        field = b"Content-Disposition: " + value
        yield judged(f"3037 {name}", multipart(good, part([OCTETS, field], b"x\r\n")).raw(), 3037)
