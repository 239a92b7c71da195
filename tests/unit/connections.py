"""Connections to the UNIX socket of a program that was only just started."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT_SECONDS: Final = 30.0


def connected(path: Path) -> socket.socket:
    """Return a connection to a socket that may not be there yet; each of its operations may take WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(WAIT_SECONDS)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            assert time.monotonic() < deadline, f"nobody listens on {path}"
            time.sleep(0.02)
        else:
            return client


def until(look: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until `look` finds something true."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
