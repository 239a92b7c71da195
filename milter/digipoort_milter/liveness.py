"""Whether the milter answers, as Postfix would find it: what systemd is told comes from that (digipoort.readiness).

libmilter has its own loop and threads, and calls Python only for a connection. So a thread connects to the milter's
socket now and then, and negotiates: an answer proves that the socket is accepted from, that a thread takes the
connection, and that Python runs in it. A milter that hangs in any of them is not told to be alive.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

from digipoort import readiness

if TYPE_CHECKING:
    from pathlib import Path

RETRY_SECONDS: Final = 1.0
STARTING_RETRY_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 10.0
# libmilter's mfdef.h: octets that follow, command; in a negotiation the protocol's version, actions and steps offered.
_HEAD: Final = struct.Struct("!Ic")
_OFFER: Final = struct.Struct("!III")
_NEGOTIATE: Final = b"O"
_VERSION: Final = 6
_ALL_ACTIONS: Final = 0x1FF
_ALL_STEPS: Final = 0x1FFFFF
_QUIT: Final = _HEAD.pack(1, b"Q")


def watch(path: Path, status: str) -> None:
    """Tell systemd when the milter at `path` answers, and go on telling if there is a watchdog, in a thread."""
    if not readiness.is_awaited():
        return
    # The thread keeps this mask: libmilter's own thread waits for the signals, and any other that took one would end
    # the process at once.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=_tell, args=(path, status), daemon=True, name="liveness").start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def answers(path: Path, seconds: float = ANSWER_SECONDS) -> bool:
    """Return whether the milter at `path` negotiates, each step within `seconds`."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(str(path))
        client.sendall(_HEAD.pack(1 + _OFFER.size, _NEGOTIATE) + _OFFER.pack(_VERSION, _ALL_ACTIONS, _ALL_STEPS))
        answer = client.recv(_HEAD.size, socket.MSG_WAITALL)
        client.sendall(_QUIT)
        return answer[-1:] == _NEGOTIATE
    return False


def _tell(path: Path, status: str) -> None:
    while not answers(path):
        time.sleep(STARTING_RETRY_SECONDS)
    readiness.ready(status)
    interval = readiness.ping_seconds()
    while interval:
        time.sleep(interval)
        while not answers(path):
            time.sleep(RETRY_SECONDS)
        readiness.alive()
