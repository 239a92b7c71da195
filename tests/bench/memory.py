"""What 50 messages of 25 MB at the same time cost the acceptance milter in memory: nothing may collect bodies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final

import click

from tests.bench import milter_client
from tests.bench.declarations import MEBIBYTE, Message, marked, plain, with_attachment
from tests.bench.milters import RunningMilter, acceptance_milter, work_folder

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS: Final = 50
OCTETS: Final = 25_000_000
LIMIT: Final = 64 * MEBIBYTE
ACCEPTED: Final = b"a"
_LOOK_SECONDS: Final = 0.1


def _stream(milter: RunningMilter, message: Message, sessions: int) -> int:
    """Send the message over many connections at once, have each accepted, and return the most threads seen at work.

    Each connection has a sender of its own, as each smtpd is a process of its own: libmilter serves its sessions with
    few threads, and one that waits for a client that itself waits for another would wait for ever.
    """
    packets = milter_client.message_packets(message)
    most_threads = 0
    with ThreadPoolExecutor(sessions) as pool:
        senders = [pool.submit(_send, milter.socket, packets) for _ in range(sessions)]
        while wait(senders, timeout=_LOOK_SECONDS).not_done:
            most_threads = max(most_threads, milter.threads())
    for sender in senders:
        sender.result()
    return most_threads


def _send(path: Path, packets: bytes) -> None:
    connection = milter_client.connect(path)
    answer = milter_client.ask(connection, packets)
    if answer.verdict != ACCEPTED:
        raise RuntimeError(f"the message is not accepted: {answer}")
    milter_client.close(connection)


def run(_rounds: int) -> None:
    """Measure the process's resident memory: at rest after as many small messages, and its peak under the large."""
    with work_folder() as folder, acceptance_milter(folder) as milter:
        _stream(milter, marked(plain(5000)), SESSIONS)
        rest = milter.memory("VmRSS")
        threads = _stream(milter, marked(with_attachment(OCTETS)), SESSIONS)
        growth = milter.memory("VmHWM") - rest
    verdict = "within" if growth <= LIMIT else "OVER"
    click.echo(click.style(f"memory under {SESSIONS} messages of {OCTETS / 1e6:.0f} MB at the same time", bold=True))
    click.echo(
        f"  {rest / MEBIBYTE:.0f} MiB at rest, {growth / MEBIBYTE:.0f} MiB more at the peak: "
        f"{verdict} {LIMIT / MEBIBYTE:.0f} MiB; at most {threads} threads"
    )
