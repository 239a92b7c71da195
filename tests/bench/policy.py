"""Policy requests per second against a bare psycopg loop that runs the same SQL."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Final

import psycopg

from digipoort.directory import queries
from tests.bench.rounds import Side, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.sandbox.layout import Layout

SECONDS: Final = 5.0
CONNECTIONS: Final = 8
END: Final = b"\n\n"


def _for_a_while(work: Callable[[], None], stop_at: float) -> int:
    count = 0
    while time.monotonic() < stop_at:
        work()
        count += 1
    return count


def _in_threads(connections: int, make: Callable[[], Callable[[], None]]) -> float:
    """Run one piece of work per connection for SECONDS; return how often per second all of them together did it."""
    works = [make() for _ in range(connections)]
    for work in works:
        for _ in range(12):  # psycopg prepares after 5 executions, PostgreSQL turns generic after 5 more
            work()
    counts = [0] * connections
    stop_at = time.monotonic() + SECONDS

    def run(index: int) -> None:
        counts[index] = _for_a_while(works[index], stop_at)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def run(env: Mapping[str, str], layout: Layout, rounds: int) -> None:
    """Measure acceptance decisions at 8 connections, the peer with 1 and with 8."""
    parameters = {
        "sender": env["TRADER_ADDRESS"],
        "recipient": env["AGS_ADDRESS"],
        "day": None,
        "timezone": "Europe/Amsterdam",
    }
    request = (
        "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\npolicy_context=acceptance\n"
        f"sender={env['TRADER_ADDRESS']}\nrecipient={env['AGS_ADDRESS']}\nsize=5000\nqueue_id=\ninstance=1.2.3\n"
        "client_address=127.0.0.1\nclient_name=localhost\nhelo_name=x\nsasl_username=\nencryption_protocol=TLSv1.3\n\n"
    ).encode()

    def ask_daemon() -> Callable[[], None]:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(layout.policyd_run / "policyd.sock"))

        def work() -> None:
            client.sendall(request)
            reply = client.recv(4096)
            while not reply.endswith(END):
                reply += client.recv(4096)
            if not reply.startswith(b"action=DUNNO"):
                raise RuntimeError(f"wrong answer: {reply!r}")

        return work

    def ask_directory() -> Callable[[], None]:
        cursor = psycopg.connect(env["DIRECTORY_DSN"], autocommit=True).cursor()

        def work() -> None:
            row = cursor.execute(queries.ACCEPTANCE, parameters).fetchone()
            if row is None or row[2] != "AGS":
                raise RuntimeError(f"wrong answer: {row!r}")

        return work

    ours = Side(f"policyd x{CONNECTIONS}", lambda: _in_threads(CONNECTIONS, ask_daemon))
    for connections in (1, CONNECTIONS):
        peer = Side(f"bare psycopg x{connections}", lambda n=connections: _in_threads(n, ask_directory))  # type: ignore[misc]
        compare(
            f"policy requests at {CONNECTIONS} connections against bare psycopg at {connections}", ours, peer, rounds
        )
