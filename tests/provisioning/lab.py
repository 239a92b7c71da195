"""Several guests on a network, apart from every other lab on this machine, and gone when whoever made them is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.provisioning import processes
from tests.provisioning.guest import Guest
from tests.provisioning.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

LABS: Final = Path("/var/tmp/digipoort-guests")  # noqa: S108 - root's own folder, 0700
_TOOLS: Final = ("systemd-nspawn", "ip", "dnsmasq", "mmdebstrap", "nsenter", "unshare", "setpriv")
_TRY: Final = """
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
rmdir "/sys/fs/cgroup/$1"
"""


def impossible() -> str | None:
    """Return a sentence on why this machine cannot run guests, or None when it can."""
    if os.geteuid() != 0:
        return "Only root can boot guests."
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"Guests need {', '.join(missing)}, which tests/sandbox/install-packages installs on Debian."
    name = f"dgp-try-{os.getpid()}"
    for what, words in {
        "mount a cgroup2 hierarchy of its own": (
            "unshare", "--mount", "--propagation=private", "/bin/sh", "-euc", _TRY, "sh", name,
        ),
        "make a network namespace with a bridge": (
            "unshare", "--net", "ip", "link", "add", "br0", "type", "bridge",
        ),
        "make a pair of network interfaces": (
            "unshare", "--net", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1",
        ),
    }.items():  # fmt: skip
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            return f"This machine does not let root {what}: {done.stderr.strip()}"
    return None


@dataclass(frozen=True, slots=True)
class Lab:
    """Guests that see each other and nobody else. `bound`: they do not outlive this process."""

    run: str
    bound: bool = False

    @property
    def home(self) -> Path:
        """Return the folder with all the lab has."""
        return LABS / self.run

    @property
    def network(self) -> Network:
        """Return its network."""
        return Network(self.run, self.home)

    def guests(self) -> dict[str, Guest]:
        """Return all guests of this lab."""
        return {
            path.stem: Guest(path.stem, known["release"], known["address"], self.network)
            for path in sorted(self.home.glob("*.guest"))
            for known in [json.loads(path.read_text(encoding="ascii"))]
        }

    def up(self, *names: str, release: str) -> list[Guest]:
        """Boot guests, all at once; one that was shut down keeps its disk, release and address.

        Raises GuestError when one does not come up well.
        """
        LABS.mkdir(mode=0o700, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        if self.bound:
            (self.home / "owner").write_text(processes.myself(), encoding="ascii")
        self.network.up(dies_with_us=self.bound)
        booting = [self._known(name, release) for name in names]
        for guest in booting:
            guest.start(dies_with_us=self.bound)
        for guest in booting:
            guest.wait()
        return booting

    def _known(self, name: str, release: str) -> Guest:
        guest = self.guests().get(name) or Guest(name, release, self.network.free(), self.network)
        self.network.claim(name, guest.address)
        note = {"release": guest.release, "address": guest.address}
        (self.home / f"{name}.guest").write_text(json.dumps(note), encoding="ascii")
        return guest

    def remove(self, guest: Guest) -> None:
        """End a guest and remove its disk."""
        guest.remove()
        (self.home / f"{guest.name}.guest").unlink(missing_ok=True)

    def down(self) -> None:
        """End and remove everything."""
        for guest in self.guests().values():
            self.remove(guest)
        self.network.down()
        shutil.rmtree(self.home, ignore_errors=True)


@contextlib.contextmanager
def lab(run: str) -> Iterator[Lab]:
    """Yield a lab that is gone afterwards: on return, on an exception, and when this process is told to end."""
    sweep()
    made = Lab(run, bound=True)
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield made
    finally:
        made.down()
        signal.signal(signal.SIGTERM, before)


def _leave(_number: int, _frame: FrameType | None) -> None:
    # pytest takes a SystemExit for a failed test, and goes on.
    raise KeyboardInterrupt


def sweep() -> None:
    """Remove what is left of labs whose owner was killed before it could."""
    for home in LABS.glob("*"):
        if (home / "owner").exists() and processes.number(home / "owner") is None:
            Lab(home.name).down()
