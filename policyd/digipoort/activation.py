"""Listening sockets that systemd made before this process and keeps after it (sd_listen_fds(3)).

While a daemon restarts, its clients wait in the socket's queue instead of being refused.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST_DESCRIPTOR: Final = 3
_MAX_DESCRIPTORS: Final = 16


def inherited_sockets(environment: Mapping[str, str]) -> dict[Path, socket.socket]:
    """Return the UNIX stream sockets that were handed to this process, by path; none when they were not meant for it.

    Raises OSError when a descriptor is no socket.
    """
    number = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not number.isdigit():
        return {}
    found = {}
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + min(int(number), _MAX_DESCRIPTORS)):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the parameter has no name
        listening = socket.socket(fileno=descriptor)
        if listening.family == socket.AF_UNIX and listening.type == socket.SOCK_STREAM:
            found[Path(os.fsdecode(listening.getsockname()))] = listening
    return found
