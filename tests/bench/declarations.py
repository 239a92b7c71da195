"""Messages as a trader's software writes them, in the sizes and encodings that the benchmarks need."""

from __future__ import annotations

import base64
import json
import logging
import quopri
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort import log
from digipoort.profiles import parse_profiles
from digipoort_milter.acceptance import Acceptance
from digipoort_milter.outcome import AddHeader, Outcome
from digipoort_milter.submission import Submission
from tests.milter_samples import nothing_earlier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from structlog.typing import FilteringBoundLogger

SENDER: Final = "bloemen@partij.digipoort.test"
RECIPIENT: Final = "ags@overheid.digipoort.test"
MEBIBYTE: Final = 1_048_576
# What Postfix hands to a milter at a time (MILTER_CHUNK_SIZE).
CHUNK_OCTETS: Final = 65_535
BOUNDARY: Final = "=_4f1c9a7e2b6d"
QUEUE_ID: Final = "521A1EA60FC"
_SIZE_LIMIT: Final = 64 * MEBIBYTE
_EDIFACT: Final = (Path(__file__).parents[1] / "sandbox" / "cusdec.edi").read_bytes().replace(b"\n", b"\r\n")
_HEADER: Final = (
    (
        "Received",
        b" from werkstation (unknown [192.0.2.10])\n\tby gateway.digipoort.test (Postfix) with ESMTPSA id 50400EA60FB\n"
        b"\tfor <ags@overheid.digipoort.test>; Tue, 24 Nov 2026 09:30:00 +0100 (CET)",
    ),
    ("From", b" Bloemenimport Aalsmeer <bloemen@partij.digipoort.test>"),
    ("To", b" <ags@overheid.digipoort.test>"),
    ("Subject", b" CUSDEC 26NL0000000001"),
    ("Date", b" Tue, 24 Nov 2026 09:30:00 +0100"),
    ("Message-ID", b" <26112300001.1187@partij.digipoort.test>"),
    ("User-Agent", b" Aangifte 12.4"),
    ("MIME-Version", b" 1.0"),
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message: fields with their leading space and folds as Postfix hands them over, and the body in CRLF form."""

    fields: tuple[tuple[str, bytes], ...]
    body: bytes

    def source(self) -> bytes:
        """Return the message in LF form, as smtp-source reads it: without its last, empty line, which that adds."""
        header = b"".join(name.encode("ascii") + b":" + value + b"\n" for name, value in self.fields)
        return header + b"\n" + self.body.replace(b"\r\n", b"\n").removesuffix(b"\n")


def profiles_file(interface: Mapping[str, int]) -> bytes:
    """Return what `digipoort maps publish` writes for one flow, with these overrides of the default interface.

    The flow does not ask about earlier submissions: no policy daemon is measured here.
    """
    overrides = {**interface, "checks": {"DGP-3043": False}}
    flow = {"size_limit": _SIZE_LIMIT, "interface": overrides, "resubmission": "accept"}
    return json.dumps({"version": 1, "addresses": {RECIPIENT: "AGS"}, "flows": {"AGS": flow}}).encode("ascii")


def plain(octets: int) -> Message:
    """Return a declaration of about `octets` octets as 7bit text."""
    text = _edifact(octets).decode("latin-1").encode("ascii", "replace") + b"\r\n"
    return _message(b' text/plain; charset="us-ascii"', b"7bit", text)


def with_attachment(octets: int) -> Message:
    """Return a message with a declaration of about `octets` octets as a base64 attachment, in lines of 76."""
    return _mixed(b"base64", base64.encodebytes(_edifact(octets * 3 // 4)).replace(b"\n", b"\r\n"))


def quoted_printable(octets: int) -> Message:
    """Return a message with a quoted-printable attachment of about `octets` octets."""
    lines = quopri.encodestring(_edifact(octets)).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return _mixed(b"quoted-printable", lines)


def eight_bit(octets: int) -> Message:
    """Return a message with an attachment of about `octets` octets as it is."""
    return _mixed(b"8bit", _edifact(octets))


def multipart(body: bytes, boundary: str = BOUNDARY) -> Message:
    """Return a multipart message with any body."""
    content_type = f' multipart/mixed;\n\tboundary="{boundary}"'.encode("ascii")
    return Message((*_HEADER, ("Content-Type", content_type)), body)


def marked(message: Message) -> Message:
    """Return the message as stage 1 hands it to stage 2: with the marks of the submission milter."""
    submission = Submission(f"<{SENDER}>".encode("ascii"), (), quiet())
    for name, value in message.fields:
        submission.header(name, value)
    for chunk in chunks(message.body):
        submission.body(chunk)
    changes = submission.finish(lambda _name: None).changes
    marks = [(change.name, b" " + change.value.encode("ascii")) for change in changes if isinstance(change, AddHeader)]
    return replace(message, fields=(*message.fields, *marks))


def judge(message: Message, profiles: bytes) -> Outcome:
    """Return acceptance's verdict on a marked message, handed over in chunks as Postfix does it."""
    acceptance = Acceptance(f"<{SENDER}>".encode("ascii"), parse_profiles(profiles), nothing_earlier, quiet())
    acceptance.recipient(f"<{RECIPIENT}>".encode("ascii"))
    for name, value in message.fields:
        acceptance.header(name, value)
    for chunk in chunks(message.body):
        acceptance.body(chunk)
    return acceptance.finish(lambda _name: None)


def chunks(content: bytes) -> Iterator[bytes]:
    """Cut a body as Postfix does."""
    return (content[start : start + CHUNK_OCTETS] for start in range(0, len(content), CHUNK_OCTETS))


def quiet() -> FilteringBoundLogger:
    """Return a logger that writes nothing: an in-process figure is that of the checks."""
    standard = logging.getLogger("digipoort-bench")
    standard.setLevel(logging.CRITICAL)
    return log.wrap(standard)


def _edifact(octets: int) -> bytes:
    """Return whole lines of a declaration, at most `octets` octets."""
    repeats = octets // len(_EDIFACT) + 1
    content = b"".join(islice(iter(lambda: _EDIFACT, b""), repeats))
    return content[: content.rindex(b"\r\n", 0, octets) + 2]


def _message(content_type: bytes, encoding: bytes, body: bytes) -> Message:
    return Message((*_HEADER, ("Content-Type", content_type), ("Content-Transfer-Encoding", b" " + encoding)), body)


def _mixed(encoding: bytes, attachment: bytes) -> Message:
    line = f"--{BOUNDARY}".encode("ascii")
    text = (
        b'Content-Type: text/plain; charset="us-ascii"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n'
        b"Bijgaand de aangifte.\r\n"
    )
    named = (
        b'Content-Type: application/edifact; name="aangifte.edi"\r\nContent-Transfer-Encoding: ' + encoding + b"\r\n"
        b'Content-Disposition: attachment; filename="aangifte.edi"\r\n\r\n'
    )
    body = b"".join([line, b"\r\n", text, line, b"\r\n", named, attachment, b"\r\n", line, b"--\r\n\r\n"])
    return multipart(body)
