"""Asks our own daemons a question that changes nothing, over the sockets that Postfix and Dovecot use.

Each probe returns why there was no good answer; empty when there was.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

from digipoort import references, resubmission
from digipoort.doctor.loginprobe import fault as sasl
from digipoort_auth import protocol as authd_protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["authd", "lmtp", "milter", "policy", "resubmissions", "sasl"]

PROBE_SECONDS: Final = 5.0
# Nobody's: RFC 2606 keeps the domain free.
_ADDRESS: Final = "doctor@digipoort.invalid"
_LOGIN: Final = b"digipoort-doctor"
_MAX_OCTETS: Final = 65536
# libmilter's mfdef.h: the length of what follows, then a command; what Postfix offers.
_PACKET: Final = struct.Struct("!Ic")
_OFFER: Final = struct.Struct("!III")
_MILTER_VERSION: Final = 6
_ACTIONS: Final = 0x1FF
_STEPS: Final = 0x1FFFFF


def policy(path: Path) -> str:
    """Ask the policy daemon whether acceptance would take a message that nobody sends."""
    request = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "policy_context": "acceptance",
        "instance": "digipoort-doctor",
        "sender": _ADDRESS,
        "recipient": _ADDRESS,
    }
    octets = "".join(f"{name}={value}\n" for name, value in request.items()).encode("ascii") + b"\n"
    answer = _exchange(path, octets, lambda received: received.endswith(b"\n\n"))
    action = answer.decode("ascii", "replace").strip().removeprefix("action=")
    # It is refused for good. What is temporary tells what is wrong with the daemon, not with the message.
    return "" if answer.startswith(b"action=5") else f"answers {action or 'nothing'}"


def resubmissions(path: Path) -> str:
    """Ask the policy daemon, as milters do, whether a message that nobody sent came before."""
    message = resubmission.Submitted(
        references.new_reference(), _ADDRESS.encode(), _ADDRESS.encode(), b"<doctor@digipoort.invalid>", "0" * 64
    )
    question = resubmission.format_question(resubmission.Question(resubmission.Request.RECALL, message))
    answer = _exchange(path, question, lambda received: received.endswith(resubmission.END_OF_BLOCK))
    try:
        resubmission.parse_answer(answer)
    except resubmission.Unanswered as fault:
        return f"answers {fault}"
    return ""


def authd(path: Path) -> str:
    """Look up a login that nobody has: authd asks the directory."""
    line = b"\t".join((authd_protocol.VERSION, b"lookup", b"login=" + _LOGIN)) + authd_protocol.END_OF_LINE
    answer = _exchange(path, line, lambda received: received.endswith(authd_protocol.END_OF_LINE))
    if answer == authd_protocol.FAIL or answer.startswith(b"ok"):
        return ""
    if answer == authd_protocol.TEMP:
        return "answers temporary: it has no directory"
    return "answers nothing: is this user one of AUTHD_PEERS?" if not answer else "does not speak authd's protocol"


def milter(path: Path) -> str:
    """Begin as Postfix does with a milter, and leave it at that."""
    offer = _OFFER.pack(_MILTER_VERSION, _ACTIONS, _STEPS)
    answer = _exchange(
        path,
        _PACKET.pack(len(offer) + 1, b"O") + offer,
        lambda received: len(received) >= _PACKET.size + _OFFER.size,
        _PACKET.pack(1, b"Q"),
    )
    is_one = len(answer) >= _PACKET.size + _OFFER.size and _PACKET.unpack_from(answer)[1] == b"O"
    return "" if is_one else "does not speak the milter protocol"


def lmtp(path: Path) -> str:
    """Greet Dovecot's LMTP server."""
    answer = _exchange(path, b"LHLO doctor.invalid\r\nQUIT\r\n", lambda received: b"\r\n221 " in received)
    return "" if answer.startswith(b"220 ") and b"\r\n250 " in answer else "does not speak LMTP"


def _exchange(path: Path, octets: bytes, is_whole: Callable[[bytes], bool], goodbye: bytes = b"") -> bytes:
    """Return what a socket answers, until it is whole or the connection ends. Raises OSError."""
    until = time.monotonic() + PROBE_SECONDS
    received = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PROBE_SECONDS)
        connection.connect(str(path))
        connection.sendall(octets)
        while not is_whole(received) and len(received) < _MAX_OCTETS:
            connection.settimeout(max(until - time.monotonic(), 0.001))
            more = connection.recv(_MAX_OCTETS)
            if not more:
                break
            received += more
        with contextlib.suppress(OSError):  # whoever ended the connection needs no goodbye
            connection.sendall(goodbye)
    return received
