"""Asks the policy daemon about earlier submissions: blocking, because a milter's thread serves one message."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from digipoort.resubmission import END_OF_BLOCK, MAX_BLOCK_OCTETS, Unanswered, format_question, parse_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from digipoort.resubmission import History, Question

    # What `ask` is once its socket and deadline are known, for those who are handed it or something in its place.
    Ask: TypeAlias = Callable[[Sequence[Question]], list[History]]

_READ_OCTETS: Final = 4096


def ask(path: Path, deadline: float, questions: Sequence[Question]) -> list[History]:
    """Return the answers to the questions, in their order, over one connection to the socket at `path`.

    `deadline` is in seconds and covers everything. Raises Unanswered when one is not answered, whatever the cause.
    """
    until = time.monotonic() + deadline
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            _limit(connection, until)
            connection.connect(str(path))
            return [_exchange(connection, question, until) for question in questions]
    except OSError as error:
        raise Unanswered(f"{path}: {error}") from error


def _exchange(connection: socket.socket, question: Question, until: float) -> History:
    _limit(connection, until)
    connection.sendall(format_question(question))
    received = b""
    while not received.endswith(END_OF_BLOCK):
        _limit(connection, until)
        chunk = connection.recv(_READ_OCTETS)
        received += chunk
        if not chunk or len(received) > MAX_BLOCK_OCTETS:
            raise Unanswered("The connection ended, or the answer does not.")
    return parse_answer(received)


def _limit(connection: socket.socket, until: float) -> None:
    """Let the next step take no longer than what is left. Raises TimeoutError when nothing is."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer within the deadline")
    connection.settimeout(left)
