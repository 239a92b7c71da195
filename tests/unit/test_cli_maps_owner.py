"""Who `digipoort maps publish` is when root runs it: files of root's, digipoort-maps could not change."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

OWNER = 61306
_PROGRAM = """
import os, sys
from pathlib import Path
from digipoort.cli.maps import become_owner_of
become_owner_of(Path(sys.argv[1]))
print(os.getresuid(), os.getresgid(), os.getgroups())
"""


def _ids_after(folder: Path) -> str:
    run = subprocess.run([sys.executable, "-c", _PROGRAM, str(folder)], check=True, capture_output=True, text=True)
    return run.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_owner_of_the_maps_for_good(tmp_path: Path) -> None:
    os.chown(tmp_path, OWNER, OWNER + 1)
    one, group = OWNER, OWNER + 1
    assert _ids_after(tmp_path) == f"({one}, {one}, {one}) ({group}, {group}, {group}) []"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root owns a folder of root's")
def test_maps_of_roots_own_are_left_to_root(tmp_path: Path) -> None:
    assert _ids_after(tmp_path).startswith("(0, 0, 0)")
