"""The real `digipoort-authd` as a process, and what Dovecot's clients ask it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from digipoort_auth.checkpassword import request
from tests.unit.connections import WAIT_SECONDS, connected
from tests.unit.directory_samples import SETTINGS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Authd:
    """The program while it runs."""

    pid: int
    path: Path
    log_file: Path

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """Yield a connection."""
        with connected(self.path) as client:
            yield client

    def verify(self, login: str, password: str, client: str = "192.0.2.1", service: str = "pop3") -> bytes:
        """Return the reply to one login."""
        with self.connected() as connection:
            return ask(connection, login, password, client, service)

    def log(self) -> str:
        """Return what it logged."""
        return self.log_file.read_text(encoding="utf-8")

    def memory_peak(self) -> int:
        """Return the most octets of memory that it ever had (proc(5), VmHWM)."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


def ask(connection: socket.socket, login: str, password: str, client: str, service: str = "pop3") -> bytes:
    """Return authd's reply to one login over a connection that stays open."""
    connection.sendall(request(service.encode(), login.encode(), password.encode(), client.encode(), secured=True))
    reply = b""
    while not reply.endswith(b"\n"):
        received = connection.recv(4096)
        if not received:
            raise RuntimeError("authd hung up")
        reply += received
    return reply


@contextlib.contextmanager
def running_authd(folder: Path, **settings: str) -> Iterator[Authd]:
    """Run the daemon with its socket in `folder`, and end it; its lines go to a file."""
    path, log_file = folder / "authd.sock", folder / "authd.log"
    environment = {**os.environ, **SETTINGS, "AUTHD_SOCKET": str(path), "AUTHD_PEERS": "root", **settings}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "digipoort_auth"], env=environment, stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        connected(path).close()
        yield Authd(process.pid, path, log_file)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(WAIT_SECONDS)
    if status != 0:
        raise RuntimeError(f"authd ended with {status}: {log_file.read_text(encoding='utf-8')}")
