"""One message's inspection: header rules, MIME structure, contents and measures under its flow's profile.

The one entry to the checks: the acceptance milter feeds it from Postfix, `digipoort lint` from a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.interface.fields import HeaderField
from digipoort.interface.header_rules import HeaderRules
from digipoort.interface.mime_structure import MimeScanner
from digipoort.interface.part_header import MIME_FIELDS
from digipoort.reasons import Finding
from digipoort.references import GATEWAY_HEADER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from digipoort.interface.measures import Measures
    from digipoort.profiles import FlowProfile

# What one SMTP reply and one receipt hold.
MAX_FINDINGS: Final = 10
# A second one of a kind is a finding of its own; more tell nothing new.
_MAX_MIME_FIELDS: Final = 20


class Inspection:
    """Judges one message of a flow: header fields first, then the body in chunks of CRLF form, then `finish`.

    `sender` and `recipients` are normalised envelope addresses (addresses.normalised). Memory is bounded by the
    profile's header limit and one chunk; the cost is linear in the octets.
    """

    def __init__(self, flow: FlowProfile, sender: str, recipients: Sequence[str]) -> None:
        """Start before the first field."""
        self._flow = flow
        self._rules = HeaderRules(flow.interface, sender, recipients)
        self._mime_fields: list[HeaderField] = []
        self._scanner: MimeScanner | None = None

    def header(self, name: str, value: bytes) -> None:
        """Take the next header field, `value` with its leading space and folds; the gateway's own are passed over."""
        key = name.strip().lower()
        if key.startswith(GATEWAY_HEADER_PREFIX):
            return
        self._rules.add(key, name, value)
        if key in MIME_FIELDS and len(self._mime_fields) < _MAX_MIME_FIELDS:
            self._mime_fields.append(HeaderField(key, value))

    def body(self, chunk: bytes) -> None:
        """Take the next octets of the body."""
        self._structure().feed(chunk)

    def finish(self, measures: Measures) -> list[Finding]:
        """Return the findings after the last octet, at most ten; `measures` are those of the message as it came in.

        Of each violated check the first finding comes before any second one, in the order header, MIME, octets, size.
        """
        found = [
            *self._rules.findings(measures),
            *self._structure().finish(),
            *_octet_findings(measures, self._flow),
        ]
        return _selected([finding for finding in found if finding.reason.code not in self._flow.interface.off])

    def _structure(self) -> MimeScanner:
        if self._scanner is None:
            self._scanner = MimeScanner(self._mime_fields, self._flow.interface)
        return self._scanner


def _octet_findings(measures: Measures, flow: FlowProfile) -> Iterator[Finding]:
    limit = flow.interface.max_line_octets
    if measures.longest_line > limit:
        yield Finding(reasons.LINE_TOO_LONG, {"limit": str(limit)})
    if measures.bare or measures.nul:
        yield Finding(reasons.BODY_OCTET_FORBIDDEN)
    if measures.octets > flow.size_limit:
        parameters = {"flow": flow.code, "size": str(measures.octets), "limit": str(flow.size_limit)}
        yield Finding(reasons.MESSAGE_TOO_LARGE, parameters)


def _selected(found: Sequence[Finding]) -> list[Finding]:
    """Return at most ten: the first finding of every check, then the repetitions."""
    firsts: dict[str, Finding] = {}
    for finding in found:
        firsts.setdefault(finding.reason.code, finding)
    repeats = [finding for index, finding in enumerate(found) if finding not in found[:index]]
    return [*firsts.values(), *(finding for finding in repeats if finding not in firsts.values())][:MAX_FINDINGS]
