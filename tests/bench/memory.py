"""What 50 messages of 25 MB at the same time cost the acceptance milter in memory: nothing may collect bodies."""

from __future__ import annotations

from typing import Final

import click

from tests.bench import milter_client
from tests.bench.declarations import MEBIBYTE, Message, marked, plain, with_attachment
from tests.bench.milters import RunningMilter, acceptance_milter, work_folder

SESSIONS: Final = 50
OCTETS: Final = 25_000_000
LIMIT: Final = 64 * MEBIBYTE
ACCEPTED: Final = b"a"
_STEP_OCTETS: Final = 65_536


def _stream(milter: RunningMilter, message: Message, sessions: int) -> None:
    """Send the message over many connections, a little over each in turn, and have each accepted."""
    connections = [milter_client.connect(milter.socket) for _ in range(sessions)]
    packets = milter_client.message_packets(message)
    last = len(packets) - 1
    for start in range(0, last, _STEP_OCTETS):
        for connection in connections:
            connection.stream.write(packets[start : min(start + _STEP_OCTETS, last)])
    for connection in connections:
        answer = milter_client.ask(connection, packets[last:])
        if answer.verdict != ACCEPTED:
            raise RuntimeError(f"the message is not accepted: {answer}")
        milter_client.close(connection)


def run(_rounds: int) -> None:
    """Measure the process's resident memory: at rest after as many small messages, and its peak under the large."""
    with work_folder() as folder, acceptance_milter(folder) as milter:
        _stream(milter, marked(plain(5000)), SESSIONS)
        rest = milter.memory("VmRSS")
        _stream(milter, marked(with_attachment(OCTETS)), SESSIONS)
        growth = milter.memory("VmHWM") - rest
    verdict = "within" if growth <= LIMIT else "OVER"
    click.echo(click.style(f"memory under {SESSIONS} messages of {OCTETS / 1e6:.0f} MB at the same time", bold=True))
    click.echo(
        f"  {rest / MEBIBYTE:.0f} MiB at rest, {growth / MEBIBYTE:.0f} MiB more at the peak: "
        f"{verdict} {LIMIT / MEBIBYTE:.0f} MiB"
    )
