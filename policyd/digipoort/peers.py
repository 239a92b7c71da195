"""Who is at the other end of a UNIX socket: the kernel tells, beside the socket's mode, who is kept out."""

from __future__ import annotations

import pwd
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_UCRED: Final = struct.Struct("3i")


class UnknownUserError(Exception):
    """A user name that this host does not have; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Return the process at the other end of a UNIX socket, as it was when it connected."""
    pid, uid, _gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid)


def user_ids(names: Iterable[str]) -> frozenset[int]:
    """Return the numbers of users, each given by name or number. Raises UnknownUserError."""
    return frozenset(int(name) if name.isdigit() else _user_id(name) for name in names)


def _user_id(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UnknownUserError(f"This host has no user {name}.") from None
