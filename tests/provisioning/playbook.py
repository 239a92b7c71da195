"""Ansible against a lab's guests: collections, an inventory, a run and its recap.

A run is either as an admin's, or quick, by Mitogen: the same tasks and modules, whose interpreter on the guest is kept
(docs/decisions/0033).
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests import bootstrap
from tests.provisioning.guest import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.provisioning.lab import Lab

_ANSIBLE: Final = Path(__file__).resolve().parents[2] / "ansible"
# The bundle that goes with the pinned ansible-core; Galaxy is not asked, as not every network reaches it.
_BUNDLE: Final = "12.3.0"
_WANTED: Final = ("community/postgresql", "community/general", "community/crypto", "ansible/posix")
_ATTACH: Final = "attach"
_COUNTS: Final = re.compile(r"(\w+)=(\d+)")


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one run of ansible-playbook."""

    status: int
    seconds: float
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """Return the counts of each host: ok, changed, unreachable, failed, skipped, rescued, ignored."""
        lines = self.output.rpartition("PLAY RECAP")[2].splitlines()[1:]
        return {
            host.strip(): {name: int(count) for name, count in _COUNTS.findall(counts)}
            for host, found, counts in (line.partition(" : ") for line in lines)
            if found and "ok=" in counts
        }

    @property
    def changed(self) -> int:
        """Return how many tasks changed something, on all hosts."""
        return sum(counts["changed"] for counts in self.recap.values())

    @property
    def changes(self) -> list[str]:
        """Return the names of the tasks that changed something, or would have."""
        parts = re.split(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \**$", self.output, flags=re.MULTILINE)[1:]
        named = zip(parts[::2], parts[1::2], strict=True)
        return [name for name, said in named if re.search(r"^changed: ", said, re.MULTILINE)]

    @property
    def differences(self) -> set[str]:
        """Return the lines that `--diff` shows as gone (-) or new (+)."""
        return {line for line in self.output.splitlines() if re.match(r"[-+](?![-+]{2} )", line)}


def collections() -> Path:
    """Return a folder with the collections that the roles use, fetched now if this machine has none."""
    wanted = bootstrap.CACHE / f"collections-{_BUNDLE}"
    bootstrap.CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (bootstrap.CACHE / "collections.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            _fetch(wanted)
    return wanted


def _fetch(wanted: Path) -> None:
    unfinished = wanted.with_suffix(".unfinished")
    unfinished.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", unfinished, f"ansible=={_BUNDLE}"],
        check=True,
    )
    (wheel,) = unfinished.glob("ansible-*.whl")
    prefixes = tuple(f"ansible_collections/{name}/" for name in _WANTED)
    with zipfile.ZipFile(wheel) as bundle:
        bundle.extractall(unfinished, [name for name in bundle.namelist() if name.startswith(prefixes)])
    wheel.unlink()
    unfinished.rename(wanted)


def inventory(
    lab: Lab,
    groups: Mapping[str, Sequence[str]] | None = None,
    variables: Mapping[str, object] | None = None,
    hosts: Mapping[str, Mapping[str, object]] | None = None,
) -> Path:
    """Write an inventory of a lab's guests, and return its path.

    `groups` are lists of guests, `variables` are for all of them, `hosts` for one each.
    """
    enter = lab.home / "enter"
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in ENVIRONMENT.items())
    enter.write_text(
        f'#!/bin/sh\nroot=$1\nshift\nexec nsenter --target "$(cat "$root.leader")" --all env -i {settings} "$@"\n',
        encoding="ascii",
    )
    enter.chmod(0o755)
    attach = lab.home / _ATTACH
    # The same for Mitogen, which calls it as lxc-attach: --clear-env --name ROOT -- COMMAND.
    attach.write_text(f'#!/bin/sh\nroot=$3\nshift 4\nexec {shlex.quote(str(enter))} "$root" "$@"\n', encoding="ascii")
    attach.chmod(0o755)
    everybody = {
        guest.name: {"ansible_host": str(guest.root), "lab_address": guest.address, **(hosts or {}).get(guest.name, {})}
        for guest in lab.guests().values()
    }
    common = {
        "ansible_connection": "community.general.chroot",
        "ansible_chroot_exe": str(enter),
        "ansible_python_interpreter": "/usr/bin/python3",
        **(variables or {}),
    }
    members: dict[str, object] = {name: {"hosts": dict.fromkeys(found)} for name, found in (groups or {}).items()}
    written = lab.home / "inventory.json"
    tree = {"all": {"hosts": everybody, "vars": common, "children": members}}
    written.write_text(json.dumps(tree, indent=2), encoding="utf-8")
    # It may hold a secret of the test's.
    written.chmod(0o600)
    return written


def quick(inventory: Path) -> tuple[list[str], dict[str, str]]:
    """Return options and environment that make a run with an inventory a quick one."""
    spec = importlib.util.find_spec("ansible_mitogen")
    assert spec is not None
    assert spec.origin is not None
    plugins = Path(spec.origin).parent / "plugins"
    variables = {
        "ansible_connection": "mitogen_lxc",
        "mitogen_lxc_attach_path": str(inventory.parent / _ATTACH),
        # It is root already.
        "ansible_become": False,
    }
    return ["--extra-vars", json.dumps(variables)], {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(plugins / "strategy"),
        "ANSIBLE_CONNECTION_PLUGINS": str(plugins / "connection"),
        # That ansible-core will do without strategies of others some day.
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }


def command(*words: str) -> tuple[list[str], dict[str, str]]:
    """Return the command line and the environment that run ansible-playbook with `words`."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections()),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_INVENTORY_ENABLED": "yaml,ini",
        "LC_ALL": "C.UTF-8",
    }
    if (_ANSIBLE / "ansible.cfg").exists():
        environment["ANSIBLE_CONFIG"] = str(_ANSIBLE / "ansible.cfg")
    return [str(Path(sys.executable).with_name("ansible-playbook")), *words], environment


def play(playbook: Path, inventory: Path, *options: str, as_admins_do: bool = False, patience: float = 1800) -> Played:
    """Run ansible-playbook to its end, quickly unless told to do `as_admins_do`."""
    more, settings = ([], {}) if as_admins_do else quick(inventory)
    argv, environment = command(str(playbook), "-i", str(inventory), *more, *options)
    environment |= settings
    began = time.monotonic()
    done = subprocess.run(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        timeout=patience, check=False,
    )  # fmt: skip
    return Played(done.returncode, time.monotonic() - began, done.stdout)
