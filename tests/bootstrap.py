"""Makes a tree of a Debian release beside the host's own, once per machine and recipe, in a cache outside the checkout.

The mirror is the one that the host itself uses, read from its apt sources, so that no name of one stands here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CACHE: Final = Path("/var/cache/digipoort-tests")
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT: Final = Path("/etc/apt")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a tree is made of; a change of anything here makes another tree."""

    label: str
    suite: str
    packages: tuple[str, ...]
    apt: tuple[str, ...] = ()
    dpkg: tuple[str, ...] = ()
    hook: str = ""
    """A shell script that runs before `packages` are installed, with the tree as its argument."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What stands in the folder that the hook runs in."""

    @property
    def key(self) -> str:
        """Name this recipe, shortly."""
        parts = [self.suite, *self.packages, *self.apt, *self.dpkg, self.hook, *self.files.values()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def tree(recipe: Recipe, finish: Callable[[Path], None]) -> Path:
    """Return the tree's root, which is made now if this machine has none (about a minute); `finish` is its last step.

    Raises subprocess.CalledProcessError with the last words of mmdebstrap in its `output`.
    """
    wanted = CACHE / f"{recipe.label}-{recipe.key}"
    if wanted.exists():
        return wanted
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _only_one(recipe.label):
        if not wanted.exists():
            _make(recipe, wanted, finish)
    return wanted


def archives(suite: str) -> list[str]:
    """Return source lines for the archives that the host's apt sources name: Debian's, and its security updates."""
    found = _uris()
    security = next((uri for uri in found if uri.rstrip("/").endswith("debian-security")), None)
    return [
        f"deb {found[0]} {suite} main",
        *([f"deb {security} {suite}-security main"] if security else []),
    ]


def _uris() -> list[str]:
    texts = [
        path.read_text(encoding="utf-8")
        for path in (*sorted(_APT.glob("sources.list.d/*.sources")), *sorted(_APT.glob("sources.list*")))
        if path.is_file()
    ]
    found = re.findall(r"^(?:URIs:[ ]*|deb[ ]+(?:\[[^]]*\][ ]+)?)(\S+)", "\n".join(texts), re.MULTILINE)
    if not found:
        raise RuntimeError("no Debian mirror in /etc/apt")
    return found


@contextlib.contextmanager
def _only_one(label: str) -> Iterator[None]:
    with (CACHE / f"{label}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(recipe: Recipe, wanted: Path, finish: Callable[[Path], None]) -> None:
    unfinished = wanted.with_suffix(".unfinished")
    work = wanted.with_suffix(".work")
    for leftover in (unfinished, work):
        shutil.rmtree(leftover, ignore_errors=True)
    work.mkdir()
    for name, text in recipe.files.items():
        (work / name).write_text(text, encoding="ascii")
    hook = work / "hook"
    hook.write_text(recipe.hook, encoding="ascii")
    hook.chmod(0o755)
    subprocess.run(
        [
            "mmdebstrap", "--mode=root", "--variant=essential", "--format=directory", f"--keyring={_KEYRING}",
            *(f"--aptopt={setting}" for setting in (*recipe.apt, *checks())),
            *(f"--dpkgopt={setting}" for setting in recipe.dpkg),
            *(['--essential-hook=./hook "$1"'] if recipe.hook else []), f"--include={','.join(recipe.packages)}",
            recipe.suite, str(unfinished),
            *archives(recipe.suite),
        ],
        check=True, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    finish(unfinished)
    unfinished.rename(wanted)
    shutil.rmtree(work)


def checks() -> list[str]:
    """Return how the host has apt judge the age of a mirror's lists."""
    dumped = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    return [line.rstrip(";") for line in dumped.splitlines() if line.startswith("Acquire::Check-")]
