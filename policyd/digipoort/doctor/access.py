"""Whether a user could open a file, told from owners and modes on the way to it: nobody's rights are taken on."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import os
    from collections.abc import Collection
    from pathlib import Path

READ: Final = 4
WRITE: Final = 2
SEARCH: Final = 1


def obstacle(path: Path, uid: int, gids: Collection[int], wanted: int) -> Path | None:
    """Return what keeps a user with these groups from a file: it or a folder above it. None: nothing.

    Access control lists are not looked at. Raises OSError.
    """
    if uid == 0:
        return None
    for folder in reversed(path.parents):
        if not allows(folder.stat(), uid, gids, SEARCH):
            return folder
    return None if allows(path.stat(), uid, gids, wanted) else path


def allows(found: os.stat_result, uid: int, gids: Collection[int], wanted: int) -> bool:
    """Tell whether the mode lets a user do all that is wanted: the first class that fits counts, as in the kernel."""
    shift = 6 if found.st_uid == uid else 3 if found.st_gid in gids else 0
    return (stat.S_IMODE(found.st_mode) >> shift) & wanted == wanted
