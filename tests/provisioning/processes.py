"""Processes that outlive the call that started them, known by a file that holds their number and start time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def start(words: Sequence[str], note: Path, log: Path, *, dies_with_us: bool) -> None:
    """Run a program in the background, its words in `log`; `note` then names it.

    Whoever is killed cannot clean up: with `dies_with_us`, the kernel ends the program when this process is gone.
    """
    bound = ("setpriv", "--pdeathsig", "TERM", "--") if dies_with_us else ()
    argv = [*bound, *words]
    # Not subprocess: what is meant to outlive its starter is no child to wait for.
    pid = os.posix_spawnp(
        argv[0],
        argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    note.write_text(f"{pid} {_started(pid)}\n", encoding="ascii")


def number(note: Path) -> int | None:
    """Return the number of the process that `note` names, or None when it is gone."""
    try:
        pid, started = map(int, note.read_text(encoding="ascii").split())
    except FileNotFoundError:
        return None
    return pid if started and _started(pid) == started else None


def stop(note: Path, patience: float = 60, *, first: int = signal.SIGTERM) -> bool:
    """End the process that `note` names, and tell whether it went by itself; the note goes too."""
    pid = number(note)
    gone = pid is None or _ended(pid, note, first, patience) or not _ended(pid, note, signal.SIGKILL, patience)
    note.unlink(missing_ok=True)
    return gone


def myself() -> str:
    """Return what a note says about this process."""
    return f"{os.getpid()} {_started(os.getpid())}\n"


def _ended(pid: int, note: Path, how: int, patience: float) -> bool:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return True
    until = time.monotonic() + patience
    while number(note) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _started(pid: int) -> int:
    """Return when a process started, in ticks since boot: with its number that names it for good. 0: it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    if state == "Z":
        _reap(pid)
        return 0
    return int(fields[18])


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # another process's child
        return
