"""The benchmarks' side of the milter protocol: what it sends, what it reads, and what it does not measure."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.bench import milter_client
from tests.bench.declarations import CHUNK_OCTETS, plain, with_attachment
from tests.bench.milter_client import Answer, ProtocolError, packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Every step without an answer, but of those that carry the message none left out (libmilter's SMFIP_ bits).
SETTLED = 0x1FF7FF & ~0x3C


def commands(packets: bytes) -> list[tuple[bytes, bytes]]:
    """Return each packet's command and data."""
    found, position = [], 0
    while position < len(packets):
        (octets,) = struct.unpack_from("!I", packets, position)
        content = packets[position + 4 : position + 4 + octets]
        found.append((content[:1], content[1:]))
        position += 4 + octets
    return found


@contextmanager
def milter(path: Path, steps: int, *replies: bytes) -> Iterator[None]:
    """Answer one connection: a negotiation with `steps`, and the replies after the first message."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as session:
                session.recv(65536)
                session.sendall(packet(b"O", struct.pack("!III", 6, 0x1FF, steps)))
                if session.recv(65536):
                    session.sendall(b"".join(replies))

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_a_message_is_sent_as_postfix_sends_it() -> None:
    message = with_attachment(3 * CHUNK_OCTETS)
    sent = commands(milter_client.message_packets(message))
    order = b"".join(command for command, _ in sent)
    assert order == b"DMDRD" + b"L" * len(message.fields) + b"B" * 4 + b"DE"
    assert b"".join(data for command, data in sent if command == b"B") == message.body
    assert tuple(data.split(b"\0")[0].decode() for command, data in sent if command == b"L") == tuple(
        name for name, _ in message.fields
    )


def test_an_answer_has_the_verdict_and_the_changed_headers(tmp_path: Path) -> None:
    path = tmp_path / "milter.sock"
    change = packet(b"m", struct.pack("!I", 1) + b"X-Digipoort-Measures\0\0")
    with milter(path, SETTLED, packet(b"p"), change, packet(b"a")):
        connection = milter_client.connect(path)
        answer = milter_client.ask(connection, milter_client.message_packets(plain(2000)))
        connection.stream.close()
    assert answer == Answer(b"a", ("X-Digipoort-Measures",))


def test_a_milter_that_answers_every_step_is_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "milter.sock"
    with milter(path, 0), pytest.raises(ProtocolError, match="does not give"):
        milter_client.connect(path)


@pytest.mark.parametrize("reply", [b"", packet(b"h", b"X-Added\0 1\0")])
def test_what_is_no_answer_is_told(tmp_path: Path, reply: bytes) -> None:
    path = tmp_path / "milter.sock"
    with milter(path, SETTLED, reply):
        connection = milter_client.connect(path)
        with pytest.raises(ProtocolError, match="hung up|does not expect"):
            milter_client.ask(connection, milter_client.message_packets(plain(2000)))
        connection.stream.close()


def test_smtp_source_is_given_the_same_message() -> None:
    message = with_attachment(5000)
    # smtp-source ends every line, and the message once more.
    sent = b"".join(line + b"\r\n" for line in message.source().split(b"\n")[:-1]) + b"\r\n"
    header, _, body = sent.partition(b"\r\n\r\n")
    assert body == message.body
    assert header.count(b"\r\n") == sum(value.count(b"\n") + 1 for _, value in message.fields) - 1
