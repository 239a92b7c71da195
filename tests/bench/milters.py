"""Milter processes for a benchmark: the gateway's acceptance milter and its peer, each with a socket of its own.

Each logs to a syslog that reads and forgets, and says what it cannot log there on its standard error, which is dropped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.bench.declarations import profiles_file
from tests.sandbox.layout import group_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_SECONDS: Final = 20.0
# What the sandbox's syslog does with a line would take the milter's second core.
_SYSLOGD: Final = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
    receiver.bind(sys.argv[1])
    while receiver.recv(65536):
        pass
"""


@dataclass(frozen=True, slots=True)
class RunningMilter:
    """A milter process and the socket that it listens on."""

    pid: int
    socket: Path

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used so far, in user and kernel mode."""
        numbers = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, key: str) -> int:
        """Return octets of memory by the key of /proc/PID/status, e.g. VmRSS."""
        return int(self._status(key).split()[0]) * 1024

    def threads(self) -> int:
        """Return how many threads the process has now."""
        return int(self._status("Threads"))

    def _status(self, key: str) -> str:
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return value
        raise RuntimeError(f"no {key} in the status of process {self.pid}")


@contextmanager
def work_folder() -> Iterator[Path]:
    """Make a folder that Postfix's processes may enter, with the flow profiles and a syslog in it."""
    with tempfile.TemporaryDirectory(prefix="digipoort-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "profiles.json").write_bytes(profiles_file({}))
        log = folder / "syslog.sock"
        with _process((sys.executable, "-c", _SYSLOGD, str(log)), {}, log):
            yield folder


@contextmanager
def acceptance_milter(folder: Path) -> Iterator[RunningMilter]:
    """Run the gateway's acceptance milter as a mail host does: a process of its own that logs to syslog."""
    environment = {
        "MILTER_DIRECTORY": str(folder),
        "PROFILES_FILE": str(folder / "profiles.json"),
        "SYSLOG_SOCKET": str(folder / "syslog.sock"),
        "LOGICAL_DOMAINS": "overheid.digipoort.test, partij.digipoort.test",
    }
    command = (sys.executable, "-m", "digipoort_milter", "acceptance")
    socket = folder / "milter-acceptance.sock"
    with _process(command, environment, socket) as pid:
        yield RunningMilter(pid, socket)


@contextmanager
def noop_milter(folder: Path, removed: tuple[str, ...]) -> Iterator[RunningMilter]:
    """Run the peer; it removes one header of each name in `removed`."""
    socket = folder / "milter-noop.sock"
    command = (sys.executable, "-m", "tests.bench.noop_milter", str(socket), *removed)
    with _process(command, {}, socket) as pid:
        yield RunningMilter(pid, socket)


@contextmanager
def _process(command: tuple[str, ...], environment: Mapping[str, str], socket: Path) -> Iterator[int]:
    """Run a program, from when its socket is there until the end of the block."""
    with ExitStack() as stack:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, group=group_id("postfix"), stderr=subprocess.DEVNULL
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        deadline = time.monotonic() + START_SECONDS
        while not socket.is_socket():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} does not listen")
            time.sleep(0.05)
        shutil.chown(socket, group="postfix")
        yield process.pid
