"""What is fuzzed: each target takes any octets, and fails by an exception that the code does not document."""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING, Final

from digipoort.framing import RequestMalformed, Requests
from digipoort.interface.addresses import normalised, parse_addresses
from digipoort.interface.fields import parse_fields, unfolded
from digipoort.interface.file_names import NameInvalidError, file_name
from digipoort.interface.header_values import auto_submitted_keyword, is_date_time, message_id
from digipoort.interface.inspection import MAX_FINDINGS, Inspection
from digipoort.interface.measures import Meter, parse_measures
from digipoort.interface.mime_fields import (
    is_mime_version,
    parse_content_type,
    parse_disposition,
    parse_transfer_encoding,
)
from digipoort.interface.profile import InterfaceProfile
from digipoort.profiles import FlowProfile
from digipoort_auth import protocol as authd
from digipoort_milter.envelope import parse_envelope
from digipoort_milter.report_reader import NotUnderstoodError, read_report
from digipoort_policyd import protocol as policyd
from digipoort_sasl import protocol as sasl
from tests.milter_samples import CONTENT_TYPE, LOGICAL_DOMAINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from digipoort.reasons import Finding

# Small limits, so that short inputs reach them; every check is made.
_PROFILE: Final = InterfaceProfile(
    max_depth=3, max_parts=8, max_header_octets=400, max_header_fields=8, max_field_octets=200, max_line_octets=78,
    max_part_octets=60, max_attachments=2, max_received=2, allowed_media_types=("text/*", "application/edifact"),
    off=frozenset(),
)  # fmt: skip
_FLOW: Final = FlowProfile("AGS", 2000, _PROFILE)
_SENDER: Final = "a@b.nl"
_RECIPIENTS: Final = ("c@d.nl",)
_MAX_FIELDS: Final = 1000
# RFC 5321 section 4.5.3.1.5, with room for the two codes before the text.
_MAX_REPLY: Final = 480
_STREAM_LIMIT: Final = 64
# Postfix cuts one field at about 60,000 octets; a part is as long as the chunks that a milter gets.
_LARGE_FIELD: Final = 50_000
_LARGE_BODY: Final = 65_535
# One input in so many is tried large as well: time that is not linear shows there.
_LARGE_EVERY: Final = 256


def header(octets: bytes) -> None:
    """Read the octets as the value of every header field that is parsed; now and then repeated to the largest one."""
    _read_values(octets)
    if _is_chosen(octets):
        _read_values(_repeated(octets, _LARGE_FIELD))


def _read_values(octets: bytes) -> None:
    parse_addresses(octets)
    normalised(octets)
    is_date_time(octets)
    message_id(octets)
    is_mime_version(octets)
    auto_submitted_keyword(octets)
    parse_transfer_encoding(octets)
    parse_measures(octets)
    unfolded(octets)
    assert parse_envelope(octets).isascii()
    assert len(parse_fields(octets, _MAX_FIELDS)) <= _MAX_FIELDS
    content_type, disposition = parse_content_type(octets), parse_disposition(octets)
    for pair in ((content_type, None), (None, disposition)):
        try:
            name = file_name(*pair)
        except NameInvalidError:
            continue
        assert name is None or (name and not set(name) & set("/\\\0\r\n"))


def mime(octets: bytes) -> None:
    """Inspect the octets as a message; the first two tell where its body is cut into chunks.

    Now and then the body is repeated to a large one as well, in one chunk.
    """
    cuts, message = octets[:2], octets[2:]
    head, _, body = message.partition(b"\r\n\r\n")
    whole = _inspected(head, [body])
    step = 1 + (cuts[0] if cuts else 0)
    assert _inspected(head, [body[start : start + step] for start in range(0, len(body), step)]) == whole
    middle = (cuts[-1] if cuts else 0) % (len(body) + 1)
    assert _inspected(head, [body[:middle], body[middle:]]) == whole
    if body and _is_chosen(octets):
        _inspected(head, [_repeated(body, _LARGE_BODY)])
    assert len(whole) <= MAX_FINDINGS
    for finding in whole:
        text = finding.text()
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= _MAX_REPLY


def policy(octets: bytes) -> None:
    """Read the octets as a request to the policy daemon, and as one to authd."""
    for parse in (policyd.parse_request, authd.parse_request):
        try:
            parse(octets)
        except RequestMalformed:
            continue
    with contextlib.suppress(RequestMalformed):
        assert authd.escape(authd.unescape(octets)) == octets
    assert authd.unescape(authd.escape(octets)) == octets


def login(octets: bytes) -> None:
    """Read the octets as what smtpd and Dovecot say to the relay between them."""
    under_way = sasl.Login(b"1", b"PLAIN", b"")
    for check in (sasl.check_greeting, sasl.parse_auth, lambda line: sasl.check_response(line, under_way)):
        with contextlib.suppress(RequestMalformed):
            check(octets)
    with contextlib.suppress(sasl.ReplyMalformed):
        sasl.check_version(octets)
    with contextlib.suppress(sasl.ReplyMalformed):
        reply = sasl.parse_reply(octets, under_way)
        assert octets.count(b"\n") == 1
        assert reply.user or not octets.startswith(b"OK")


def stream(octets: bytes) -> None:
    """Cut the octets into requests: the same ones whatever the pieces in which they come."""
    cuts, sent = octets[:2], octets[2:]
    whole = _requests([sent])
    step = 1 + (cuts[0] if cuts else 0)
    assert _requests([sent[start : start + step] for start in range(0, len(sent), step)]) == whole
    assert sent.startswith(b"".join(whole))
    assert all(len(request) <= _STREAM_LIMIT for request in whole)


def report(octets: bytes) -> None:
    """Read the octets as a notification of Postfix."""
    try:
        found = read_report(CONTENT_TYPE, octets, LOGICAL_DOMAINS)
    except NotUnderstoodError:
        return
    for recipient in found.recipients:
        assert recipient.address.rpartition("@")[2].lower() in LOGICAL_DOMAINS


def _is_chosen(octets: bytes) -> bool:
    return zlib.crc32(octets) % _LARGE_EVERY == 0


def _repeated(octets: bytes, length: int) -> bytes:
    return (octets * (length // max(len(octets), 1)))[:length]


def _requests(pieces: list[bytes]) -> list[bytes]:
    """Return the requests up to the end of the stream, or to what is none."""
    stream = Requests(policyd.END_OF_REQUEST, _STREAM_LIMIT)
    taken: list[bytes] = []
    with contextlib.suppress(RequestMalformed):
        for piece in pieces:
            stream.feed(piece)
            while (request := stream.take()) is not None:
                taken.append(request)
        stream.end()
    return taken


def _inspected(head: bytes, chunks: list[bytes]) -> list[Finding]:
    inspection, meter = Inspection(_FLOW, _SENDER, _RECIPIENTS), Meter()
    for field in parse_fields(head, _MAX_FIELDS):
        inspection.header(*field)
        meter.add_field(*field)
    for chunk in chunks:
        inspection.body(chunk)
        meter.add_body(chunk)
    return inspection.finish(meter.measures())


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "header": header,
    "login": login,
    "mime": mime,
    "policy": policy,
    "report": report,
    "stream": stream,
}
