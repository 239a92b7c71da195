"""What wrong passwords from one network cost the logins of others: their latency under the flood against idle.

The flood is a process of its own: threads of the one that measures would make it wait for Python's lock, not for authd.
It takes only what the others leave of the processors, as a real flood comes from other machines.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import selectors
import statistics
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import psycopg

from digipoort.directory.migrate import migrate
from digipoort.passwords import hash_password
from digipoort_auth.checkpassword import request
from tests.bench import clients
from tests.bench.syslog_daemon import running_syslog
from tests.postgres import private_cluster
from tests.unit.authd_process import Authd, ask, running_authd
from tests.unit.directory_samples import HASH, SAMPLE, fill

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

ATTEMPTS: Final = 10_000
CONNECTIONS: Final = 32
LOGINS: Final = 100
PAUSE_SECONDS: Final = 0.05
PASSWORD: Final = "right"  # noqa: S105 - of a directory that exists for seconds
LIMIT: Final = 1.5
LOWEST_PRIORITY: Final = 19


@dataclass(frozen=True, slots=True)
class Flooded:
    """What a flood was answered: how often which reply, and in how many seconds."""

    replies: Counter[bytes]
    seconds: float


def flood(authd: Authd, attempts: Sequence[bytes]) -> Flooded:
    """Make all attempts over connections that do not rest, at little cost: authd shares the processors with it."""
    replies: Counter[bytes] = Counter()
    left, begun = iter(attempts), time.monotonic()
    with contextlib.ExitStack() as connections, selectors.DefaultSelector() as selector:
        for attempt in itertools.islice(left, CONNECTIONS):
            connection = connections.enter_context(authd.connected())
            selector.register(connection, selectors.EVENT_READ, connection)
            connection.sendall(attempt)
        while selector.get_map():
            for key, _ in selector.select():
                replies[clients.answer(key.data, lambda reply: reply.endswith(b"\n"))] += 1
                following = next(left, None)
                if following is None:
                    selector.unregister(key.data)
                else:
                    key.data.sendall(following)
    return Flooded(replies, time.monotonic() - begun)


def _attempts(*, repeat: bool) -> list[bytes]:
    """Return attempts of one network, half of them for a login that exists, with another password each or with one."""
    return [
        request(
            b"pop3",
            b"aal" if number % 2 else b"nobody%d" % (number % 50),
            b"wrong" if repeat else b"wrong%d" % number,
            b"203.0.113.7",
            secured=True,
        )
        for number in range(ATTEMPTS)
    ]


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
    other = ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(LOWEST_PRIORITY,)
    )
    with other, authd.connected() as connection:
        # It has started before the measure begins.
        other.submit(os.getpid).result()
        idle = _latencies(connection, lambda done: done < LOGINS)
        flooding = other.submit(flood, authd, _attempts(repeat=repeat))
        under = _latencies(connection, lambda _count: not flooding.done())
        flooded = flooding.result()
    ratio = statistics.median(under) / statistics.median(idle)
    replies = ", ".join(f"{count} {reply.decode().strip()}" for reply, count in sorted(flooded.replies.items()))
    click.echo(
        f"  idle {_shown(idle)}, under the flood {_shown(under)}, ratio {ratio:.2f}; {flooded.seconds:.1f} s: {replies}"
    )
    return ratio


def _shown(latencies: list[float]) -> str:
    return f"{statistics.median(latencies):.1f} ms (longest {max(latencies):.1f} of {len(latencies)})"


def run(rounds: int) -> None:
    """Measure logins of other networks, one at a time, before and during 10,000 wrong passwords of one network."""
    with private_cluster() as dsn, tempfile.TemporaryDirectory() as name, running_syslog(Path(name)) as syslog:
        with psycopg.connect(dsn, autocommit=True) as owner:
            migrate(owner)
        fill(dsn, SAMPLE.replace(HASH, hash_password(PASSWORD.encode())))
        for repeat in (False, True):
            _compare(dsn, syslog, rounds, repeat=repeat)


def _compare(dsn: str, syslog: Path, rounds: int, *, repeat: bool) -> None:
    words = "times one wrong password comes" if repeat else "wrong passwords come"
    click.echo(click.style(f"logins while {ATTEMPTS} {words} from one network", bold=True))
    ratios = []
    for _ in range(rounds):
        # A new process: the failures of the round before are not remembered.
        with running_authd(syslog.parent, DIRECTORY_DSN=dsn, SYSLOG_SOCKET=str(syslog)) as authd:
            ratios.append(_round(authd, repeat=repeat))
    ratio = statistics.median(ratios)
    verdict = "within" if ratio <= LIMIT else "OVER"
    click.echo(f"  median ratio {ratio:.2f} (min {min(ratios):.2f}, max {max(ratios):.2f}): {verdict} {LIMIT}")
