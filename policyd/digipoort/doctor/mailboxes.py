"""Whose the mailboxes on this host are, and who else can open them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.doctor.findings import Finding, fault, ok, several, warning

if TYPE_CHECKING:
    from pathlib import Path

    from digipoort.doctor.host import Host

_CHECK: Final = "mailboxes"
_POSTMASTER: Final = "postmaster"
# Where the folder is a file system of its own (ext4): root's, as it must be.
_FILE_SYSTEMS: Final = "lost+found"


@dataclass(frozen=True, slots=True)
class Boxes:
    """The folder of all mailboxes: owner and mode; those in it that have another owner, and those that are open."""

    folder: Path
    uid: int
    mode: int
    number: int
    foreign: tuple[str, ...]
    open: tuple[str, ...]


def examine(host: Host) -> list[Finding]:
    """Look at every mailbox's folder, not into it."""
    folder = host.settings.mail_directory
    if not folder.exists():
        return [fault(_CHECK, f"{folder} is not there", "MAIL_DIRECTORY, the file system's mount")]
    wanted = None if isinstance(host.dovecot, str) else host.dovecot.mail_uid
    box = folder / host.settings.postmaster_mailbox / "Maildir"
    waiting = sum(len(list((box / name).glob("*"))) for name in ("new", "cur"))
    return [*judge(look(folder), wanted), judge_postmaster(box, waiting)]


def judge_postmaster(box: Path, waiting: int) -> Finding:
    """Tell whether receipts are there that could be delivered to nobody."""
    if waiting:
        text = f"{waiting} receipts that could be delivered to nobody are in {box}"
        return warning(_POSTMASTER, text, "tell the parties, then delete what is dealt with")
    return ok(_POSTMASTER, "no receipt is undeliverable")


def look(folder: Path) -> Boxes:
    """Return what owners and modes are. Raises OSError."""
    found = folder.stat()
    number, foreign, wide = 0, [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == _FILE_SYSTEMS:
                continue
            try:
                one = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed meanwhile
            number += 1
            if one.st_uid != found.st_uid:
                foreign.append(entry.name)
            elif one.st_mode & 0o077:
                wide.append(entry.name)
    return Boxes(folder, found.st_uid, stat.S_IMODE(found.st_mode), number, tuple(sorted(foreign)), tuple(sorted(wide)))


def judge(boxes: Boxes, wanted: int | None) -> list[Finding]:
    """Tell what is wrong with owners and modes; `wanted` is the owner by Dovecot's configuration, if that is known."""
    found = []
    if wanted is not None and boxes.uid != wanted:
        text = f"{boxes.folder} is owned by {boxes.uid}, not by Dovecot's user for mail, {wanted}"
        found.append(fault(_CHECK, text, f"chown -R {wanted}:{wanted} {boxes.folder}"))
    if boxes.mode & 0o027:
        text = f"{boxes.folder} has mode {boxes.mode:04o}: others can look into it"
        found.append(fault(_CHECK, text, f"chmod 0750 {boxes.folder}"))
    if boxes.foreign:
        text = f"{len(boxes.foreign)} are not the owner's: {several(list(boxes.foreign))}"
        found.append(fault(_CHECK, text, f"chown -R --reference={boxes.folder} of each: Dovecot cannot use them"))
    if boxes.open:
        text = f"{len(boxes.open)} are open to others: {several(list(boxes.open))}"
        found.append(fault(_CHECK, text, "chmod 0700 of each"))
    return found or [ok(_CHECK, f"{boxes.number} in {boxes.folder}, closed to all but their owner")]
