"""A listening socket that was made before the daemon and stays after it, as systemd's are."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from digipoort.activation import inherited_sockets
from digipoort_auth.checkpassword import request as request_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

REQUEST = request_line(b"pop3", b"trader", b"secret", b"192.0.2.1", secured=True)
# A process knows its own number only when it runs.
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "digipoort_auth"])
"""


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield listener


@contextlib.contextmanager
def authd(listener: socket.socket, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run authd with the listener as descriptor 3, as systemd starts it."""
    environment = os.environ | {
        "SYSLOG_SOCKET": str(path.parent / "absent"),
        "AUTHD_SOCKET": str(path),
        "AUTHD_PEERS": "root",
        "DIRECTORY_DSN": f"host={path.parent} dbname=absent",
        "LISTEN_FDS": "1",
    }
    command = [sys.executable, "-c", START, str(listener.fileno())]
    with subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()], stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def asked(path: Path) -> socket.socket:
    """Return a client's connection whose request is on its way."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(path))
    client.sendall(REQUEST)
    return client


def test_who_asks_while_the_daemon_is_away_is_answered_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "authd.sock"
    with listening(path) as listener:
        for _ in range(2):
            with asked(path) as early, authd(listener, path), asked(path) as late:
                # There is no directory: any answer will do.
                assert early.recv(100) == late.recv(100) == b"temp\n"
            assert path.is_socket()


def test_sockets_meant_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inherited_sockets({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + 1)}) == {}
    assert inherited_sockets({"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())}) == {}
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert inherited_sockets(os.environ) == {}
