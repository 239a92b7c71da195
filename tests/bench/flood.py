"""What wrong passwords from one network cost the logins of others: their latency under the flood against idle."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import psycopg

from digipoort.directory.migrate import migrate
from digipoort.passwords import hash_password
from tests.postgres import private_cluster
from tests.unit.authd_process import Authd, ask, running_authd
from tests.unit.directory_samples import HASH, SAMPLE, fill

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

ATTEMPTS: Final = 10_000
CONNECTIONS: Final = 32
LOGINS: Final = 100
PAUSE_SECONDS: Final = 0.05
PASSWORD: Final = "right"  # noqa: S105 - of a directory that exists for seconds
LIMIT: Final = 1.5


@dataclass(slots=True)
class Flood:
    """Attempts with wrong passwords from one network, over connections that do not rest."""

    authd: Authd
    repeat: bool
    replies: dict[bytes, int] = field(default_factory=dict)
    seconds: float = 0.0
    _number: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Make all attempts, half of them for a login that exists, with another password each or with one."""
        begun = time.monotonic()
        threads = [threading.Thread(target=self._attempt) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds = time.monotonic() - begun

    def _attempt(self) -> None:
        with self.authd.connected() as connection:
            while (number := next(self._number)) < ATTEMPTS:
                login = "aal" if number % 2 else f"nobody{number % 50}"
                reply = ask(connection, login, "wrong" if self.repeat else f"wrong{number}", "203.0.113.7")
                with self._lock:
                    self.replies[reply] = self.replies.get(reply, 0) + 1


def _latencies(connection: socket.socket, goes_on: Callable[[int], bool]) -> list[float]:
    """Return how many milliseconds each login of other networks takes, one at a time."""
    found: list[float] = []
    while goes_on(len(found)):
        begun = time.perf_counter()
        reply = ask(connection, "aal", PASSWORD, f"198.51.100.{len(found) % 200 + 1}")
        if not reply.startswith(b"ok"):
            raise RuntimeError(f"an honest login is answered {reply!r}")
        found.append((time.perf_counter() - begun) * 1000)
        time.sleep(PAUSE_SECONDS)
    return found


def _round(authd: Authd, *, repeat: bool) -> float:
    with authd.connected() as connection:
        idle = _latencies(connection, lambda done: done < LOGINS)
        flood = Flood(authd, repeat)
        flooding = threading.Thread(target=flood.run)
        flooding.start()
        under = _latencies(connection, lambda _done: flooding.is_alive())
        flooding.join()
    ratio = statistics.median(under) / statistics.median(idle)
    replies = ", ".join(f"{count} {reply.decode().strip()}" for reply, count in sorted(flood.replies.items()))
    click.echo(
        f"  idle {_shown(idle)}, under the flood {_shown(under)}, ratio {ratio:.2f}; {flood.seconds:.1f} s: {replies}"
    )
    return ratio


def _shown(latencies: list[float]) -> str:
    return f"{statistics.median(latencies):.1f} ms (longest {max(latencies):.1f} of {len(latencies)})"


def run(rounds: int) -> None:
    """Measure logins of other networks, one at a time, before and during 10,000 wrong passwords of one network."""
    with private_cluster() as dsn, tempfile.TemporaryDirectory() as folder:
        with psycopg.connect(dsn, autocommit=True) as owner:
            migrate(owner)
        fill(dsn, SAMPLE.replace(HASH, hash_password(PASSWORD.encode())))
        for repeat in (False, True):
            _compare(dsn, Path(folder), rounds, repeat=repeat)


def _compare(dsn: str, folder: Path, rounds: int, *, repeat: bool) -> None:
    words = "times one wrong password comes" if repeat else "wrong passwords come"
    click.echo(click.style(f"logins while {ATTEMPTS} {words} from one network", bold=True))
    ratios = []
    for _ in range(rounds):
        # A new process: the failures of the round before are not remembered.
        with running_authd(folder, DIRECTORY_DSN=dsn) as authd:
            ratios.append(_round(authd, repeat=repeat))
    ratio = statistics.median(ratios)
    verdict = "within" if ratio <= LIMIT else "OVER"
    click.echo(f"  median ratio {ratio:.2f} (min {min(ratios):.2f}, max {max(ratios):.2f}): {verdict} {LIMIT}")
