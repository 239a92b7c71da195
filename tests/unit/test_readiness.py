"""What systemd is told, over a real NOTIFY_SOCKET: by the module, and by each daemon as a process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from digipoort import readiness
from digipoort_milter import liveness
from tests.unit.directory_samples import SETTINGS, maps_settings
from tests.unit.notifications import Notified, notified

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The longest that libmilter takes to look up from its socket.
ENDING_SECONDS = 20
SOCKETS = {
    "digipoort_policyd": ("policyd.sock", "resubmission.sock"),
    "digipoort_auth": ("authd.sock",),
    "digipoort_sasl": ("sasl.sock",),
    "digipoort_milter submission": ("milter-submission.sock",),
    "digipoort_milter acceptance": ("milter-acceptance.sock",),
    "digipoort_milter receipt": ("milter-receipt.sock",),
    "digipoort_maps": (),
}


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Notified]:
    with notified(tmp_path) as listening:
        yield listening


@pytest.fixture
def watched(systemd: Notified, monkeypatch: pytest.MonkeyPatch) -> Notified:
    """Make this process one that a watchdog looks at; it grants 0.2 seconds."""
    for name, value in systemd.environment(0.2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    return systemd


@pytest.mark.parametrize("words", SOCKETS)
def test_a_daemon_is_ready_alive_and_stopping(systemd: Notified, tmp_path: Path, words: str) -> None:
    environment = {
        **os.environ, **SETTINGS, **maps_settings(tmp_path), **systemd.environment(0.2),
        "DIRECTORY_DSN": f"host={tmp_path} dbname=absent", "DIRECTORY_WRITE_DSN": f"host={tmp_path} dbname=absent",
        "SYSLOG_SOCKET": str(tmp_path / "absent"), "MILTER_DIRECTORY": str(tmp_path), "AUTHD_PEERS": "root",
        "SASL_PEERS": "root",
        **{f"{name.upper()}_SOCKET": str(tmp_path / f"{name}.sock")
           for name in ("policyd", "resubmission", "authd", "sasl")},
    }  # fmt: skip
    command = [sys.executable, "-m", *words.split()]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            ready = systemd.until("READY=1")[-1]
            assert any(line.startswith("STATUS=") for line in ready)
            for name in SOCKETS[words]:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(tmp_path / name))
            for _ in range(3):
                systemd.until("WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            systemd.until("STOPPING=1")
            assert process.wait(ENDING_SECONDS) == 0
        finally:
            process.kill()


def test_a_loop_that_hangs_is_not_alive(watched: Notified) -> None:
    async def hang() -> None:
        stop = asyncio.Event()
        telling = asyncio.create_task(readiness.until(stop, "serves"))
        await asyncio.sleep(0.35)
        turning = watched.waiting()
        time.sleep(0.5)  # noqa: ASYNC251 - this is the hang
        hanging = watched.waiting()
        stop.set()
        await telling
        assert turning[0] == ["READY=1", "STATUS=serves", "WATCHDOG=1"]
        assert ["WATCHDOG=1"] in turning[1:]
        assert hanging == []

    asyncio.run(hang())
    assert watched.waiting()[-1][0] == "STOPPING=1"


def test_no_watchdog_no_ping(systemd: Notified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    assert readiness.ping_seconds() is None
    with readiness.patience(60):
        pass
    assert systemd.waiting() == []


@pytest.mark.parametrize(
    ("pid", "seconds"), [(str(os.getpid()), 0.1), (str(os.getpid() + 1), None), ("", None)], ids=["ours", "other", "no"]
)
def test_the_watchdog_of_another_process(
    watched: Notified, monkeypatch: pytest.MonkeyPatch, pid: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watched.path.is_socket()
    assert readiness.ping_seconds() == seconds


def test_patience_is_asked_for_and_given_back(watched: Notified) -> None:
    with contextlib.suppress(ZeroDivisionError), readiness.patience(60):
        assert watched.next() == ["WATCHDOG=1", "WATCHDOG_USEC=60000000"]
        raise ZeroDivisionError
    assert watched.next() == ["WATCHDOG=1", "WATCHDOG_USEC=200000"]
    with readiness.patience(0.01):
        assert watched.next() == ["WATCHDOG=1", "WATCHDOG_USEC=200000"]


def test_a_pause_is_as_long_as_asked_for_and_pings(watched: Notified) -> None:
    started = time.monotonic()
    readiness.pause(threading.Event(), 0.45)
    assert 0.45 <= time.monotonic() - started < 2
    assert watched.waiting() == [["WATCHDOG=1"]] * 5


def test_a_pause_ends_at_once_when_told(watched: Notified) -> None:
    stop = threading.Event()
    stop.set()
    started = time.monotonic()
    readiness.pause(stop, 60)
    assert time.monotonic() - started < 5
    assert watched.waiting() == []


def test_nobody_who_hears_it_is_no_fault(systemd: Notified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    systemd.path.unlink()
    readiness.ready("serves")
    monkeypatch.delenv("NOTIFY_SOCKET")
    readiness.stopping()
    assert systemd.waiting() == []


def test_a_milter_that_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "milter.sock"
    assert not liveness.answers(path, 0.2)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert not liveness.answers(path, 0.2)
        listening.listen()
        assert not liveness.answers(path, 0.2)


def test_a_milter_that_stops_answering_is_not_alive(systemd: Notified, tmp_path: Path) -> None:
    path = tmp_path / "milter.sock"
    program = "import sys, time, pathlib; from digipoort_milter import liveness\n"
    program += "liveness.watch(pathlib.Path(sys.argv[1]), 'answers'); time.sleep(60)"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(20)
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], env={**os.environ, **systemd.environment(0.2)}
        ) as process:
            try:
                for _ in range(3):
                    client, _address = listening.accept()
                    with client:
                        client.sendall(client.recv(64))  # what a milter answers is much like what it was offered
                        assert client.recv(64)[-1:] == b"Q"
                systemd.until("READY=1")
                for _ in range(2):
                    systemd.until("WATCHDOG=1")
                with pytest.raises(TimeoutError):
                    systemd.next(1.0)
            finally:
                process.kill()
