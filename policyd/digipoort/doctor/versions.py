"""Whether this host has the versions that the gateway was made for."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor.findings import Finding, fault, ok, warning

if TYPE_CHECKING:
    from digipoort.doctor.host import Host

MIN_POSTFIX: Final = (3, 7)
DOVECOTS: Final = ("2.3", "2.4")
MIN_PYTHON: Final = (3, 11)
DEBIANS: Final = ("12", "13")
_NUMBERS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Versions:
    """What is installed, empty where that is not known. `release` has ID and VERSION_ID of os-release(5)."""

    own: str
    release: tuple[str, str]
    python: tuple[int, int]
    postfix: str
    dovecot: str


def examine(host: Host) -> list[Finding]:
    """Ask each program for its version."""
    postfix = "" if isinstance(host.postfix, str) else host.postfix.main.get("mail_version", "")
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    versions = Versions(
        own=_own(),
        release=(release.get("ID", ""), release.get("VERSION_ID", "")),
        python=sys.version_info[:2],
        postfix=postfix,
        dovecot=host.dovecot_version,
    )
    return [*unreadable(host), *judge(versions)]


def unreadable(host: Host) -> list[Finding]:
    """Tell which configuration cannot be read: all that other parts would look at there goes unseen."""
    found = []
    if isinstance(host.postfix, str):
        found.append(fault("postfix", host.postfix, "POSTFIX_CONFIG_DIRECTORY, postconf -n"))
    if isinstance(host.dovecot, str):
        remedy = "DOVECOT_CONFIG, doveconf -n; an upgrade of Debian needs the other template"
        found.append(fault("dovecot", host.dovecot, remedy))
    return found


def judge(versions: Versions) -> list[Finding]:
    """Return what is too old, or was never tried."""
    name, number = versions.release
    found = []
    if versions.python < MIN_PYTHON:
        found.append(fault("versions", f"Python {_dotted(versions.python)} is too old", "Python 3.11 or later"))
    if versions.postfix and _numbers(versions.postfix)[:2] < MIN_POSTFIX:
        found.append(fault("versions", f"Postfix {versions.postfix} is too old", "Postfix 3.7 or later"))
    if not versions.dovecot:
        found.append(fault("versions", "Dovecot is not installed", "apt install dovecot-pop3d dovecot-lmtpd"))
    elif not versions.dovecot.startswith(tuple(f"{one}." for one in DOVECOTS)):
        text = f"Dovecot {versions.dovecot} has another configuration than 2.3 and 2.4"
        found.append(fault("versions", text, "the version that Debian 12 or 13 has"))
    if name != "debian" or number.partition(".")[0] not in DEBIANS:
        text = f"this is {name or 'unknown'} {number}: the gateway was tried on Debian 12 and 13"
        found.append(warning("versions", text, "none, if it works; see that its parts get security updates"))
    told = f"digipoort {versions.own}, Debian {number}, Postfix {versions.postfix}, Dovecot {versions.dovecot}"
    return found or [ok("versions", f"{told}, Python {_dotted(versions.python)}")]


def _own() -> str:
    try:
        return importlib.metadata.version("digipoort")
    except importlib.metadata.PackageNotFoundError:
        return "of a checkout"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, _NUMBERS.findall(text)))
