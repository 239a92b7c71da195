"""Whether a server of Dovecot's authentication protocol is on a socket: for `digipoort doctor`."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PROBE_SECONDS: Final = 2.0
_MAX_OCTETS: Final = 8192
_END: Final = b"\nDONE\n"


def fault(path: Path) -> str:
    """Return why no login could be begun over the socket at `path`; empty when the server's handshake is there.

    Raises OSError when nobody listens, or nothing comes.
    """
    until = time.monotonic() + PROBE_SECONDS
    received = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PROBE_SECONDS)
        connection.connect(str(path))
        connection.sendall(b"VERSION\t1\t1\nCPID\t%d\n" % os.getpid())
        while not received.endswith(_END):
            connection.settimeout(max(until - time.monotonic(), 0.001))
            octets = connection.recv(_MAX_OCTETS)
            received += octets
            if not octets or len(received) > _MAX_OCTETS:
                return "does not speak Dovecot's authentication protocol, or not with this user"
    return ""
