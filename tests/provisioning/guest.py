"""One guest: a Debian with its own systemd in systemd-nspawn, on a machine whose own init may be anything."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests import bootstrap
from tests.provisioning import processes, releases
from tests.provisioning.network import DOMAIN, RELAY_PORT, ROUTER, Network

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
# A pure cgroup2 in a mount namespace of its own, as the machine's may be of the old kind; a cgroup per guest, which
# nspawn stays in (--keep-unit); /run/systemd apart, as nspawn keeps notes there.
_BOOT: Final = """
name=$1 root=$2 namespace=$3
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$namespace"
echo $$ >"/sys/fs/cgroup/$namespace/cgroup.procs"
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
exec systemd-nspawn --quiet --directory="$root" --machine="$name" --boot --register=no --keep-unit --link-journal=no \
    --resolv-conf=off --timezone=off --console=pipe --kill-signal=SIGRTMIN+3 --rlimit=NOFILE=1024:524288 \
    --network-namespace-path="/run/netns/$namespace" \
    --capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN --system-call-filter=bpf
"""
_FORGET_CGROUP: Final = """
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ ! -d "/sys/fs/cgroup/$1" ] || find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} +
"""
_PATIENCE: Final = 90.0


class GuestError(Exception):
    """A guest that did not boot or stop as it should, or a command in one that failed."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest of a lab. Its files stand below `root`; change them from outside only while it is down."""

    name: str
    release: str
    address: str
    network: Network

    @property
    def root(self) -> Path:
        """Return where its tree is."""
        return self.network.home / self.name

    @property
    def hostname(self) -> str:
        """Return its name in the lab's DNS."""
        return f"{self.name}.{DOMAIN}"

    @property
    def console(self) -> Path:
        """Return the file that what it says on its console goes to."""
        return self._beside("console")

    def start(self, *, dies_with_us: bool) -> None:
        """Copy the tree of its release if it has none yet, and begin to boot it, unless it runs."""
        if processes.number(self._beside("process")) is not None:
            return
        if not self.root.exists():
            self._unpack()
        self.network.attach(self.name, self.address)
        words = ("unshare", "--mount", "--propagation=private", "/bin/sh", "-euc", _BOOT)
        processes.start(
            (*words, "sh", self.name, str(self.root), self.network.namespace(self.name)),
            self._beside("process"), self.console, dies_with_us=dies_with_us,
        )  # fmt: skip

    def wait(self) -> None:
        """Return when it has booted.

        Raises GuestError when it does not, or when a unit of it failed (systemd then calls it degraded).
        """
        until = time.monotonic() + _PATIENCE
        state = "has no init"
        while time.monotonic() < until:
            pid = processes.number(self._beside("process"))
            if pid is None:
                raise GuestError(f"{self.name} ended while it booted:\n{self._last_words()}")
            if (leader := _leader(pid)) is not None:
                self._beside("leader").write_text(f"{leader}\n", encoding="ascii")
                state = self.state()
                if state == "running":
                    return
                if state == "degraded":
                    raise GuestError(f"{self.name} is degraded:\n{self.failed_units()}")
            time.sleep(0.1)
        raise GuestError(f"{self.name} did not boot in {_PATIENCE:.0f} s: {state}\n{self._last_words()}")

    def state(self) -> str:
        """Return what systemd thinks of itself there: `running` is well, `degraded` is not."""
        return self.run("systemctl", "is-system-running", check=False).strip()

    def failed_units(self) -> str:
        """Return which units failed, and their last lines."""
        names = [line.split()[0] for line in self.run("systemctl", "--failed", "--plain", "--no-legend").splitlines()]
        return "\n".join(
            f"{name}:\n{self.run('journalctl', '--no-pager', '--lines=20', '--unit', name, check=False)}"
            for name in names
        )

    def command(self, *words: str, environment: Mapping[str, str] = ENVIRONMENT) -> tuple[str, ...]:
        """Return the command line that runs `words` as root there; its process is the program itself."""
        leader = self._beside("leader").read_text(encoding="ascii").strip()
        settings = [f"{name}={value}" for name, value in environment.items()]
        return ("nsenter", "--target", leader, "--all", "env", "--ignore-environment", *settings, *words)

    def run(self, *words: str, given: str | None = None, check: bool = True, patience: float = 120) -> str:
        """Run a command there and return what it says on standard output; `given` is its standard input.

        Raises GuestError with all it said when it fails and `check` is set.
        """
        done = subprocess.run(
            self.command(*words), input=given, stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True, text=True, timeout=patience, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise GuestError(f"{self.name}: {' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file there, while it runs."""
        self.run("/bin/sh", "-euc", 'umask 077; cat >"$1"; chmod "$2" "$1"', "sh", path, f"{mode:o}", given=text)

    def stop(self) -> None:
        """Shut it down cleanly; its disk stays.

        Raises GuestError when it had to be killed.
        """
        if not self._end(signal.SIGTERM):
            raise GuestError(f"{self.name} had to be killed")

    def crash(self) -> None:
        """Kill it as it stands, as a hypervisor that dies would; its disk stays."""
        self._end(signal.SIGKILL)

    def reboot(self, *, dies_with_us: bool) -> None:
        """Shut it down cleanly and boot it again."""
        self.stop()
        self.start(dies_with_us=dies_with_us)
        self.wait()

    def remove(self) -> None:
        """End it, however it is, and remove its disk."""
        self._end(signal.SIGTERM)
        self.network.detach(self.name)
        shutil.rmtree(self.root, ignore_errors=True)
        for kind in ("console", "leader"):
            self._beside(kind).unlink(missing_ok=True)

    def _end(self, how: int) -> bool:
        nspawn = processes.number(self._beside("process"))
        leader = None if nspawn is None else _leader(nspawn)
        by_itself = processes.stop(self._beside("process"), first=how)
        if leader is not None:
            _kill(leader)
        subprocess.run(
            ["unshare", "--mount", "--propagation=private", "/bin/sh", "-euc", _FORGET_CGROUP, "sh",
             self.network.namespace(self.name)],
            check=False, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return by_itself

    def _beside(self, kind: str) -> Path:
        return self.network.home / f"{self.name}.{kind}"

    def _unpack(self) -> None:
        unfinished = self._beside("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(["cp", "--archive", releases.tree(self.release), unfinished], check=True)
        etc = unfinished / "etc"
        proxy = f"http://{ROUTER}:{RELAY_PORT}"
        for name, text in {
            "hostname": f"{self.name}\n",
            # Without a localhost PostgreSQL does not start.
            "hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{self.address} {self.hostname} {self.name}\n",
            "resolv.conf": f"search {DOMAIN}\nnameserver {ROUTER}\n",
            "apt/sources.list": "".join(f"{line}\n" for line in bootstrap.archives(self.release)),
            "apt/apt.conf.d/90lab": "".join(
                f"{line};\n"
                for line in (
                    *bootstrap.checks(),
                    *(f'Acquire::{scheme}::Proxy "{proxy}"' for scheme in ("http", "https")),
                )
            ),
        }.items():
            (etc / name).unlink(missing_ok=True)
            (etc / name).write_text(text, encoding="ascii")
        unfinished.rename(self.root)

    def _last_words(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.console.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        return ""


def _kill(leader: int) -> None:
    """End a guest's init and with it the guest, which an nspawn that was killed leaves running."""
    until = time.monotonic() + _PATIENCE
    while Path(f"/proc/{leader}").exists():
        if time.monotonic() > until:
            raise GuestError(f"process {leader} cannot be killed")
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGKILL)
        time.sleep(0.05)


def _leader(nspawn: int) -> int | None:
    """Return the guest's init, as this machine numbers it: the process below nspawn that is number 1 to itself."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for children in Path(f"/proc/{nspawn}/task").glob("*/children"):
            for child in children.read_text(encoding="ascii").split():
                status = Path(f"/proc/{child}/status").read_text(encoding="utf-8", errors="replace")
                numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
                if numbers[-1] == "1" and len(numbers) > 2:
                    return int(child)
    return None
