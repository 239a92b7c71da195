"""Starts anew what an upgrade of Debian's packages has replaced: run by digipoort-upgrade.service whenever dpkg was.

Debian's packages restart their own services, not the gateway's: without this a security update would not reach it, and
each process that an old Dovecot starts would end at once, where it is another version by now.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor import runningcode
from digipoort.doctor.findings import several
from digipoort.doctor.units import SYSTEMCTL

if TYPE_CHECKING:
    from collections.abc import Collection

_DPKG_LOCKS: Final = (Path("/var/lib/dpkg/lock-frontend"), Path("/var/lib/dpkg/lock"))
_KERNEL_LOCKS: Final = Path("/proc/locks")
# apt lets go of its lock between two steps of one upgrade.
QUIET_SECONDS: Final = 5.0
_INODE_FIELD: Final = 5


def main() -> None:
    """Wait until dpkg has done, then restart or reload what is old; exit 1 if one failed or systemd tells nothing."""
    wait_for_dpkg()
    try:
        old = runningcode.look()
    except runningcode.SystemdError as error:
        sys.exit(f"what runs is not known: {error}")
    failed = False
    for one in old:
        action = runningcode.remedy(one)
        sys.stdout.write(f"{one.unit} runs files that were replaced: {several(one.names)}\n")
        sys.stdout.flush()
        done = subprocess.run([SYSTEMCTL, *action], check=False)  # noqa: S603 - fixed words
        failed |= done.returncode != 0
    sys.exit(int(failed))


def wait_for_dpkg() -> None:
    """Return when no package manager has held its lock for a while: what is half unpacked must not be started."""
    inodes = {lock.stat().st_ino for lock in _DPKG_LOCKS if lock.exists()}
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        if held(_KERNEL_LOCKS.read_text(encoding="ascii"), inodes):
            quiet_since = time.monotonic()
        time.sleep(0.5)


def held(locks: str, inodes: Collection[int]) -> bool:
    """Tell whether the kernel lists a lock of one of these files."""
    # The device is not compared: btrfs has two numbers for it.
    rows = [line.split() for line in locks.splitlines()]
    # A line with "->" is somebody who waits for the lock.
    return any(int(row[_INODE_FIELD].rpartition(":")[2]) in inodes for row in rows if row[1] != "->")


if __name__ == "__main__":
    main()
