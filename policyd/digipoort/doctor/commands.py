"""Runs the programs that `digipoort doctor` asks: as a list, without a shell, with an end."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMAND_SECONDS: Final = 10.0
TOOK_TOO_LONG: Final = 124


@dataclass(frozen=True, slots=True)
class Said:
    """What a program printed, and its exit status; 127 when it could not be run, 124 when it took too long."""

    status: int
    output: str
    errors: str

    @property
    def first_error(self) -> str:
        """The first line that it printed as an error, or its status."""
        lines = self.errors.strip().splitlines()
        return lines[0] if lines else f"exit status {self.status}"


@dataclass(frozen=True, slots=True)
class User:
    """Whom a program runs as: the number and one group, as Postfix's own processes have."""

    uid: int
    gid: int


def run(
    words: Sequence[str | Path], *, stdin: str = "", user: User | None = None, seconds: float | None = None
) -> Said:
    """Run a program and return what it said; as another user if this one may do that. None: COMMAND_SECONDS."""
    seconds = COMMAND_SECONDS if seconds is None else seconds
    other = user if user is not None and os.geteuid() == 0 else None
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell; the arguments are settings and fixed words
            [str(word) for word in words],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            user=other.uid if other else None,
            group=other.gid if other else None,
            extra_groups=[] if other else None,
        )
    except subprocess.TimeoutExpired:
        return Said(TOOK_TOO_LONG, "", f"{words[0]} took longer than {seconds:g} seconds")
    except OSError as error:
        return Said(127, "", f"{words[0]}: {error.strerror}")
    return Said(done.returncode, done.stdout, done.stderr)
