"""The daemon as a process: faults in its settings, its socket's mode, life without a directory, and SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from digipoort.settings import FILE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "digipoort_policyd"]
REQUEST = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=acceptance\n"
    b"sender=a@handel.example\nrecipient=ags@overheid.example\n\n"
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which everything is well, but for the directory, which is not there."""
    settings = tmp_path / "digipoort.env"
    settings.write_text(f'DIRECTORY_DSN="host={tmp_path} dbname=none"\nLOGICAL_DOMAINS=overheid.example\n')
    settings.chmod(0o640)
    return os.environ | {
        FILE_VARIABLE: str(settings),
        "POLICYD_SOCKET": str(tmp_path / "policyd.sock"),
        "RESUBMISSION_SOCKET": str(tmp_path / "resubmission.sock"),
        "SYSLOG_SOCKET": str(tmp_path / "syslog"),
    }


def test_every_fault_in_the_settings_is_told(environment: dict[str, str]) -> None:
    faulty = environment | {"LOGICAL_DOMAINS": "", "REQUEST_DEADLINE": "soon"}
    result = subprocess.run(COMMAND, check=False, env=faulty, capture_output=True, text=True, timeout=30)
    assert result.returncode == os.EX_CONFIG
    assert len(result.stderr.splitlines()) == 2
    assert "REQUEST_DEADLINE is not a number" in result.stderr
    assert "LOGICAL_DOMAINS needs at least one value" in result.stderr


@pytest.mark.parametrize("name", ["policyd", "resubmission"])
def test_a_socket_that_cannot_be_is_told(environment: dict[str, str], name: str) -> None:
    result = subprocess.run(
        COMMAND,
        check=False,
        env=environment | {f"{name.upper()}_SOCKET": f"/nonexistent/{name}.sock"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert f"event=socket_unusable socket=/nonexistent/{name}.sock" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_serves_without_a_directory_and_stops_cleanly(environment: dict[str, str]) -> None:
    path = environment["POLICYD_SOCKET"]
    with subprocess.Popen(COMMAND, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            with _connect(path) as client:
                assert stat.S_IMODE(os.stat(path).st_mode) == 0o660  # noqa: PTH116 - a str from the environment
                client.sendall(REQUEST)
                assert client.recv(1000).startswith(b"action=451 4.3.0 DGP-9001 ")
                daemon.send_signal(signal.SIGTERM)
                assert client.recv(1000) == b""
            # A second signal could meet the interpreter when it no longer has a handler for it.
            _, log = daemon.communicate(timeout=30)
        finally:
            daemon.kill()
    assert daemon.returncode == 0
    assert not os.path.lexists(path)
    events = [line.partition("event=")[2].split()[0] for line in log.splitlines()]
    assert [event for event in events if event != "syslog_unavailable"] == [
        "policyd_started",
        "directory_unavailable",
        "recipient_deferred",
        "policyd_stopped",
    ]


def _connect(path: str) -> socket.socket:
    """Return a connection to a socket that may not be there yet."""
    until = time.monotonic() + 20
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        try:
            client.connect(path)
        except OSError:
            client.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return client
