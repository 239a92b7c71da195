"""What is fuzzed: each target takes any octets, and fails by an exception that the code does not document."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from digipoort.framing import RequestMalformed
from digipoort.interface.addresses import normalised, parse_addresses
from digipoort.interface.fields import parse_fields, unfolded
from digipoort.interface.file_names import NameInvalidError, file_name
from digipoort.interface.header_values import auto_submitted_keyword, is_date_time, is_message_id
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
from tests.milter_samples import BOUNDARY, CONTENT_TYPE, LOGICAL_DOMAINS, REFUSED_AT_HOP, RELAYED, notification

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


def header(octets: bytes) -> None:
    """Read the octets as the value of every header field that is parsed."""
    parse_addresses(octets)
    normalised(octets)
    is_date_time(octets)
    is_message_id(octets)
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
    """Inspect the octets as a message; the first two tell where its body is cut into chunks."""
    cuts, message = octets[:2], octets[2:]
    head, _, body = message.partition(b"\r\n\r\n")
    whole = _inspected(head, [body])
    step = 1 + (cuts[0] if cuts else 0)
    assert _inspected(head, [body[start : start + step] for start in range(0, len(body), step)]) == whole
    middle = (cuts[-1] if cuts else 0) % (len(body) + 1)
    assert _inspected(head, [body[:middle], body[middle:]]) == whole
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


def report(octets: bytes) -> None:
    """Read the octets as a notification of Postfix."""
    try:
        found = read_report(CONTENT_TYPE, octets, LOGICAL_DOMAINS)
    except NotUnderstoodError:
        return
    for recipient in found.recipients:
        assert recipient.address.rpartition("@")[2].lower() in LOGICAL_DOMAINS


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
    "mime": mime,
    "policy": policy,
    "report": report,
}
_GOOD: Final = (
    b"From: a@b.nl\r\nTo: c@d.nl\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
    b"Message-ID: <1@b.nl>\r\nMIME-Version: 1.0\r\n"
)
SEEDS: Final[dict[str, tuple[bytes, ...]]] = {
    "header": (
        b' "A, b" <a@b.nl>, group: c@d.nl (x (y));',
        b" Mon, 23 Nov 2026 10:00:00 +0100 (CET)",
        b" <1.2$3@[192.0.2.1]> (x)",
        b" auto-replied; owner-email=a@b.nl",
        b' multipart/mixed; boundary="b b"; charset=utf-8;',
        b" attachment; filename*0*=utf-8''na%C3%AFef; filename*1=.edi",
        b' attachment; filename="=?utf-8?q?a=2Fb?="; name=x',
        b"octets=1 header=2 fields=3 received=4 line=5 bare=0 nul=1",
        b"ENVID=a+2B RET=HDRS",
    ),
    "mime": (
        b"\x01\x05" + _GOOD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        b"\x07\x09"
        + _GOOD
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/edifact; name=a.edi\r\n"
        b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.edi\r\n\r\nVU5B\r\n--b\r\n"
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/digest; boundary=c\r\n\r\n"
        b"--c\r\n\r\n\r\nx\r\n--c--\r\n--b--\r\n",
        b"\x03\x02"
        + _GOOD
        + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"a=C3=A9=\r\nb= \r\nc",
        b"\x20\x02" + _GOOD + b"\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n",
    ),
    "policy": (
        b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=submission\nsender=a@b\nrecipient=c@d\nsize=1\n\n",
        b"DIGIPOORT-AUTH/1 verify login=a password=b%20c service=pop3\n",
    ),
    "report": (notification(RELAYED), notification(REFUSED_AT_HOP, RELAYED, full=False), BOUNDARY.encode()),
}
