"""A message in a file, read as Postfix would read it from a client, and judged as the acceptance milter would.

For `digipoort lint`: the checks are the milter's own. Only the way from octets to header fields and body is here,
because in the gateway that way is Postfix's: smtpd(8)'s DATA command, and cleanup(8)'s is_header() and mime_state.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.interface.addresses import normalised, parse_addresses
from digipoort.interface.fields import HeaderField, is_gateway_header
from digipoort.interface.inspection import Inspection
from digipoort.interface.measures import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from digipoort.interface.measures import Measures
    from digipoort.profiles import FlowProfile
    from digipoort.reasons import Finding

_CHUNK_OCTETS: Final = 65_536
# smtpd reads a longer line in pieces (line_length_limit), and only a first piece can begin a header field.
_LINE_PIECE_OCTETS: Final = 2_048
_MAILBOX_LINE: Final = re.compile(rb">*From ")
_FIELD_BEGIN: Final = re.compile(rb"([!-9;-~]+)[ \t]*:")


@dataclass(frozen=True, slots=True)
class Note:
    """What the submitter should know about a message, beside the verdict: a sentence in two languages."""

    english: str
    dutch: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gateway would say of a message: the findings of a refusal, none when it would be accepted."""

    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    measures: Measures
    digest: str


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields as a milter gets them, folds as LF; the position where the body begins; what Postfix keeps silent."""

    fields: tuple[HeaderField, ...]
    body: int
    notes: tuple[Note, ...] = ()


_LF_ONLY: Final = Note(
    "All lines end in LF; they were judged with CRLF, as a mail client sends them.",
    "Alle regels eindigen op LF; ze zijn beoordeeld met CRLF, zoals een mailprogramma ze verstuurt.",
)
_SENDER_UNKNOWN: Final = Note(
    "From is not one address, so the envelope sender (MAIL FROM) is not known.",
    "From is niet één adres, dus de afzender op de envelop (MAIL FROM) is niet bekend.",
)


def lint(raw: bytes, flow: FlowProfile, sender: str | None = None, recipients: Sequence[str] | None = None) -> Verdict:
    """Return the verdict on the message whose octets are `raw`, under the rules of `flow`.

    `sender` and `recipients` are envelope addresses. Without `sender` it is the address in From; without `recipients`
    none need stand in To or Cc (DGP-3004). Lines that all end in LF only count as CRLF. When only some do, they are
    bare LFs (DGP-3014). No input makes it raise; time and memory are linear in `raw`.
    """
    header = _read_header(raw)
    fields = [field for field in header.fields if not is_gateway_header(field.name)]
    envelope_sender = _sole_from(fields) if sender is None else normalised(_octets(sender))
    inspection = Inspection(flow, envelope_sender or "", [normalised(_octets(item)) for item in recipients or ()])
    meter = Meter()
    for field in fields:
        meter.add_field(field.name, field.value)
        inspection.header(field.name, field.value)
    for chunk in _body(raw, header.body):
        meter.add_body(chunk)
        inspection.body(chunk)
    pairs, newlines = raw.count(b"\r\n"), raw.count(b"\n")
    measured = meter.measures()
    measures = dataclasses.replace(measured, bare=measured.bare or 0 < pairs < newlines)
    notes = [*header.notes]
    if newlines and not pairs:
        notes.append(_LF_ONLY)
    if len(fields) < len(header.fields):
        notes.append(_removed(len(header.fields) - len(fields)))
    if envelope_sender is None:
        notes.append(_SENDER_UNKNOWN)
    return Verdict(tuple(inspection.finish(measures)), tuple(notes), measures, meter.digest())


def _read_header(raw: bytes) -> _Header:
    fields: list[tuple[str, list[bytes]]] = []
    position = 0
    while _MAILBOX_LINE.match(raw, position):
        line, position = _line(raw, position)
        fields.append(("X-Mailbox-Line", [b" " + line]))
    if raw[position : position + 1] in {b" ", b"\t"}:
        return _Header(_joined(fields), position, (_header_ends(len(fields) + 1),))
    number = len(fields)
    while position < len(raw):
        line, after = _line(raw, position)
        number += 1
        begin = _FIELD_BEGIN.match(line, 0, _LINE_PIECE_OCTETS)
        if line[:1] in {b" ", b"\t"}:
            fields[-1][1].append(line)
        elif begin is not None:
            fields.append((begin[1].decode("ascii"), [line[begin.end() :]]))
        elif line:
            return _Header(_joined(fields), position, (_header_ends(number),))
        else:
            return _Header(_joined(fields), after)
        position = after
    return _Header(_joined(fields), position)


def _line(raw: bytes, position: int) -> tuple[bytes, int]:
    """Return the line at `position` without its CRLF or LF, and the position of the next."""
    end = raw.find(b"\n", position)
    if end < 0:
        return raw[position:], len(raw)
    return raw[position:end].removesuffix(b"\r"), end + 1


def _joined(fields: Sequence[tuple[str, list[bytes]]]) -> tuple[HeaderField, ...]:
    return tuple(HeaderField(name, b"\n".join(lines)) for name, lines in fields)


def _body(raw: bytes, position: int) -> Iterator[bytes]:
    """Yield the octets from `position` on with CRLF at every line's end, the last one included, in bounded chunks."""
    while position < len(raw):
        end = position + _CHUNK_OCTETS
        if raw[end - 1 : end + 1] == b"\r\n":
            end += 1
        yield raw[position:end].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        position = end
        if position >= len(raw) and not raw.endswith(b"\n"):
            yield b"\r\n"


def _sole_from(fields: Sequence[HeaderField]) -> str | None:
    values = [field.value for field in fields if field.name.lower() == "from"]
    mailboxes = parse_addresses(values[0]).mailboxes if len(values) == 1 else ()
    return mailboxes[0] if len(mailboxes) == 1 else None


def _octets(address: str) -> bytes:
    return address.encode("utf-8", "surrogateescape")


def _header_ends(number: int) -> Note:
    return Note(
        f"Line {number} is no header field: the header ends before it, and it belongs to the body.",
        f"Regel {number} is geen headerveld: de header eindigt ervoor, en de regel hoort bij de inhoud.",
    )


def _removed(count: int) -> Note:
    return Note(
        f"The gateway removes {count} of the headers: X-Digipoort- is for its own.",
        f"De voorziening verwijdert {count} van de headers: X-Digipoort- is voor haar eigen headers.",
    )
