"""The network of a lab: a bridge in a namespace of its own, one more namespace per guest; the host is not on it.

dnsmasq answers for the guests' names, and a relay (relay.py) leads their apt, and nothing else, to the mirror.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.provisioning import processes

DOMAIN: Final = "lab.test"
ROUTER: Final = "10.88.0.1"
RELAY_PORT: Final = 3142
_NETWORK: Final = "10.88.0."
_FIRST: Final = 10


@dataclass(frozen=True, slots=True)
class Network:
    """One lab's network; `home` is the folder of the lab."""

    run: str
    home: Path

    @property
    def bridge(self) -> str:
        """Name the namespace that the bridge is in."""
        return f"dgp-{self.run}"

    def namespace(self, guest: str) -> str:
        """Name the namespace of a guest."""
        return f"dgp-{self.run}-{guest}"

    def up(self, *, dies_with_us: bool) -> None:
        """Make the bridge, and start dnsmasq and the relay there, unless they are there already."""
        if not Path("/run/netns", self.bridge).exists():
            _ip("netns", "add", self.bridge)
            _ip("-n", self.bridge, "link", "set", "lo", "up")
            _ip("-n", self.bridge, "link", "add", "br0", "type", "bridge")
            _ip("-n", self.bridge, "addr", "add", f"{ROUTER}/24", "dev", "br0")
            _ip("-n", self.bridge, "link", "set", "br0", "up")
        (self.home / "hosts").mkdir(exist_ok=True)
        inside = ("ip", "netns", "exec", self.bridge)
        programs = {
            "names": (
                *inside, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root",
                # A process that changes its group is not ended any more when its parent is.
                "--group=root", "--no-resolv", "--no-hosts", f"--hostsdir={self.home / 'hosts'}", f"--local=/{DOMAIN}/",
                "--local=//",
                "--address=/#/", f"--listen-address={ROUTER}", "--bind-interfaces",
            ),
            "relay": (sys.executable, "-m", "tests.provisioning.relay", self.bridge),
        }  # fmt: skip
        for name, words in programs.items():
            note = self.home / f"{name}.process"
            if processes.number(note) is None:
                processes.start(words, note, self.home / f"{name}.log", dies_with_us=dies_with_us)

    def down(self) -> None:
        """Remove everything again."""
        for name in ("names", "relay"):
            processes.stop(self.home / f"{name}.process", 5)
        if Path("/run/netns", self.bridge).exists():
            _ip("netns", "del", self.bridge)

    def free(self) -> str:
        """Return an address that no guest has."""
        taken = {path.read_text(encoding="ascii").split()[0] for path in (self.home / "hosts").iterdir()}
        return next(one for last in range(_FIRST, 255) if (one := f"{_NETWORK}{last}") not in taken)

    def attach(self, guest: str, address: str) -> None:
        """Give a guest its namespace, with an address that its name leads to."""
        name = self.namespace(guest)
        if Path("/run/netns", name).exists():
            return
        port = f"v-{guest}"[:15]
        _ip("netns", "add", name)
        _ip("-n", self.bridge, "link", "add", port, "type", "veth", "peer", "name", "host0", "netns", name)
        _ip("-n", self.bridge, "link", "set", port, "master", "br0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "host0")
        _ip("-n", name, "link", "set", "host0", "up")
        _ip("-n", name, "route", "add", "default", "via", ROUTER)

    def claim(self, guest: str, address: str) -> None:
        """Have a guest's name, and its names below it, lead to its address."""
        (self.home / "hosts" / guest).write_text(f"{address} {guest}.{DOMAIN} {guest}\n", encoding="ascii")

    def detach(self, guest: str) -> None:
        """Take a guest off the network."""
        (self.home / "hosts" / guest).unlink(missing_ok=True)
        if Path("/run/netns", self.namespace(guest)).exists():
            _ip("netns", "del", self.namespace(guest))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
