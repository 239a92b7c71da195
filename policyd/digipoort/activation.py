"""Listening UNIX sockets: its own, and those that systemd made before the process and keeps (sd_listen_fds(3)).

While a daemon with a socket of systemd's restarts, its clients wait in the socket's queue instead of being refused.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# After a restart of Postfix or Dovecot all their processes connect at once.
BACKLOG: Final = 1024
# Readable and writable for the owner and the group, 0660: who may connect is decided by membership.
SOCKET_UMASK: Final = 0o117
_FIRST_DESCRIPTOR: Final = 3
_MAX_DESCRIPTORS: Final = 16


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that can be listened on; `own` is its path when it goes with this process."""

    socket: socket.socket
    own: Path | None

    def remove(self) -> None:
        """Remove the path, if it is ours: to be called before a wait, after which it may be the next process's."""
        if self.own is not None:
            self.own.unlink(missing_ok=True)


def listener(path: Path, inherited: Mapping[Path, socket.socket]) -> Listener:
    """Return a socket at `path`, mode 0660; one that a former process left there is replaced.

    A socket of `inherited` for that path is taken as it is. Raises OSError, whose filename is the path.
    """
    if path in inherited:
        return Listener(inherited[path], None)
    with contextlib.ExitStack() as unless_bound:
        made = unless_bound.enter_context(socket.socket(socket.AF_UNIX))
        former = os.umask(SOCKET_UMASK)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            made.bind(os.fspath(path))
        except OSError as error:
            error.filename = str(path)
            raise
        finally:
            os.umask(former)
        unless_bound.pop_all()
    return Listener(made, path)


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
