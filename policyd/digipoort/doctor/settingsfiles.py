"""Who can read, and who can change, the files that hold the programs' passwords."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digipoort.doctor.findings import Finding, fault, ok

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from digipoort.doctor.host import Host

_CHECK = "settings files"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file or folder: its owner's number and its mode."""

    path: Path
    uid: int
    mode: int


def examine(host: Host) -> list[Finding]:
    """Look at the folder of the settings file, at that file whatever its name, and at every other one in the folder."""
    file = host.settings_file
    if not file.exists():
        return [ok(_CHECK, f"there is no {file}: all comes from the environment")]
    return judge(_kept(file.parent), [_kept(path) for path in sorted({file, *file.parent.glob("*.env")})])


def judge(folder: Kept, files: Sequence[Kept]) -> list[Finding]:
    """Return what is wrong with owners and modes."""
    found = []
    if folder.uid != 0 or folder.mode & 0o022:
        text = f"{folder.path} is owned by {folder.uid}, mode {folder.mode:04o}: others than root can change settings"
        found.append(fault(_CHECK, text, f"chown root {folder.path}; chmod go-w {folder.path}"))
    for one in files:
        if one.uid != 0:
            found.append(fault(_CHECK, f"{one.path} is owned by {one.uid}, not root", f"chown root {one.path}"))
        if one.mode & 0o007:
            text = f"{one.path} has mode {one.mode:04o}: every user can use it, and it holds passwords"
            found.append(fault(_CHECK, text, f"chmod o= {one.path}; change the passwords in it"))
        elif one.mode & 0o030:
            found.append(fault(_CHECK, f"{one.path} has mode {one.mode:04o}", f"chmod g=r {one.path}, or g="))
    return found or [ok(_CHECK, f"{len(files)} in {folder.path}, root's and closed to others")]


def _kept(path: Path) -> Kept:
    found = path.stat()
    return Kept(path, found.st_uid, stat.S_IMODE(found.st_mode))
