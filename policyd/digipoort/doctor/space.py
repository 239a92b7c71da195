"""Whether the file systems of queue, mailboxes and maps have room."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor.findings import Finding, Level, ok

if TYPE_CHECKING:
    from digipoort.doctor.host import Host

_CHECK: Final = "disk"
GIB: Final = 1 << 30
WARNING_SHARE: Final = 0.15
FAULT_SHARE: Final = 0.05
# A large disk that is nearly full still has room for days; a share alone would cry wolf.
WARNING_OCTETS: Final = 20 * GIB
FAULT_OCTETS: Final = 5 * GIB
LEAST_OCTETS: Final = GIB // 4


@dataclass(frozen=True, slots=True)
class Room:
    """A folder's file system: free and all octets and inodes; one that makes inodes as it needs them has none."""

    name: str
    free: int
    size: int
    free_inodes: int
    inodes: int


def examine(host: Host) -> list[Finding]:
    """Look at each folder's file system."""
    folders = {"mailboxes": host.settings.mail_directory, "maps": host.settings.maps_directory}
    if not isinstance(host.postfix, str):
        folders["queue"] = Path(host.postfix.main["queue_directory"])
    return [judge(_room(name, path)) for name, path in folders.items() if path.exists()]


def judge(room: Room) -> Finding:
    """Tell how much room there is: Postfix takes no mail any more below 1.5 times its largest message."""
    share = room.free / room.size if room.size else 0.0
    inode_share = room.free_inodes / room.inodes if room.inodes else 1.0
    level = max(_octets(room.free, share), _inodes(inode_share), key=list(Level).index)
    text = f"{room.name}: {room.free / GIB:.1f} GiB free ({share:.0%})"
    if room.inodes:
        text += f", {inode_share:.0%} of the inodes"
    if level is Level.OK:
        return ok(_CHECK, text)
    return Finding(_CHECK, level, text, "digipoort mailbox usage, old logs and maps; or a larger disk")


def _octets(free: int, share: float) -> Level:
    if free < LEAST_OCTETS or (share < FAULT_SHARE and free < FAULT_OCTETS):
        return Level.FAULT
    return Level.WARNING if share < WARNING_SHARE and free < WARNING_OCTETS else Level.OK


def _inodes(share: float) -> Level:
    if share < FAULT_SHARE:
        return Level.FAULT
    return Level.WARNING if share < WARNING_SHARE else Level.OK


def _room(name: str, folder: Path) -> Room:
    found = os.statvfs(folder)
    return Room(name, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files)
