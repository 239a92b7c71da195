"""The real `digipoort-policyd` as a process, and what Postfix and the milters ask it over its sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.resubmission import History, Question, Request, Submitted, format_question, parse_answer
from tests.unit.connections import WAIT_SECONDS, connected
from tests.unit.directory_samples import SETTINGS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

ALLOWED: Final = "DUNNO"
_ACCEPTANCE: Final = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=acceptance\n"
    b"sender=%b\nrecipient=%b\nsize=100\n\n"
)


@dataclass(frozen=True, slots=True)
class Policyd:
    """The program while it runs."""

    sockets: Path

    def asks(self) -> contextlib.closing[Client]:
        """Return a connection as one of Postfix's smtpd has it."""
        return contextlib.closing(Client(connected(self.sockets / "policyd.sock")))

    def remembers(self) -> contextlib.closing[Client]:
        """Return a connection as a milter has it."""
        return contextlib.closing(Client(connected(self.sockets / "resubmission.sock")))


@dataclass(frozen=True, slots=True)
class Client:
    """One connection to the daemon, which answers within WAIT_SECONDS or fails the test."""

    stream: socket.socket

    def verdict(self, sender: str, recipient: str) -> str:
        """Return the action for a recipient at acceptance."""
        return (
            self._answer(_ACCEPTANCE % (sender.encode(), recipient.encode())).decode().strip().removeprefix("action=")
        )

    def claim(self, message: Submitted) -> History:
        """Return what a message is to those before it. Raises resubmission.Unanswered."""
        return parse_answer(self._answer(format_question(Question(Request.CLAIM, message))))

    def close(self) -> None:
        """Hang up."""
        self.stream.close()

    def _answer(self, request: bytes) -> bytes:
        self.stream.sendall(request)
        answer = b""
        while not answer.endswith(b"\n\n"):
            received = self.stream.recv(4096)
            assert received, "policyd hung up"
            answer += received
        return answer


@contextlib.contextmanager
def running_policyd(folder: Path, group: str | None = None, **settings: str) -> Iterator[Policyd]:
    """Run the daemon with its sockets in `folder`, which are the group's if one is named."""
    sockets = {f"{name.upper()}_SOCKET": str(folder / f"{name}.sock") for name in ("policyd", "resubmission")}
    with (folder / "policyd.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "digipoort_policyd"],
            env={**os.environ, **SETTINGS, **sockets, **settings},
            stdin=subprocess.DEVNULL,
            stderr=log,
            group=group,
        )
    try:
        yield Policyd(folder)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
