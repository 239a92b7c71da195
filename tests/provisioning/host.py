"""What a host serves and how it is set up, as data that two moments of a test can be compared by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.provisioning.guest import Guest

# The units whose exposure is judged; the milter's three instances are one template.
DAEMONS: Final = (
    "digipoort-policyd.service",
    "digipoort-authd.service",
    "digipoort-sasl.service",
    "digipoort-maps.service",
    "digipoort-milter@submission.service",
    "digipoort-milter@acceptance.service",
    "digipoort-milter@receipt.service",
)
MAIL: Final = ("digipoort-postfix.service", "digipoort-dovecot.service")
_FILES: Final = r"""
import hashlib, os, stat, sys
for top in sys.argv[1:]:
    for folder, folders, names in os.walk(top):
        for name in [".", *names]:
            path = os.path.normpath(os.path.join(folder, name))
            about = os.lstat(path)
            kind = stat.S_IFMT(about.st_mode)
            if kind == stat.S_IFREG:
                what = hashlib.sha256(open(path, "rb").read()).hexdigest()
            elif kind == stat.S_IFLNK:
                what = os.readlink(path)
            else:
                what = "-"
            print(f"{path}\t{about.st_uid}:{about.st_gid}\t{stat.filemode(about.st_mode)}\t{what}")
"""


@dataclass(frozen=True, slots=True)
class Service:
    """What a host serves, in all that its other users could notice."""

    files: tuple[str, ...]
    """Path, owner, mode and digest of everything below some folders."""
    enabled: tuple[str, ...]
    """Unit files and whether they start at boot."""
    active: tuple[str, ...]
    """Services and sockets that run."""
    ports: tuple[str, ...]
    """Listening addresses, and by which program."""
    processes: tuple[str, ...]
    """Main processes of its own mail services, and when they started."""
    settings: tuple[str, ...]
    """postconf -n and doveconf -n."""


def service(guest: Guest, folders: Sequence[str], units: Sequence[str]) -> Service:
    """Look at a host: at the files below `folders`, and at the processes of `units`."""
    return Service(
        tuple(guest.run("python3", "-c", _FILES, *folders).splitlines()),
        tuple(
            " ".join(line.split()[:2])
            for line in guest.run("systemctl", "list-unit-files", "--plain", "--no-legend", "--full").splitlines()
        ),
        tuple(
            line.split()[0]
            for line in guest.run(
                "systemctl", "list-units", "--plain", "--no-legend", "--full", "--state=active",
                "--type=service,socket,timer,path",
            ).splitlines()
        ),
        tuple(ports(guest)),
        tuple(
            guest.run("systemctl", "show", unit, "--property=Id,MainPID,ExecMainStartTimestampMonotonic,ActiveState")
            for unit in units
        ),
        tuple(
            line
            for command in (("postconf", "-n"), ("postconf", "-M"), ("doveconf", "-n"))
            for line in guest.run(*command, check=False).splitlines()
        ),
    )  # fmt: skip


def changes(before: Service, after: Service) -> list[str]:
    """Return a line for each difference, marked + or -."""
    lines = []
    for kind in Service.__slots__:
        old, new = getattr(before, kind), getattr(after, kind)
        lines += [f"{kind}: - {line}" for line in old if line not in new]
        lines += [f"{kind}: + {line}" for line in new if line not in old]
    return lines


def ports(guest: Guest) -> list[str]:
    """Return the listening TCP ports with the program that holds each, sorted."""
    lines = guest.run("ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes").splitlines()
    found = set()
    for line in lines:
        address = line.split()[3]
        holder = re.search(r'\("([^"]+)"', line)
        found.add(f"{address} {holder[1] if holder else '?'}")
    return sorted(found)


def exposure(guest: Guest, units: Sequence[str]) -> dict[str, float]:
    """Return what `systemd-analyze security` says of each unit: 0 is sealed, 10 is open."""
    said = {unit: guest.run("systemd-analyze", "--no-pager", "security", unit, check=False) for unit in units}
    found = {
        unit: re.search(r"Overall exposure level for \S+: ([\d.]+)", text.replace("\n", " "))
        for unit, text in said.items()
    }
    return {unit: float(level[1]) for unit, level in found.items() if level}


def modes(guest: Guest, *tops: str) -> list[str]:
    """Return mode, owner and path of what stands at and below these paths, sorted by path."""
    lines = guest.run(
        "find", *tops, "-xdev", "(", "-type", "f", "-o", "-type", "d", "-o", "-type", "s", ")",
        "-printf", "%M %u:%g %p\n", check=False,
    ).splitlines()  # fmt: skip
    return sorted(set(lines), key=lambda line: line.split()[2])


def started(guest: Guest, units: Sequence[str]) -> dict[str, str]:
    """Return for each unit which process it is and when it came: the same as before means that it was not restarted."""
    return {
        unit: guest.run("systemctl", "show", unit, "--property=MainPID,ExecMainStartTimestampMonotonic").strip()
        for unit in units
    }
