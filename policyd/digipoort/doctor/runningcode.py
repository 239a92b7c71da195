"""Whether the gateway's programs run what is installed: an upgrade of Debian's packages leaves what runs as it was.

A process that was started before goes on with files that are no more, and the kernel says so of each (proc(5), maps).
Python's own source files are read once, and are not told of; their package's upgrade is the playbook's (X-Digipoort).
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor import commands
from digipoort.doctor.findings import Finding, ok, several, warning
from digipoort.doctor.units import RUNS, SERVICES, SYSTEMCTL, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from digipoort.doctor.host import Host

_CHECK: Final = "running code"
_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROPERTIES: Final = "Id,MainPID,ControlGroup"
# A mapping that is executed, of a file that a package may have had: address, rights, offset, device, inode, path.
_REPLACED: Final = re.compile(r"^\S+ ..x. \S+ \S+ \d+ +(/(?:usr|lib)\S*/.+) \(deleted\)$", re.MULTILINE)


class SystemdError(Exception):
    """systemctl told nothing; the message is its first line about that."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A service that runs: its main process, and where the kernel lists all of its processes."""

    name: str
    main: int
    group: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """A service that runs files which were replaced: those of its main process, and those of its others."""

    unit: str
    main: frozenset[str]
    others: frozenset[str]

    @property
    def names(self) -> list[str]:
        """The files' names, without their folders."""
        return sorted({Path(file).name for file in self.main | self.others})


def examine(_host: Host) -> list[Finding]:
    """Look at what the gateway's services run, where systemd runs."""
    if not RUNS.exists():
        return []
    try:
        return judge(look())
    except SystemdError as error:
        return [warning(_CHECK, f"not known: {error}", "systemctl status 'digipoort*'")]


def look() -> list[Outdated]:
    """Return the services that run what is installed no more.

    Raises SystemdError, and PermissionError where this user may not look.
    """
    said = commands.run([SYSTEMCTL, "show", f"--property={_PROPERTIES}", *SERVICES])
    if said.status != 0:
        raise SystemdError(said.first_error)
    return [found for unit in read(said.output) if (found := _outdated(unit)) is not None]


def read(output: str) -> Iterator[Unit]:
    """Yield the services that run, of what `systemctl show` printed."""
    for values in shown(output):
        if main := int(values.get("MainPID") or 0):
            yield Unit(values["Id"], main, values.get("ControlGroup", ""))


def replaced(maps: str) -> frozenset[str]:
    """Return the files that a process runs and that were removed or replaced since, of its /proc/PID/maps."""
    return frozenset(_REPLACED.findall(maps))


def judge(found: Sequence[Outdated]) -> list[Finding]:
    """Tell which services an upgrade has not reached."""
    findings = []
    for one in found:
        text = f"{one.unit} runs older files than are installed: {several(one.names)}"
        findings.append(warning(_CHECK, text, f"systemctl {' '.join(remedy(one))}"))
    return findings or [ok(_CHECK, "what runs is what is installed")]


def remedy(one: Outdated) -> tuple[str, str]:
    """Return systemd's verb and the unit: a reload where only processes are old that the main one starts anew."""
    return ("try-restart" if one.main else "try-reload-or-restart", one.unit)


def _outdated(unit: Unit) -> Outdated | None:
    main = _replaced_by(unit.main)
    others = frozenset[str]().union(*(_replaced_by(pid) for pid in _processes(unit.group) if pid != unit.main))
    return Outdated(unit.name, main, others) if main or others else None


def _processes(group: str) -> Iterator[int]:
    # A group whose last process ends may go while it is walked through, or read (ENODEV): nothing is left to look at.
    for folder, _, _ in os.walk(_CGROUPS / group.lstrip("/")) if group else ():
        try:
            listed = Path(folder, "cgroup.procs").read_text(encoding="ascii")
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENODEV}:
                raise
        else:
            yield from map(int, listed.split())


def _replaced_by(pid: int) -> frozenset[str]:
    try:
        return replaced(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()  # it has ended meanwhile
