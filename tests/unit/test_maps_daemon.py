"""`digipoort-maps`, the real program against a real PostgreSQL: what it publishes, refuses and survives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from digipoort import generations, maps
from digipoort.settings import AdminSettings, load
from tests.unit.directory_samples import SETTINGS, fill, maps_settings
from tests.unit.test_maps import change, lookup
from tests.unit.test_maps_generations import ADD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WAIT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """The program while it runs; without a syslog it writes its lines to standard error."""

    settings: AdminSettings
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self, event: str) -> list[str]:
        """Return the lines of an event."""
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if f"event={event} " in line + " "]

    def until(self, look: Callable[[], object], what: str) -> None:
        """Wait until `look` finds something true."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not look():
            assert time.monotonic() < deadline, f"{what}; the log: {self.log.read_text(encoding='utf-8')}"
            time.sleep(0.05)

    def finds(self, key: str) -> str | None:
        """Return what Postfix finds for a logical address."""
        return lookup(self.settings, "virtual_alias", key)


@contextlib.contextmanager
def running_maps(dsn: str, folder: Path, **more: str) -> Iterator[Daemon]:
    """Run the program with maps and a log in `folder`."""
    values = {**SETTINGS, **maps_settings(folder), "DIRECTORY_DSN": dsn, "MAPS_POLL_SECONDS": "0.1", **more}
    log = folder / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "digipoort_maps"],
            env={**os.environ, **values},
            stderr=errors,
            stdin=subprocess.DEVNULL,
        )
    daemon = Daemon(load(AdminSettings, values), process, log)
    try:
        yield daemon
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert len(daemon.lines("maps_stopped")) == 1


@pytest.fixture
def daemon(directory_dsn: str, tmp_path: Path) -> Iterator[Daemon]:
    """Yield the program with a directory that it has published."""
    fill(directory_dsn)
    with running_maps(directory_dsn, tmp_path) as running:
        running.until(lambda: running.finds("ags@gov.test"), "the first publication")
        yield running


def test_a_change_is_published_and_the_same_twice_is_not(daemon: Daemon) -> None:
    change(daemon.settings, ADD.format(1))
    daemon.until(lambda: daemon.finds("m1@party.test"), "the new address")
    daemon.until(lambda: len(daemon.lines("maps_published")) == 2, "two lines")
    change(daemon.settings, "UPDATE party SET name = 'other' WHERE code = 'AAL'")
    with psycopg.connect(daemon.settings.directory_dsn) as connection:
        row = connection.execute("SELECT value FROM change_counter").fetchone()
    assert row is not None
    daemon.until(lambda: maps.published_counter(daemon.settings.maps_directory) == row[0], "the counter")
    assert len(daemon.lines("maps_published")) == 2


def test_a_burst_is_published_in_a_few_rounds(daemon: Daemon) -> None:
    for number in range(100):
        change(daemon.settings, ADD.format(number))
    daemon.until(lambda: daemon.finds("m99@party.test"), "the last address")
    # What is too old is removed after the newest is in place.
    daemon.until(lambda: len(generations.kept(daemon.settings.maps_directory)) <= 5, "the removal of old generations")
    assert len(daemon.lines("maps_published")) < 60


def test_a_fault_of_the_host_s_goes_without_a_change_of_the_directory(daemon: Daemon) -> None:
    config = daemon.settings.postfix_config_directory / "main.cf"
    away = config.rename(config.with_suffix(".away"))
    change(daemon.settings, ADD.format(1))
    daemon.until(lambda: daemon.lines("maps_not_published"), "the fault")
    assert "postconf failed" in daemon.lines("maps_not_published")[0]
    away.rename(config)
    daemon.until(lambda: daemon.finds("m1@party.test"), "the new address")
    assert len(daemon.lines("maps_not_published")) == 1


def test_the_guard_is_told_once_and_an_admin_overrules_it(daemon: Daemon) -> None:
    change(daemon.settings, "DELETE FROM address WHERE address = 'bloemen@party.test'")
    daemon.until(lambda: daemon.lines("maps_not_published"), "the refusal")
    time.sleep(1)
    assert len(daemon.lines("maps_not_published")) == 1
    assert "MAPS_REMOVED_SHARE" in daemon.lines("maps_not_published")[0]
    assert daemon.finds("bloemen@party.test")
    maps.publish(daemon.settings, force=True)
    assert not daemon.finds("bloemen@party.test")


def test_what_an_admin_went_back_to_stays(daemon: Daemon) -> None:
    change(daemon.settings, ADD.format(1))
    daemon.until(lambda: daemon.finds("m1@party.test"), "the new address")
    maps.roll_back(daemon.settings, None)
    change(daemon.settings, ADD.format(2))
    daemon.until(lambda: daemon.lines("maps_held"), "it says that it waits")
    time.sleep(1)
    assert not daemon.finds("m1@party.test")
    assert len(daemon.lines("maps_held")) == 1
    maps.publish(daemon.settings)
    change(daemon.settings, ADD.format(3))
    daemon.until(lambda: daemon.finds("m3@party.test"), "publications go on")


def test_an_outage_leaves_the_last_good_maps(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    with running_maps(directory_dsn, tmp_path) as daemon:
        daemon.until(lambda: daemon.finds("ags@gov.test"), "the first publication")
        with psycopg.connect(directory_dsn, autocommit=True) as connection:
            # Every other session of this database goes, as when the server is restarted.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        daemon.until(lambda: daemon.lines("directory_unavailable"), "it says so")
        assert daemon.finds("ags@gov.test")
        daemon.until(lambda: daemon.lines("directory_restored"), "it comes back")
        change(daemon.settings, ADD.format(1))
        daemon.until(lambda: daemon.finds("m1@party.test"), "publications go on")


def test_faulty_settings_end_it(tmp_path: Path) -> None:
    environment = {**os.environ, **SETTINGS, "MAPS_DIRECTORY": "relative"}
    ended = subprocess.run(
        [sys.executable, "-m", "digipoort_maps"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ended.returncode == os.EX_CONFIG
    assert "MAPS_DIRECTORY" in ended.stderr


def test_a_signal_that_comes_as_the_event_is_waited_for_does_not_hang_the_program() -> None:
    program = """
import os, signal
from digipoort import daemon
stop = daemon.stop_flag(lambda: print("told", flush=True))
with stop._cond:  # as a wait for the event has it for a moment, at its beginning and at its end
    os.kill(os.getpid(), signal.SIGTERM)
    print("goes on", flush=True)
print(stop.wait(20))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.split("\n") == ["told", "goes on", "True", ""]
