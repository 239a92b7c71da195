"""`digipoort-authd` as a process: its settings, its log, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from digipoort_auth.checkpassword import request as request_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "digipoort_auth"]


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """Return an environment whose directory is a server that is not there."""
    return os.environ | {
        "SYSLOG_SOCKET": str(directory / "absent"),
        "AUTHD_SOCKET": str(directory / "authd.sock"),
        "DIRECTORY_DSN": f"host={directory} dbname=absent",
        **settings,
    }


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        for _ in range(200):
            with contextlib.suppress(OSError):
                client.connect(str(path))
                break
            time.sleep(0.05)
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_without_a_directory_defers_logins_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        try:
            with connected(tmp_path / "authd.sock") as client:
                client.sendall(request_line(b"pop3", b"trader", b"secret", b"192.0.2.1", secured=True))
                assert client.recv(4096) == b"temp\n"
        finally:
            process.send_signal(number)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    events = ["authd_started", "directory_unavailable", "login_deferred", "authd_stopped"]
    assert [event for event in events if f"event={event}" in said] == events
    assert "secret" not in said
    assert not (tmp_path / "authd.sock").exists()


def test_a_fault_in_the_settings_is_a_sentence_and_status_78(tmp_path: Path) -> None:
    wrong = environment(tmp_path, HASH_WORKERS="many", REQUEST_DEADLINE="0")
    ended = subprocess.run(COMMAND, env=wrong, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.splitlines() == [
        "REQUEST_DEADLINE must be between 0.1 and 60 (it is '0').",
        "HASH_WORKERS is not a number (it is 'many').",
    ]


def test_a_socket_that_cannot_be_made_is_logged_and_status_1(tmp_path: Path) -> None:
    wrong = environment(tmp_path, AUTHD_SOCKET=str(tmp_path / "absent" / "authd.sock"))
    ended = subprocess.run(COMMAND, env=wrong, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "event=socket_unusable" in ended.stderr
    assert "Traceback" not in ended.stderr
