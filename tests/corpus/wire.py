"""Builds and alters messages as octets, so that a sample differs from a good message in what it shows and no more."""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.corpus.sample import Envelope

CRLF: Final = b"\r\n"
BOUNDARY: Final = b"grens"
TEXT: Final = b"Content-Type: text/plain; charset=utf-8"
EIGHT_BIT: Final = b"Content-Transfer-Encoding: 8bit"
BASE64: Final = b"Content-Transfer-Encoding: base64"
QUOTED_PRINTABLE: Final = b"Content-Transfer-Encoding: quoted-printable"
OCTETS: Final = b"Content-Type: application/octet-stream"
MIME_VERSION: Final = b"MIME-Version: 1.0"
EDIFACT: Final = b"UNB+UNOC:3+NL854502130:ZZZ+NLDOUANE:ZZZ+261123:0930+1'\r\nUNZ+0+1'\r\n"


@dataclass(frozen=True, slots=True)
class Message:
    """Header fields, each without its last CRLF, and a body."""

    fields: tuple[bytes, ...]
    body: bytes

    def raw(self) -> bytes:
        """Return the message in wire form."""
        return header(self.fields) + CRLF + self.body


def basic(envelope: Envelope) -> Message:
    """Return the smallest message that every flow accepts."""
    return Message(
        (
            f"From: {envelope.sender}".encode(),
            f"To: {envelope.recipient}".encode(),
            b"Date: Mon, 23 Nov 2026 10:00:00 +0100",
            b"Message-ID: <aangifte.1@partij.digipoort.test>",
            b"Subject: Aangifte",
        ),
        EDIFACT,
    )


def header(fields: Iterable[bytes]) -> bytes:
    """Return fields as lines."""
    return b"".join(field + CRLF for field in fields)


def name_of(field: bytes) -> bytes:
    """Return a field's name in lower case."""
    return field.partition(b":")[0].strip().lower()


def plus(message: Message, *fields: bytes) -> Message:
    """Return the message with further fields at the end of its header."""
    return dataclasses.replace(message, fields=message.fields + fields)


def without(message: Message, *names: bytes) -> Message:
    """Return the message without the fields of these names (lower case)."""
    return dataclasses.replace(message, fields=tuple(field for field in message.fields if name_of(field) not in names))


def instead(message: Message, *fields: bytes) -> Message:
    """Return the message with these fields in place of those that have their names."""
    return plus(without(message, *(name_of(field) for field in fields)), *fields)


def with_body(message: Message, body: bytes) -> Message:
    """Return the message with another body."""
    return dataclasses.replace(message, body=body)


def entity(message: Message, fields: Sequence[bytes], body: bytes) -> Message:
    """Return a MIME message that is one part: `fields` are its MIME fields, MIME-Version aside."""
    return with_body(plus(message, MIME_VERSION, *fields), body)


def part(fields: Sequence[bytes], body: bytes) -> bytes:
    """Return a body part: header, blank line, contents."""
    return header(fields) + CRLF + body


def joined(parts: Iterable[bytes], boundary: bytes = BOUNDARY) -> bytes:
    """Return parts between their boundary lines, the last one closed."""
    return b"".join(b"--" + boundary + CRLF + one + CRLF for one in parts) + b"--" + boundary + b"--" + CRLF


def content_type(subtype: bytes = b"mixed", boundary: bytes = BOUNDARY) -> bytes:
    """Return the Content-Type field of a multipart."""
    return b'Content-Type: multipart/%b; boundary="%b"' % (subtype, boundary)


def multipart(message: Message, *parts: bytes) -> Message:
    """Return a multipart/mixed of these parts."""
    return entity(message, [content_type()], joined(parts))


def text_part(body: bytes = b"Zie bijlage.\r\n") -> bytes:
    """Return a part of plain text."""
    return part([TEXT], body)


def attachment(parameters: bytes, *, media_type: bytes = OCTETS, data: bytes = b"UNZ+0+1'\r\n") -> bytes:
    """Return a base64 part with these parameters of its Content-Disposition, e.g. `; filename=a.edi`."""
    return part([media_type, BASE64, b"Content-Disposition: attachment" + parameters], encoded(data))


def encoded(data: bytes) -> bytes:
    """Return base64 lines."""
    return base64.encodebytes(data).replace(b"\n", CRLF)


def long_field(name: bytes, octets: int, line: int = 900) -> bytes:
    """Return a folded field that, its last CRLF included, has exactly `octets` octets, in lines of at most `line`."""
    field = name + b":"
    while len(field) + len(CRLF) < octets:
        left = octets - len(CRLF) - len(field)
        # A fold is CRLF, a space and at least one more octet.
        room = min(left, line)
        room -= 4 if 0 < left - room < 4 else 0
        field += CRLF + b" " + b"x" * (room - 3) if field.endswith(b"x") else b" " + b"x" * (room - 1)
    return field


def fill_fields(octets: int, largest: int = 8000, line: int = 900) -> list[bytes]:
    """Return fields that have exactly `octets` octets together, each at most `largest`, its lines at most `line`."""
    fields = []
    while octets > 0:
        size = octets if octets <= largest else min(largest, octets - 100)
        fields.append(long_field(b"X-Vulling", size, line))
        octets -= size
    return fields


def nested(depth: int) -> bytes:
    """Return the Content-Type field, blank line and body of multiparts in each other, `depth` of them."""
    inner = text_part()
    for level in range(depth, 0, -1):
        boundary = b"niveau%d" % level
        inner = part([content_type(boundary=boundary)], joined([inner], boundary))
    return inner
