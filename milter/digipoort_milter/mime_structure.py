"""The structural check of a message's MIME parts, while the body streams by (RFC 2045, RFC 2046).

Memory is bounded by one line and one part's header; the cost is linear, because octets are only touched by bulk
operations: whole lines are cut from the chunks, and one expression finds the boundaries that are open at that point.

Parts are numbered `1.2.1`: part 1 of part 2 of part 1; the message as a whole is part 0. A message in a message is part
1 of the part that holds it. A boundary must fill its line, white space at the end aside: the prefix match that RFC 2046
also allows would confuse boundaries of which one begins with the other, as common software writes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.reasons import Finding
from digipoort_milter.content_type import (
    MESSAGE,
    PLAIN_TEXT,
    ContentType,
    is_mime_version,
    parse_content_type,
    parse_transfer_encoding,
)
from digipoort_milter.message import HeaderField, parse_fields
from digipoort_milter.transfer_encoding import check_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from digipoort.profiles import InterfaceProfile
    from digipoort_milter.transfer_encoding import ContentCheck

MAX_FINDINGS: Final = 10
# The longest boundary line is far shorter, so that cutting longer lines never hides or makes a boundary.
_SHORTEST_LINE_BUFFER: Final = 1000
_MAX_HEADER_FIELDS: Final = 1000
_CRLF: Final = b"\r\n"
_TOP: Final = "0"
_ENCODINGS: Final = frozenset({"7bit", "8bit", "base64", "quoted-printable"})
_COMPOSITE_ENCODINGS: Final = frozenset({"7bit", "8bit"})
_FORBIDDEN_TYPES: Final = frozenset({"message/partial", "message/external-body"})
_MIME_FIELDS: Final = frozenset({"content-type", "content-transfer-encoding", "mime-version"})


@dataclass(slots=True)
class _Composite:
    """A multipart or message part that is still open; a message has no boundary."""

    number: str
    content_type: ContentType
    children: int = 0

    @property
    def boundary(self) -> bytes | None:
        return self.content_type.boundary

    def child(self) -> str:
        self.children += 1
        return str(self.children) if self.number == _TOP else f"{self.number}.{self.children}"


class OctetCheck:
    """Looks for what RFC 5322 section 2.3 forbids: NUL, and CR or LF that are not together."""

    __slots__ = ("_after_cr", "forbidden")

    def __init__(self) -> None:
        """Start at the beginning of the octets."""
        self._after_cr = False
        self.forbidden = False

    def feed(self, chunk: bytes) -> None:
        """Take the next octets."""
        octets = _CRLF[:1] + chunk if self._after_cr else chunk
        self._after_cr = octets.endswith(b"\r")
        pairs = octets.count(_CRLF)
        bare = octets.count(b"\n") != pairs or octets.count(b"\r") != pairs + self._after_cr
        self.forbidden = self.forbidden or bare or b"\0" in octets

    def finish(self) -> None:
        """Judge a CR at the very end."""
        self.forbidden = self.forbidden or self._after_cr


class LineCutter:
    """Cuts chunks into whole lines, and every line to at most `limit` octets, wherever the chunks break."""

    __slots__ = ("_limit", "_rest", "longest")

    def __init__(self, limit: int) -> None:
        """`longest` becomes the octets of the longest line; exact up to `limit`, more than `limit` above it."""
        self._limit = limit
        self._rest = b""
        self.longest = 0

    def feed(self, chunk: bytes) -> bytes:
        """Return the lines that are whole now, each with its CRLF."""
        lines = (self._rest + chunk).split(_CRLF)
        self._rest = self._bounded_rest(lines.pop())
        if not lines:
            return b""
        longest = max(map(len, lines))
        self.longest = max(self.longest, longest)
        if longest > self._limit:
            lines = [line[: self._limit] for line in lines]
        lines.append(b"")
        return _CRLF.join(lines)

    def finish(self) -> bytes:
        """Return the last line, with a CRLF, when the octets did not end in one."""
        return self.feed(_CRLF) if self._rest else b""

    def _bounded_rest(self, rest: bytes) -> bytes:
        # Its length must still tell that the line is too long, and a CR at the end may be half of a CRLF.
        if len(rest) <= self._limit + 1:
            return rest
        return rest[: self._limit] + b"." + (b"\r" if rest.endswith(b"\r") else b"")


class MimeScanner:
    """Feeds on a message's header fields and body, and finds what breaks the interface's MIME rules.

    The findings are the same however the body is divided into chunks.
    """

    def __init__(self, fields: Iterable[HeaderField], profile: InterfaceProfile) -> None:
        """Judge the message's own header; the body follows."""
        self._profile = profile
        self._octets = OctetCheck()
        self._lines = LineCutter(max(profile.max_line_octets, _SHORTEST_LINE_BUFFER))
        self._findings: list[Finding] = []
        self._stack: list[_Composite] = []
        self._delimiter: re.Pattern[bytes] | None = None
        self._part = _TOP
        self._parts = 0
        self._content: ContentCheck | None = None
        self._header: bytearray | None = None
        self._header_octets = 0
        self._structured = True
        mime_fields = [field for field in fields if field.name.lower() in _MIME_FIELDS]
        self._judge_version(mime_fields)
        self._open(mime_fields)

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the body."""
        self._octets.feed(chunk)
        self._scan(self._lines.feed(chunk))

    def finish(self) -> list[Finding]:
        """Return the findings, at most ten, after the last octet."""
        self._octets.finish()
        self._scan(self._lines.finish())
        if self._structured:
            self._end_entity()
            self._close_down_to(0)
        if self._lines.longest > self._profile.max_line_octets:
            self._find(reasons.LINE_TOO_LONG, limit=str(self._profile.max_line_octets))
        if self._octets.forbidden:
            self._find(reasons.BODY_OCTET_FORBIDDEN)
        return self._findings[:MAX_FINDINGS]

    # --- lines ---

    def _scan(self, lines: bytes) -> None:
        # A CRLF before every line makes all boundaries look alike; `position` is that of the CRLF before the next line.
        block, position = _CRLF + lines, 0
        end = len(block) - len(_CRLF)
        while position < end and self._structured:
            position = (
                self._scan_header(block, position) if self._header is not None else self._scan_body(block, position)
            )

    def _scan_body(self, block: bytes, position: int) -> int:
        delimiter = self._delimiter.search(block, position) if self._delimiter else None
        end = delimiter.start() if delimiter else len(block) - len(_CRLF)
        if self._content is not None:
            self._content.feed(block[position + len(_CRLF) : end + len(_CRLF)])
        if delimiter is None:
            return end
        self._meet(delimiter)
        return delimiter.end()

    def _scan_header(self, block: bytes, position: int) -> int:
        blank = block.find(_CRLF + _CRLF, position)
        delimiter = (
            self._delimiter.search(block, position, len(block) if blank < 0 else blank + len(_CRLF))
            if self._delimiter
            else None
        )
        if delimiter is not None:
            self._collect(block[position + len(_CRLF) : delimiter.start() + len(_CRLF)])
            self._meet(delimiter)
            return delimiter.end()
        if blank < 0:
            self._collect(block[position + len(_CRLF) :])
            return len(block) - len(_CRLF)
        self._collect(block[position + len(_CRLF) : blank + len(_CRLF)])
        self._end_header()
        return blank + len(_CRLF)

    def _collect(self, lines: bytes) -> None:
        if self._header is not None:
            self._header_octets += len(lines)
            self._header += lines[: max(0, self._profile.max_header_octets - len(self._header))]

    # --- structure ---

    def _begin_header(self, number: str) -> None:
        self._part, self._header, self._header_octets, self._content = number, bytearray(), 0, None

    def _end_header(self) -> None:
        header, self._header = bytes(self._header or b""), None
        if self._header_octets > self._profile.max_header_octets:
            self._find(reasons.HEADER_TOO_LARGE, limit=str(self._profile.max_header_octets))
        self._open([field for field in parse_fields(header, _MAX_HEADER_FIELDS) if field.name.lower() in _MIME_FIELDS])

    def _open(self, fields: Sequence[HeaderField]) -> None:
        """Begin the contents of the part whose MIME header fields these are."""
        content_type = self._judge_content_type(fields)
        encoding = self._judge_encoding(fields, content_type)
        if not content_type.is_composite:
            self._content = check_for(encoding)
            return
        if len(self._stack) >= self._profile.max_depth:
            self._find(reasons.TOO_DEEP, limit=str(self._profile.max_depth))
            return
        composite = _Composite(self._part, content_type)
        self._stack.append(composite)
        self._expect_boundaries()
        if content_type.is_message:
            self._begin_header(composite.child())

    def _meet(self, delimiter: re.Match[bytes]) -> None:
        """At a boundary line, end what is open inside its multipart, and begin the next part or end the multipart."""
        self._end_entity()
        owner = max(index for index, composite in enumerate(self._stack) if composite.boundary == delimiter["boundary"])
        self._close_down_to(owner + 1)
        composite = self._stack[owner]
        if delimiter["close"]:
            self._stack.pop()
            if composite.children == 0:
                self._find(reasons.BOUNDARY_NOT_CLOSED, part=composite.number)
        else:
            self._parts += 1
            if self._parts > self._profile.max_parts:
                self._find(reasons.TOO_MANY_PARTS, limit=str(self._profile.max_parts))
                self._structured = False
                return
            self._begin_header(composite.child())
        self._expect_boundaries()

    def _end_entity(self) -> None:
        # The end of one header may begin another: that of a message in a message.
        for _ in range(self._profile.max_depth + 1):
            if self._header is None:
                break
            self._end_header()
        self._header = None
        if self._content is not None and not self._content.valid():
            self._find(reasons.TRANSFER_ENCODING_INVALID, part=self._part)
        self._content = None

    def _close_down_to(self, depth: int) -> None:
        for composite in reversed(self._stack[depth:]):
            if composite.boundary is not None:
                self._find(reasons.BOUNDARY_NOT_CLOSED, part=composite.number)
        del self._stack[depth:]

    def _expect_boundaries(self) -> None:
        boundaries = {composite.boundary for composite in self._stack if composite.boundary is not None}
        # The closing line of boundary X is also the opening line of a boundary `X--`; the longest is tried first.
        choices = b"|".join(re.escape(boundary) for boundary in sorted(boundaries, key=len, reverse=True))
        pattern = rb"\r\n--(?P<boundary>" + choices + rb")(?P<close>--)?[ \t]{0,100}(?=\r\n)"
        self._delimiter = re.compile(pattern) if boundaries else None

    # --- judgement ---

    def _judge_version(self, fields: Sequence[HeaderField]) -> None:
        versions = [field.value for field in fields if field.name.lower() == "mime-version"]
        if fields and (len(versions) != 1 or not is_mime_version(versions[0])):
            self._find(reasons.MIME_VERSION_INVALID)

    def _judge_content_type(self, fields: Sequence[HeaderField]) -> ContentType:
        values = [field.value for field in fields if field.name.lower() == "content-type"]
        if not values:
            in_digest = bool(self._stack) and self._stack[-1].content_type.media_type == "multipart/digest"
            return MESSAGE if in_digest else PLAIN_TEXT  # RFC 2046 section 5.1.5
        content_type = parse_content_type(values[0]) if len(values) == 1 else None
        if content_type is None:
            self._find(reasons.CONTENT_TYPE_INVALID, part=self._part)
            return PLAIN_TEXT
        if content_type.media_type in _FORBIDDEN_TYPES:
            self._find(reasons.TYPE_FORBIDDEN, type=content_type.media_type, part=self._part)
        return content_type

    def _judge_encoding(self, fields: Sequence[HeaderField], content_type: ContentType) -> str:
        values = [field.value for field in fields if field.name.lower() == "content-transfer-encoding"]
        if not values:
            return "7bit"
        encoding = parse_transfer_encoding(values[0]) if len(values) == 1 else None
        if encoding not in (_COMPOSITE_ENCODINGS if content_type.is_composite else _ENCODINGS):
            self._find(reasons.TRANSFER_ENCODING_INVALID, part=self._part)
            return "7bit"
        return encoding or "7bit"

    def _find(self, reason: reasons.Reason, **parameters: str) -> None:
        finding = Finding(reason, parameters)
        if len(self._findings) < MAX_FINDINGS and finding not in self._findings:
            self._findings.append(finding)
