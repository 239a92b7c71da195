"""Asking over a socket that answers, is not there, is silent, drips, babbles or hangs up: one deadline for it all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from digipoort.resubmission import (
    History,
    Question,
    Request,
    Standing,
    Submitted,
    Unanswered,
    format_answer,
    format_question,
)
from digipoort_milter.resubmission_client import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EARLIER = "DP-20260101-0000000000000000"
QUESTIONS = [
    Question(request, Submitted(EARLIER, b"a@party.test", b"ags@gov.test", b"<1@party.test>", "0f" * 32))
    for request in Request
]
ANSWERS = [History(Standing.FIRST), History(Standing.REPEATED, EARLIER), History(Standing.REUSED, EARLIER)]
DEADLINE = 0.4


@contextlib.contextmanager
def _daemon(path: Path, behave: Callable[[socket.socket], None]) -> Iterator[None]:
    """Serve one connection in a thread."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            behave(connection)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(5)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def _until_gone(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def test_questions_are_answered_in_their_order(tmp_path: Path) -> None:
    def behave(connection: socket.socket) -> None:
        for question, answer in zip(QUESTIONS, ANSWERS, strict=True):
            received = b""
            while not received.endswith(b"\n\n"):
                received += connection.recv(7)
            assert received == format_question(question)
            octets = format_answer(answer)
            connection.sendall(octets[:5])
            time.sleep(0.01)
            connection.sendall(octets[5:])

    with _daemon(tmp_path / "socket", behave):
        assert ask(tmp_path / "socket", 5, QUESTIONS) == ANSWERS


def test_no_question_needs_no_answer(tmp_path: Path) -> None:
    with _daemon(tmp_path / "socket", _until_gone):
        assert ask(tmp_path / "socket", 5, []) == []


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="No such file"):
        ask(tmp_path / "none", DEADLINE, QUESTIONS)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "socket"))
    with pytest.raises(Unanswered, match="refused"):
        ask(tmp_path / "socket", DEADLINE, QUESTIONS)


def _drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x")
        time.sleep(DEADLINE / 8)


def _answer_one(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(format_answer(ANSWERS[0]))
    _until_gone(connection)


@pytest.mark.parametrize("behave", [_until_gone, _drip, _answer_one])
def test_one_deadline_covers_everything(tmp_path: Path, behave: Callable[[socket.socket], None]) -> None:
    with _daemon(tmp_path / "socket", behave):
        started = time.monotonic()
        with pytest.raises(Unanswered):
            ask(tmp_path / "socket", DEADLINE, QUESTIONS)
        elapsed = time.monotonic() - started
    assert DEADLINE * 0.9 <= elapsed < DEADLINE * 3


def test_a_queue_that_is_full_costs_no_more_than_the_deadline(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(0)
        for _ in range(3):
            client = waiting.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            client.connect_ex(str(tmp_path / "socket"))
        started = time.monotonic()
        with pytest.raises(Unanswered):
            ask(tmp_path / "socket", DEADLINE, QUESTIONS)
        assert time.monotonic() - started < DEADLINE * 3


def _babble(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def _hang_up(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"standing=first\n")


@pytest.mark.parametrize("behave", [_babble, _hang_up])
def test_what_is_no_answer_ends_the_matter(tmp_path: Path, behave: Callable[[socket.socket], None]) -> None:
    with _daemon(tmp_path / "socket", behave), pytest.raises(Unanswered):
        ask(tmp_path / "socket", 5, QUESTIONS)
