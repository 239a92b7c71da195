"""Postfix's side of the milter protocol, version 6, as far as the benchmarks need it.

The whole of a message goes to the milter in one write, as far as no step is answered: that costs the client so little
that the milter, not the client, is what is measured. Postfix's own packets are the same (mfdef.h of libmilter)::

    packet  = 4 octets, the number of octets that follow, network order; command, 1 octet; data
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import Milter

from tests.bench.declarations import CHUNK_OCTETS, QUEUE_ID, RECIPIENT, SENDER, chunks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from tests.bench.declarations import Message

PROTOCOL_VERSION: Final = 6
# What Postfix 3.7 offers in its negotiation: all actions, all protocol steps.
ACTIONS: Final = 0x1FF
STEPS: Final = 0x1FFFFF
ANSWER_SECONDS: Final = 60.0
_LENGTH: Final = struct.Struct("!I")
_NEGOTIATION: Final = struct.Struct("!III")
# With these settled, nothing but the end of a message is answered.
_UNANSWERED: Final = (
    Milter.P_NOCONNECT | Milter.P_NOHELO | Milter.P_NODATA | Milter.P_NOUNKNOWN | Milter.P_NOEOH
    | Milter.P_NR_MAIL | Milter.P_NR_RCPT | Milter.P_NR_HDR | Milter.P_NR_BODY | Milter.P_HDR_LEADSPC
)  # fmt: skip
_VERDICTS: Final = frozenset({b"a", b"c", b"d", b"r", b"t", b"y"})
_PROGRESS: Final = b"p"
_CHANGE_HEADER: Final = b"m"
_MOST_CHANGES: Final = 1000
_ENVELOPE_MACROS: Final = {
    "j": "gateway.digipoort.test",
    "{daemon_name}": "gateway.digipoort.test",
    "{daemon_addr}": "127.0.0.1",
    "v": "Postfix 3.7.11",
    "_": "localhost [127.0.0.1]",
    "{client_addr}": "127.0.0.1",
    "{client_name}": "localhost",
    "{client_port}": "40112",
}


class ProtocolError(Exception):
    """The milter does not do what the benchmark was made for; the message says what."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the milter says at the end of a message: `verdict` is libmilter's reply code, `a` for accepted."""

    verdict: bytes
    changed_headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """A milter that has been greeted."""

    stream: BinaryIO


def packet(command: bytes, data: bytes = b"") -> bytes:
    """Return one packet; `command` is one octet."""
    return _LENGTH.pack(len(data) + 1) + command + data


def message_packets(message: Message) -> bytes:
    """Return all packets of a message up to the end of its body; recipient and sender are those of the declarations."""
    queue_id = {"i": QUEUE_ID}
    return b"".join(
        [
            _macros(b"M", {"{mail_addr}": SENDER, "{mail_host}": "", "{mail_mailer}": "relay"}),
            packet(b"M", _strings(f"<{SENDER}>", "SIZE=7000")),
            _macros(b"R", {"{rcpt_addr}": RECIPIENT, "{rcpt_host}": "", "{rcpt_mailer}": "relay"}),
            packet(b"R", _strings(f"<{RECIPIENT}>")),
            _macros(b"T", queue_id),
            *(packet(b"L", name.encode("ascii") + b"\0" + value + b"\0") for name, value in message.fields),
            *(packet(b"B", chunk) for chunk in chunks(message.body)),
            _macros(b"E", queue_id),
            packet(b"E"),
        ]
    )


def connect(path: Path) -> Connection:
    """Connect and negotiate. Raises ProtocolError when the milter answers more than the end of a message."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(ANSWER_SECONDS)
    client.connect(str(path))
    stream = cast("BinaryIO", client.makefile("rwb", buffering=CHUNK_OCTETS))
    client.close()  # the stream keeps it open
    stream.write(packet(b"O", _NEGOTIATION.pack(PROTOCOL_VERSION, ACTIONS, STEPS)))
    stream.flush()
    command, data = _read(stream)
    steps = _NEGOTIATION.unpack_from(data)[2] if command == b"O" else 0
    if steps & _UNANSWERED != _UNANSWERED:
        raise ProtocolError(f"the milter wants steps or answers that the benchmark does not give: {steps:#x}")
    stream.write(_macros(b"C", _ENVELOPE_MACROS))
    return Connection(stream)


def ask(connection: Connection, packets: bytes) -> Answer:
    """Hand over a message, or its end, and return the milter's answer. Raises ProtocolError when it gives none."""
    connection.stream.write(packets)
    connection.stream.flush()
    changed: list[str] = []
    for _ in range(_MOST_CHANGES):
        command, data = _read(connection.stream)
        if command in _VERDICTS:
            return Answer(command, tuple(changed))
        if command == _CHANGE_HEADER:
            changed.append(data[_LENGTH.size :].split(b"\0", 1)[0].decode("ascii"))
        elif command != _PROGRESS:
            raise ProtocolError(f"the milter makes a change that the benchmark does not expect: {command!r}")
    raise ProtocolError("the milter's changes do not end")


def close(connection: Connection) -> None:
    """Say goodbye."""
    with connection.stream as stream:
        stream.write(packet(b"Q"))


def _macros(command: bytes, values: Mapping[str, str]) -> bytes:
    return packet(b"D", command + _strings(*(text for pair in values.items() for text in pair)))


def _strings(*texts: str) -> bytes:
    return b"".join(text.encode("ascii") + b"\0" for text in texts)


def _read(stream: BinaryIO) -> tuple[bytes, bytes]:
    head = stream.read(_LENGTH.size)
    octets = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    content = stream.read(octets)
    if not octets or len(content) != octets:
        raise ProtocolError("the milter hung up")
    return content[:1], content[1:]
