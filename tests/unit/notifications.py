"""The other side of sd_notify(3): a NOTIFY_SOCKET as systemd has it, and what a process told it."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Notified:
    """Hears what is told."""

    socket: socket.socket
    path: Path

    def environment(self, watchdog_seconds: float | None = None) -> dict[str, str]:
        """Return what systemd gives a process; `watchdog_seconds` is WatchdogSec=."""
        told = {"NOTIFY_SOCKET": str(self.path)}
        if watchdog_seconds is not None:
            told["WATCHDOG_USEC"] = f"{watchdog_seconds * 1_000_000:.0f}"
        return told

    def next(self, seconds: float = WAIT_SECONDS) -> list[str]:
        """Return the lines of the next message. Raises TimeoutError when none comes."""
        self.socket.settimeout(seconds)
        return self.socket.recv(4096).decode("utf-8").split("\n")

    def until(self, word: str, seconds: float = WAIT_SECONDS) -> list[list[str]]:
        """Return the messages up to the one with `word` in it. Raises TimeoutError when it does not come."""
        deadline = time.monotonic() + seconds
        heard: list[list[str]] = []
        while not heard or word not in heard[-1]:
            heard.append(self.next(max(0.001, deadline - time.monotonic())))
        return heard

    def waiting(self) -> list[list[str]]:
        """Return the messages that are there now."""
        heard = []
        with contextlib.suppress(TimeoutError):
            while True:
                heard.append(self.next(0.001))
        return heard


@contextlib.contextmanager
def notified(folder: Path) -> Iterator[Notified]:
    """Listen in `folder`."""
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        yield Notified(listening, path)
