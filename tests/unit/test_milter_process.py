"""The program itself: its socket, its end, and what it says about settings that cannot be used."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

STARTING_SECONDS = 20
# libmilter looks up from its socket every five seconds.
STOPPING_SECONDS = 20
# Octets to follow, the command, protocol version, actions and steps offered.
NEGOTIATION = struct.Struct("!IcIII")


def start(role: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "MILTER_DIRECTORY": str(folder),
        "PROFILES_FILE": str(folder / "profiles.json"),
        "SYSLOG_SOCKET": str(folder / "nothing-listens"),
        "LOGICAL_DOMAINS": "logical.example",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "digipoort_milter", role],
        env=environment | variables,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def negotiate(process: subprocess.Popen[str], path: Path) -> bytes:
    """Greet the milter as Postfix does, once it listens, and return its answer: only then does it heed signals."""
    deadline = time.monotonic() + STARTING_SECONDS
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(STARTING_SECONDS)
        client.connect(str(path))
        client.sendall(NEGOTIATION.pack(NEGOTIATION.size - 4, b"O", 6, 0x1FF, 0x1FFFFF))
        return client.recv(1024)


@pytest.mark.parametrize("role", ["submission", "acceptance", "receipt"])
def test_socket_and_end(tmp_path: Path, role: str) -> None:
    path = tmp_path / f"milter-{role}.sock"
    process = start(role, tmp_path)
    try:
        assert len(negotiate(process, path)) == NEGOTIATION.size
        status = path.stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o660
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=STOPPING_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert f"event=milter_started role={role}" in log
    assert f"event=milter_stopped role={role}" in log
    assert not path.exists()


def test_every_fault_in_the_settings_is_told(tmp_path: Path) -> None:
    process = start("receipt", tmp_path, LOGICAL_DOMAINS=" ", MILTER_DIRECTORY="relative")
    _, errors = process.communicate(timeout=STARTING_SECONDS)
    assert process.returncode == os.EX_CONFIG
    assert len(errors.splitlines()) == 2
    assert "MILTER_DIRECTORY must be an absolute path" in errors


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    process = start("receipt", tmp_path, MILTER_DIRECTORY=str(tmp_path / "none"))
    _, errors = process.communicate(timeout=STARTING_SECONDS)
    assert process.returncode == os.EX_OSERR
    assert "The milter cannot serve" in errors
