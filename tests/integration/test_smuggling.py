"""SMTP smuggling: whatever may look like an end of data, one transaction stays one message, and is never two."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.sandbox.clients import body_of, compose, reference_of

if TYPE_CHECKING:
    import smtplib

    from tests.integration.gateway import Gateway

DELIVERED: Final = "delivered"
NEGATIVE: Final = "negative receipt"
REFUSED: Final = "refused in the session"
# Longer than the server takes from one segment to the next, so that each is read on its own.
SEGMENT_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Variant:
    """What stands between the first message and the transaction behind it, in TCP segments, and what must follow."""

    name: str
    segments: tuple[bytes, ...]
    outcome: str
    code: str = ""


VARIANTS: Final = (
    Variant("LF . LF", (b"\n.\n",), REFUSED, "DGP-3014"),
    Variant("LF . CRLF", (b"\n.\r\n",), REFUSED, "DGP-3014"),
    Variant("CRLF . LF", (b"\r\n.\n",), REFUSED, "DGP-3014"),
    Variant("LF LF . CRLF", (b"\n\n.\r\n",), REFUSED, "DGP-3014"),
    Variant("CRLF . LF LF", (b"\r\n.\n\n",), REFUSED, "DGP-3014"),
    Variant("LF . CR", (b"\n.\r",), REFUSED, "DGP-3014"),
    Variant("CR . LF", (b"\r.\n",), REFUSED, "DGP-3014"),
    Variant("CR . CR", (b"\r.\r",), NEGATIVE, "DGP-3014"),
    Variant("CRLF . CR", (b"\r\n.\r",), NEGATIVE, "DGP-3014"),
    Variant("CR . CRLF", (b"\r.\r\n",), NEGATIVE, "DGP-3014"),
    Variant("CR CRLF . CR CRLF", (b"\r\r\n.\r\r\n",), NEGATIVE, "DGP-3014"),
    Variant("CRLF . CR CRLF", (b"\r\n.\r\r\n",), NEGATIVE, "DGP-3014"),
    Variant("NUL after the dot", (b"\r\n.\0\r\n",), REFUSED, "DGP-3014"),
    Variant("NUL before the dot", (b"\r\n\0.\r\n",), REFUSED, "DGP-3014"),
    Variant("NUL for the first CR", (b"\0\n.\r\n",), REFUSED, "DGP-3014"),
    Variant("NUL in the last CRLF", (b"\r\n.\r\0\n",), REFUSED, "DGP-3014"),
    Variant("two dots", (b"\r\n..\r\n",), DELIVERED),
    Variant("a dot and a space", (b"\r\n. \r\n",), DELIVERED),
    Variant("a space and a dot", (b"\r\n .\r\n",), DELIVERED),
    Variant("two dots, one segment each", (b"\r\n", b".", b".", b"\r\n"), DELIVERED),
    Variant("LF . LF, one segment each", (b"\n", b".", b"\n"), REFUSED, "DGP-3014"),
    Variant("CRLF . LF, one segment each", (b"\r\n", b".", b"\n"), REFUSED, "DGP-3014"),
    Variant("CRLF . CR in segments", (b"\r", b"\n", b".", b"\r", b"x\r\n"), NEGATIVE, "DGP-3014"),
)


def _messages(gateway: Gateway, mark: str) -> tuple[bytes, bytes]:
    """Return two messages from TRADER with `mark` in them, the first for AGS and the second for EMCS, without dots."""
    address, second = gateway.env["TRADER_ADDRESS"], gateway.env["EMCS_ADDRESS"]
    return (
        compose(address, gateway.env["AGS_ADDRESS"], "Eerste", f"{mark} eerste").as_bytes().removesuffix(b"\r\n"),
        compose(address, second, "Gesmokkeld", f"{mark} tweede").as_bytes().removesuffix(b"\r\n"),
    )


def _transaction(gateway: Gateway, recipient: str, message: bytes) -> bytes:
    """Return a whole transaction, as a client that waits for no reply sends it."""
    sender = gateway.env["TRADER_ADDRESS"]
    return f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode() + message


def _begin_data(gateway: Gateway) -> smtplib.SMTP:
    """Return a session of TRADER to which the gateway has said 354."""
    session = gateway.smtp(login=gateway.account("TRADER"))
    gateway.command(session, f"MAIL FROM:<{gateway.env['TRADER_ADDRESS']}>")
    gateway.command(session, f"RCPT TO:<{gateway.env['AGS_ADDRESS']}>")
    assert gateway.command(session, "DATA").startswith("354")
    return session


def _send(session: smtplib.SMTP, *segments: bytes) -> None:
    for segment in segments:
        session.send(segment)
        time.sleep(SEGMENT_SECONDS)


def _everywhere(gateway: Gateway, mark: str) -> list[bytes]:
    """Return every mail with `mark` in it that the agency or any mailbox of the gateway holds, receipts too."""
    folders = [Path(gateway.env["AGENCY_MAILDIR"], "new"), *gateway.layout.mail.glob("*/Maildir/new")]
    mails = [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]
    return [mail for mail in mails if mark.encode() in mail]


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_a_variant_of_end_of_data_smuggles_nothing(gateway: Gateway, variant: Variant) -> None:
    mark = uuid.uuid4().hex
    first, second = _messages(gateway, mark)
    behind = _transaction(gateway, gateway.env["EMCS_ADDRESS"], second)
    session = _begin_data(gateway)
    _send(session, first + variant.segments[0], *variant.segments[1:], behind + b"\r\n.\r\n")
    code, text = session.getreply()
    session.send(b"QUIT\r\n")
    # The one reply to the one message, and then the goodbye: nothing was a command but QUIT.
    assert session.getreply()[0] == 221
    session.close()
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    if variant.outcome == REFUSED:
        assert (code, re.findall(rb"DGP-\d{4}", text)) == (550, [variant.code.encode()])
        assert _everywhere(gateway, mark) == []
        assert gateway.receipts(gateway.account("TRADER"), 0) == []
        return
    assert code == 250, text
    copies = gateway.agency_copies(mark)
    receipt = gateway.receipt(gateway.account("TRADER"))
    if variant.outcome == NEGATIVE:
        assert (receipt.action, copies) == ("failed", [])
        assert variant.code in receipt.fields["diagnostic-code"]
    else:
        sent = first + b"".join(variant.segments).replace(b"\r\n..", b"\r\n.").replace(b"\r\n. ", b"\r\n ") + behind
        assert receipt.action == "relayed"
        assert [body_of(copy) for copy in copies] == [sent.partition(b"\r\n\r\n")[2] + b"\r\n"]
        assert reference_of(receipt.raw) == reference_of(copies[0])


def test_a_true_end_of_data_in_segments_ends_the_message(gateway: Gateway) -> None:
    """The control: what this file would see if something were smuggled (RFC 2920 allows commands behind the dot)."""
    mark = uuid.uuid4().hex
    first, second = _messages(gateway, mark)
    behind = _transaction(gateway, gateway.env["EMCS_ADDRESS"], second)
    session = _begin_data(gateway)
    _send(session, first, b"\r\n", b".", b"\r", b"\n")
    assert session.getreply()[0] == 250
    for line in behind.partition(b"DATA\r\n")[0].splitlines(keepends=True):
        session.send(line)
        assert session.getreply()[0] == 250
    session.send(b"DATA\r\n")
    assert session.getreply()[0] == 354
    _send(session, second + b"\r\n", b".\r\n")
    assert session.getreply()[0] == 250
    session.quit()
    actions = [receipt.action for receipt in gateway.receipts(gateway.account("TRADER"), 2)]
    assert actions == ["relayed"] * 2
    assert len(gateway.agency_copies(mark)) == 2
