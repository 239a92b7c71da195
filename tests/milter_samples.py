"""Messages, notifications as Postfix writes them, and a stand-in for Postfix, shared by the milter's tests."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort import log
from digipoort.interface.fields import HeaderField
from digipoort.resubmission import History, Standing
from digipoort.settings import MilterSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from digipoort.resubmission import Question

REFERENCE: Final = "DP-20260102-0123456789ABCDEF"
DIGEST: Final = "sha256=" + "0f" * 32
LOGICAL_DOMAINS: Final = ("logical.example",)
# What no receipt may hold, wherever Postfix wrote it.
PHYSICAL: Final = (b"phys.example", b"mx7", b"192.0.2.25", b"gwhost", b":2525", b"physicaluser")
BOUNDARY: Final = "5EAEB20C0AA.1767312000/gwhost.phys.example"
CONTENT_TYPE: Final = f' multipart/report; report-type=delivery-status;\n\tboundary="{BOUNDARY}"'.encode()
MAIN_FIELDS: Final = (
    HeaderField(
        "Received", b" by gwhost.phys.example (Postfix)\n\tid 5EAEB20C0AA; Fri, 2 Jan 2026 00:00:00 +0000 (UTC)"
    ),
    HeaderField("Date", b" Fri, 2 Jan 2026 00:00:00 +0000 (UTC)"),
    HeaderField("From", b" MAILER-DAEMON@gateway.example (Mail Delivery System)"),
    HeaderField("Subject", b" Undelivered Mail Returned to Sender"),
    HeaderField("To", b" trader@logical.example"),
    HeaderField("Auto-Submitted", b" auto-replied"),
    HeaderField("MIME-Version", b" 1.0"),
    HeaderField("Content-Type", CONTENT_TYPE),
    HeaderField("Message-Id", b" <20260102000000.5EAEB20C0AA@gateway.example>"),
    HeaderField("X-Postfix-Queue-ID", b" 56EC520C0A4"),
)
SUBMITTED_HEADER: Final = (
    b"From: trader@logical.example\r\nTo: ags@logical.example\r\nSubject: customs\r\n declaration\r\n"
    b"Message-ID: <1@trader.example>\r\n"
    + f"X-Digipoort-Reference: {REFERENCE}\r\nX-Digipoort-Digest: {DIGEST}\r\n".encode()
)
TRANSPORT_HEADER: Final = (
    b"Return-Path: <trader@logical.example>\r\n"
    b"Received: from mx7.phys.example (unknown [192.0.2.25])\r\n\tby gwhost.phys.example (Postfix) with ESMTP\r\n"
    b"Delivered-To: physicaluser@phys.example\r\nX-Original-To: physicaluser@phys.example\r\n"
)
GATEWAY_HEADER: Final = (
    b"X-Digipoort-Measures: octets=1234 header=200 fields=5 received=0 line=76 bare=0 nul=0\r\n"
    b"X-Digipoort-Envelope: ENVID=E1\r\n"
)
RETURNED_BODY: Final = b"UNA:+.? '\r\nUNB+UNOC:3+\xe9'\r\n"


@dataclass(frozen=True, slots=True)
class Fate:
    """One recipient's group of a delivery status, as Postfix writes it."""

    final: str = "ags@logical.example"
    original: str | None = "ags@logical.example"
    action: str = "relayed"
    status: str = "2.0.0"
    diagnostic: str = "smtp; 250 2.0.0 Ok: queued as F3CA924C20B"

    def lines(self) -> list[str]:
        """Return the group's lines, after the blank one that divides groups."""
        original = [f"Original-Recipient: rfc822;{self.original}"] if self.original else []
        return [
            "",
            f"Final-Recipient: rfc822; {self.final}",
            *original,
            f"Action: {self.action}",
            f"Status: {self.status}",
            "Remote-MTA: dns; mx7.phys.example",
            f"Diagnostic-Code: {self.diagnostic}",
        ]


RELAYED: Final = Fate()
REFUSED_AT_HOP: Final = Fate(
    action="failed",
    status="5.6.0",
    diagnostic="smtp; 554-5.6.0 DGP-3001\r\n    (header=Date) The required header Date is missing.\r\n"
    "    554 5.6.0 DGP-3013 (limit=998) A line is longer than 998 octets.",
)
REFUSED_LATE: Final = Fate(
    final="physicaluser@phys.example",
    action="failed",
    status="5.1.1",
    diagnostic="smtp; 550 5.1.1 <physicaluser@phys.example> DGP-2003 (flow=mx7.phys.example) 192.0.2.25:2525",
)
EXPIRED_LATE: Final = Fate(
    final="physicaluser@phys.example",
    action="failed",
    status="4.4.1",
    diagnostic="X-Postfix; connect to mx7.phys.example[192.0.2.25]:2525: Connection refused",
)
DELAYED: Final = Fate(
    final="physicaluser@phys.example",
    action="delayed",
    status="4.4.1",
    diagnostic="X-Postfix; connect to mx7.phys.example[192.0.2.25]:2525: Connection refused",
)


def notification(*fates: Fate, full: bool = True, envelope_id: str = "E+1") -> bytes:
    """Return the body of a notification of Postfix, in CRLF form."""
    status = [
        "Reporting-MTA: dns; gwhost.phys.example",
        f"Original-Envelope-Id: {envelope_id}",
        "X-Postfix-Queue-ID: 56EC520C0A4",
        "X-Postfix-Sender: rfc822; trader@logical.example",
        "Arrival-Date: Fri,  2 Jan 2026 00:00:00 +0000 (UTC)",
    ]
    for fate in fates:
        status += fate.lines()
    text = (
        "This is the mail system at host gwhost.phys.example.\r\n\r\n"
        "<physicaluser@phys.example> (expanded from <ags@logical.example>): host\r\n"
        "    mx7.phys.example[192.0.2.25] said: 550 5.1.1 no such user"
    )
    header = TRANSPORT_HEADER + SUBMITTED_HEADER + GATEWAY_HEADER
    returned = b"Content-Type: message/rfc822\r\n\r\n" + header + b"\r\n" + RETURNED_BODY
    if not full:
        returned = b"Content-Description: Message Headers\r\nContent-Type: text/rfc822-headers\r\n\r\n" + header
    line = f"--{BOUNDARY}\r\n".encode()
    return b"".join(
        [
            b"This is a MIME-encapsulated message.\r\n\r\n",
            line,
            b"Content-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
            text.encode() + b"\r\n\r\n",
            line,
            b"Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n",
            "\r\n".join(status).encode() + b"\r\n\r\n",
            line,
            returned + b"\r\n",
            f"--{BOUNDARY}--\r\n".encode(),
        ]
    )


def settings(profiles_file: Path = Path("/nonexistent/profiles.json")) -> MilterSettings:
    """Return a milter's settings."""
    return MilterSettings(logical_domains=LOGICAL_DOMAINS, gateway_name="gateway.example", profiles_file=profiles_file)


def logger() -> FilteringBoundLogger:
    """Return a logger whose lines pytest's caplog shows."""
    standard = logging.getLogger("milter-test")
    standard.setLevel(logging.INFO)
    return log.wrap(standard)


def nothing_earlier(questions: Sequence[Question]) -> list[History]:
    """Stand in for a policy daemon that remembers no submission."""
    return [History(Standing.FIRST) for _ in questions]


def no_macro(_name: str) -> str | None:
    """Stand in for Postfix's macros where none matters."""
    return None


@dataclass(slots=True)
class Context:
    """Postfix at the other end of one connection: libmilter's context object, recording what a session asks of it."""

    macros: dict[str, str] = field(default_factory=dict)
    session: object = None
    reply: tuple[str | None, ...] | None = None
    added: list[tuple[str, str]] = field(default_factory=list)
    changed: list[tuple[str, int, str]] = field(default_factory=list)
    sender: tuple[str, str | None] | None = None
    body: bytes = b""

    def setpriv(self, session: object) -> None:
        """Keep the session."""
        self.session = session

    def getsymval(self, name: str) -> str | None:
        """Give a macro."""
        return self.macros.get(name)

    def setreply(self, *parts: str | None) -> None:
        """Record the reply."""
        self.reply = parts

    def addheader(self, name: str, value: str, _index: int) -> None:
        """Record an added header."""
        self.added.append((name, value))

    def chgheader(self, name: str, index: int, value: str) -> None:
        """Record a changed header."""
        self.changed.append((name, index, value))

    def chgfrom(self, sender: str, parameters: str | None) -> None:
        """Record a changed sender."""
        self.sender = (sender, parameters)

    def replacebody(self, chunk: bytes) -> None:
        """Record a part of the new body."""
        self.body += chunk


def fields(*pairs: tuple[str, bytes]) -> list[HeaderField]:
    """Return header fields."""
    return [HeaderField(name, value) for name, value in pairs]


def chunks(content: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Divide octets at offsets, taken modulo their number."""
    places = sorted({cut % (len(content) + 1) for cut in cuts} | {0, len(content)})
    return [content[start:end] for start, end in pairwise(places)]
