"""The structural check of a message's MIME parts, while the body streams by (RFC 2045, RFC 2046).

Memory is bounded by a chunk and one part's header; the cost is linear, because octets are only touched by bulk
operations: `find` looks for lines that may be boundaries, and only those are compared with the boundaries open then.

Parts are numbered `1.2.1`: part 1 of part 2 of part 1; the message as a whole is part 0. A message in a message is part
1 of the part that holds it. A boundary must fill its line, white space at the end aside: the prefix match that RFC 2046
also allows would confuse boundaries of which one begins with the other, as common software writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from digipoort import reasons
from digipoort.interface.collector import Collector
from digipoort.interface.fields import parse_fields
from digipoort.interface.mime_fields import MESSAGE, PLAIN_TEXT, ContentType
from digipoort.interface.part_contents import PartContents
from digipoort.interface.part_header import MIME_FIELDS, PartHeader, judge_part_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digipoort.interface.fields import HeaderField
    from digipoort.interface.profile import InterfaceProfile
    from digipoort.reasons import Finding

_CRLF: Final = b"\r\n"
_BLANK_LINE: Final = _CRLF + _CRLF
_DELIMITER_START: Final = _CRLF + b"--"
# A boundary of 70 octets (RFC 2046 section 5.1.1), four dashes, the line end before it, and some white space after it.
_MAX_DELIMITER: Final = 176
# A line of which more was seen is no boundary line.
_MAX_HELD: Final = 4096
_MAX_HEADER_FIELDS: Final = 10_000
_TOP: Final = "0"


class _Delimiter(NamedTuple):
    """A boundary line, from the line end before it up to its own."""

    start: int
    end: int
    boundary: bytes
    closes: bool


@dataclass(slots=True)
class _Composite:
    """A multipart or message part that is still open; a message has no boundary."""

    number: str
    content_type: ContentType
    encoding: str
    children: int = 0

    @property
    def boundary(self) -> bytes | None:
        return self.content_type.boundary

    def child(self) -> str:
        self.children += 1
        return str(self.children) if self.number == _TOP else f"{self.number}.{self.children}"


class MimeScanner:
    """Feeds on a message's MIME header fields and body, and finds what breaks the interface's MIME rules.

    The findings are the same however the body is divided into chunks.
    """

    def __init__(self, fields: Sequence[HeaderField], profile: InterfaceProfile) -> None:
        """Judge the message's own MIME header fields; the body follows."""
        self._profile = profile
        self._found = Collector()
        self._stack: list[_Composite] = []
        self._boundaries: frozenset[bytes] = frozenset()
        self._part = _TOP
        self._parts = 0
        self._attachments = 0
        self._contents: PartContents | None = None
        self._header: bytearray | None = None
        self._header_octets = 0
        self._header_ends_line = False
        self._structured = True
        # Every line is seen with the line end before it, so that all boundaries look alike, and contents end where
        # their boundary's own line end begins. `_held` begins with one; the first stands for that of the blank line.
        self._held = _CRLF
        self._lead = len(_CRLF)
        self._open([field for field in fields if field.name.lower() in MIME_FIELDS])

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the body."""
        octets = self._held + chunk
        cut = octets.rfind(_CRLF)
        if len(octets) - max(cut, 0) > _MAX_HELD:
            # An endless line is handed on in pieces; a CR at its end may be half of a CRLF.
            cut = len(octets) - octets.endswith(b"\r")
        if cut > 0:
            self._scan(octets[:cut])
            octets = octets[cut:]
        self._held = octets

    def finish(self) -> list[Finding]:
        """Return the findings after the last octet, in the order of the message."""
        self._scan(self._held)
        if self._structured:
            self._end_entity()
            self._close_down_to(0)
        if self._attachments > self._profile.max_attachments:
            self._found.find(reasons.TOO_MANY_ATTACHMENTS, limit=str(self._profile.max_attachments))
        return self._found.findings

    # --- lines ---

    def _scan(self, block: bytes) -> None:
        """Scan octets that end at the end of a line, or within one that cannot be a boundary."""
        position = 0
        while position < len(block) and self._structured:
            if self._header is None:
                position = self._scan_body(block, position)
            else:
                position = self._scan_header(self._header, block, position)

    def _scan_body(self, block: bytes, position: int) -> int:
        delimiter = self._find_delimiter(block, position, len(block))
        end = delimiter.start if delimiter else len(block)
        if self._contents is not None:
            self._contents.feed(block[position + self._lead : end])
        self._lead = 0
        if delimiter is None:
            return end
        self._meet(delimiter)
        return delimiter.end

    def _scan_header(self, header: bytearray, block: bytes, position: int) -> int:
        if self._header_ends_line and block.startswith(_CRLF, position):
            end = resume = position  # the line end before the blank line came with the block before
        else:
            blank_line = block.find(_BLANK_LINE, position)
            end = resume = blank_line + len(_CRLF) if blank_line >= 0 else -1
        ended = end >= 0
        end = end if ended else len(block)
        delimiter = self._find_delimiter(block, position, end)
        if delimiter is not None:
            self._collect(header, block[position : delimiter.start])
            self._meet(delimiter)
            return delimiter.end
        self._collect(header, block[position:end])
        if not ended:
            return end
        self._end_header(header)
        return resume

    def _find_delimiter(self, block: bytes, start: int, end: int) -> _Delimiter | None:
        position = block.find(_DELIMITER_START, start, end) if self._boundaries else -1
        while position >= 0:
            begin = position + len(_DELIMITER_START)
            line_end = block.find(_CRLF, begin, end)
            line_end = end if line_end < 0 else line_end
            if line_end - position <= _MAX_DELIMITER:
                line = block[begin:line_end].rstrip(b" \t")
                # The closing line of boundary X is also the opening line of a boundary `X--`, which goes first.
                if line in self._boundaries:
                    return _Delimiter(position, line_end, line, closes=False)
                if line.endswith(b"--") and line[:-2] in self._boundaries:
                    return _Delimiter(position, line_end, line[:-2], closes=True)
            position = block.find(_DELIMITER_START, line_end, end)
        return None

    def _collect(self, header: bytearray, octets: bytes) -> None:
        self._header_octets += len(octets)
        self._header_ends_line = octets.endswith(_CRLF)
        header += octets[: max(0, self._profile.max_header_octets - len(header))]

    # --- structure ---

    def _begin_header(self, number: str) -> None:
        self._part, self._header, self._header_ends_line = number, bytearray(), False
        self._header_octets = -len(_CRLF)  # the line end before it is not its own

    def _end_header(self, header: bytearray) -> None:
        self._header = None
        if self._header_octets > self._profile.max_header_octets:
            self._found.find(reasons.HEADER_TOO_LARGE, limit=str(self._profile.max_header_octets))
        fields = parse_fields(bytes(header), _MAX_HEADER_FIELDS)
        if not header.isascii():
            names = [field.name for field in fields if not field.value.isascii()]
            for name in names or ["-"]:
                self._found.find(reasons.HEADER_NOT_ASCII, header=name)
        self._open([field for field in fields if field.name.lower() in MIME_FIELDS])

    def _open(self, fields: Sequence[HeaderField]) -> None:
        """Begin the contents of the part whose MIME header fields these are."""
        in_digest = bool(self._stack) and self._stack[-1].content_type.media_type == "multipart/digest"
        # RFC 2046 section 5.1.5
        header = judge_part_header(fields, self._part, MESSAGE if in_digest else PLAIN_TEXT, self._profile)
        for finding in header.findings:
            self._found.add(finding)
        self._attachments += header.is_attachment
        self._lead = len(_CRLF)
        self._contents = None
        if header.content_type.is_composite:
            self._open_composite(header)
        else:
            self._contents = PartContents(self._part, header.content_type, header.encoding, self._profile)

    def _open_composite(self, header: PartHeader) -> None:
        if len(self._stack) >= self._profile.max_depth:
            self._found.find(reasons.TOO_DEEP, limit=str(self._profile.max_depth))
            return
        composite = _Composite(self._part, header.content_type, header.encoding)
        self._stack.append(composite)
        self._expect_boundaries()
        if composite.content_type.is_message:
            self._begin_header(composite.child())
        else:
            self._open_margin(composite)

    def _open_margin(self, composite: _Composite) -> None:
        """Begin what stands before the first boundary of a multipart, or after the last."""
        self._part = composite.number
        self._contents = PartContents(composite.number, composite.content_type, composite.encoding, self._profile)

    def _meet(self, delimiter: _Delimiter) -> None:
        """At a boundary line, end what is open inside its multipart, and begin the next part or end the multipart."""
        self._end_entity()
        owner = max(index for index, composite in enumerate(self._stack) if composite.boundary == delimiter.boundary)
        self._close_down_to(owner + 1)
        composite = self._stack[owner]
        if delimiter.closes:
            self._stack.pop()
            if composite.children == 0:
                self._found.find(reasons.BOUNDARY_NOT_CLOSED, part=composite.number)
            self._lead = 0
            self._open_margin(composite)
        else:
            self._parts += 1
            if self._parts > self._profile.max_parts:
                self._found.find(reasons.TOO_MANY_PARTS, limit=str(self._profile.max_parts))
                self._structured = False
                return
            self._begin_header(composite.child())
        self._expect_boundaries()

    def _end_entity(self) -> None:
        # The end of one header may begin another: that of a message in a message.
        for _ in range(self._profile.max_depth + 1):
            if self._header is None:
                break
            self._end_header(self._header)
        self._header = None
        if self._contents is not None:
            for finding in self._contents.finish():
                self._found.add(finding)
        self._contents = None

    def _close_down_to(self, depth: int) -> None:
        for composite in reversed(self._stack[depth:]):
            if composite.boundary is not None:
                self._found.find(reasons.BOUNDARY_NOT_CLOSED, part=composite.number)
        del self._stack[depth:]

    def _expect_boundaries(self) -> None:
        self._boundaries = frozenset(composite.boundary for composite in self._stack if composite.boundary is not None)
