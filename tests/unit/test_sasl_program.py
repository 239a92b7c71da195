"""`digipoort-sasl` as a process: its settings, its log, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.policyd_process import until

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "digipoort_sasl"]
SECRET = b"AGFhbABnZWhlaW0="


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """Return an environment without Dovecot."""
    return os.environ | {
        "SYSLOG_SOCKET": str(directory / "absent"),
        "SASL_SOCKET": str(directory / "sasl.sock"),
        "DOVECOT_AUTH_SOCKET": str(directory / "dovecot.sock"),
        **settings,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_without_dovecot_defers_logins_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "sasl.sock"
    with subprocess.Popen(COMMAND, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        try:
            with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as lines:
                client.settimeout(10)
                until(lambda: client.connect_ex(str(path)) == 0, "somebody who listens")
                client.sendall(b"VERSION\t1\t0\nCPID\t1\nAUTH\t1\tPLAIN\trip=192.0.2.1\tresp=" + SECRET + b"\n")
                assert lines.read().endswith(b"\nDONE\n")
        finally:
            process.send_signal(number)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    events = ["sasl_started", "dovecot_unavailable", "login_deferred", "sasl_stopped"]
    assert [event for event in events if f"event={event}" in said] == events
    assert SECRET.decode() not in said
    assert not path.exists()


def test_a_fault_in_the_settings_is_a_sentence_and_status_78(tmp_path: Path) -> None:
    # Postfix itself waits no longer than 10 seconds.
    wrong = environment(tmp_path, SASL_DEADLINE="10", SASL_PEERS=" ")
    ended = subprocess.run(COMMAND, env=wrong, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.splitlines() == [
        "SASL_PEERS needs at least one value (it is ' ').",
        "SASL_DEADLINE must be between 0.1 and 9.9 (it is '10').",
    ]


def test_a_socket_that_cannot_be_made_is_logged_and_status_1(tmp_path: Path) -> None:
    wrong = environment(tmp_path, SASL_SOCKET=str(tmp_path / "absent" / "sasl.sock"))
    ended = subprocess.run(COMMAND, env=wrong, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "event=socket_unusable" in ended.stderr
    assert "Traceback" not in ended.stderr
