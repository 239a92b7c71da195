"""Log lines: one line per event, in a fixed order, that no input can forge; written to a real syslog socket."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from digipoort import log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield a syslog server's socket at `tmp_path / "log"`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        yield server


def test_an_event_is_one_datagram_with_facility_mail(syslog: socket.socket, tmp_path: Path) -> None:
    logger = log.configure("digipoort-test", tmp_path / "log", "info")
    logger.info("recipient_allowed", size=3, elapsed_ms=1.2345, queue_id="4Z", ref="DP-1", reason="DGP-1001")
    expected = "event=recipient_allowed ref=DP-1 queue_id=4Z reason=DGP-1001 elapsed_ms=1.23 size=3"
    # Facility mail (2) times 8 plus severity info (6), RFC 5424 section 6.2.1.
    assert syslog.recv(4096).decode() == f"<22>digipoort-test[{os.getpid()}]: {expected}"


def test_the_level_holds_back_what_is_below_it(syslog: socket.socket, tmp_path: Path) -> None:
    logger = log.configure("digipoort-test", tmp_path / "log", "warning")
    logger.info("held_back")
    logger.error("written")
    assert syslog.recv(4096).endswith(b": event=written")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nevent=forged", r'"a\nevent=forged"'),
        ('a" event=forged', '"a\' event=forged"'),
        ("a\r\n\x00\x1b[2J", r"a\r\n\x00\x1b[2J"),
        ("a\u2028b\u202eb", r"a\u2028b\u202eb"),
        (b"\xff\x00", "\N{REPLACEMENT CHARACTER}\\x00"),
        ("\udcff", r"\udcff"),
        ("x" * 501, "x" * 500),
        (1.0, "1.00"),
        (None, ""),
    ],
)
def test_no_value_forges_a_line_or_a_key(caplog: pytest.LogCaptureFixture, value: object, shown: str) -> None:
    logger = logging.getLogger("forging")
    logger.setLevel(logging.INFO)
    log.wrap(logger).info("something", sender=value)
    assert caplog.messages == [f"event=something sender={shown}"]


def test_an_exception_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    logger = log.wrap(logging.getLogger("exceptions"))
    logger.error("internal_error", exc_info=ValueError("first\nsecond"))
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]
    assert caplog.messages[0].startswith("event=internal_error")


def test_without_syslog_the_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log.configure("digipoort-test", tmp_path / "absent", "info").info("started")
    assert capsys.readouterr().err == f"digipoort-test[{os.getpid()}]: event=started\n"


def test_a_syslog_that_comes_later_gets_what_follows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = log.configure("digipoort-test", tmp_path / "log", "info")
    logger.info("too_early")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        logger.info("in_time")
        assert server.recv(4096).endswith(b": event=in_time")
    assert "event=too_early" in capsys.readouterr().err


def test_a_syslog_that_goes_away_does_not_stop_the_program(
    syslog: socket.socket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = log.configure("digipoort-test", tmp_path / "log", "info")
    syslog.close()
    logger.info("started")
    assert capsys.readouterr().err == f"digipoort-test[{os.getpid()}]: event=started\n"


def test_a_syslog_that_does_not_read_never_makes_a_daemon_wait(
    syslog: socket.socket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = log.configure("digipoort-test", tmp_path / "log", "info")
    for number in range(2000):  # more than any datagram queue holds (net.unix.max_dgram_qlen)
        logger.info("written", number=number)
    assert "event=written number=1999" in capsys.readouterr().err
    assert b"event=written number=0" in syslog.recv(1000)


def test_threads_share_a_logger_while_syslog_is_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = log.configure("digipoort-test", tmp_path / "log", "info")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            logger.info("written")

    with ThreadPoolExecutor(8) as threads:
        writing = [threads.submit(write) for _ in range(8)]
        for _ in range(20):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
                server.bind(str(tmp_path / "log"))
                server.settimeout(5)
                assert server.recv(4096).endswith(b": event=written")
            (tmp_path / "log").unlink()
        stop.set()
    assert [task.result() for task in writing] == [None] * 8
    capsys.readouterr()


_DEAF = """
import socket, sys
from pathlib import Path
from digipoort import log
deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
deaf.bind(sys.argv[1])
logger = log.configure("digipoort-test", Path(sys.argv[1]), "info")
for number in range(3000):
    logger.info("written", number=number, text="x" * 400)
"""


def test_a_standard_error_that_nobody_reads_never_makes_a_daemon_wait(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-c", _DEAF, str(tmp_path / "log")]
        assert subprocess.run(command, check=False, stderr=theirs.fileno(), timeout=60).returncode == 0
        assert b"event=written number=" in ours.recv(4096)


def test_a_standard_error_that_is_closed_harms_nobody(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        command = [sys.executable, "-c", _DEAF, str(tmp_path / "log")]
        assert subprocess.run(command, check=False, stderr=theirs.fileno(), timeout=60).returncode == 0


def test_a_value_stays_bounded_when_it_is_made_printable(caplog: pytest.LogCaptureFixture) -> None:
    log.wrap(logging.getLogger("digipoort-test-bound")).warning("event", value="\U000e0001" * 5000)
    assert len(caplog.records[0].getMessage()) < log.MAX_VALUE_CHARACTERS + 50
