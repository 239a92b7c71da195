"""The sandbox's syslog for a benchmark: a daemon without one saves the cost of its lines, or looks for one at each."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def running_syslog(folder: Path) -> Iterator[Path]:
    """Run it with its log in `folder`, and yield its socket."""
    address = folder / "syslog.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sandbox.syslogd", str(address), str(folder / "mail.log"), "gateway"]
    )
    try:
        wait_for(address)
        yield address
    finally:
        process.kill()
        process.wait()


def wait_for(path: Path) -> None:
    """Return when a daemon has made its socket. Raises RuntimeError."""
    deadline = time.monotonic() + 20
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path.name} was never made")
        time.sleep(0.02)
