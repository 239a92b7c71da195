"""Messages per second through the acceptance milter, against a milter that does nothing.

Two figures. Behind a real Postfix stage the milter is one cost among many, as it is for a party. Over the milter
protocol alone nothing hides its cost: messages per second of its own processor time.
"""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Final

from tests.bench import milter_client, postfix_stage
from tests.bench.declarations import marked, plain, with_attachment
from tests.bench.milters import acceptance_milter, noop_milter, work_folder
from tests.bench.rounds import Side, compare

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.declarations import Message
    from tests.bench.milters import RunningMilter

MESSAGE_OCTETS: Final = 5000
SESSIONS: Final = 4
MESSAGES_PER_SESSION: Final = 1500
ACCEPTED: Final = b"a"


def _samples() -> dict[str, Message]:
    return {
        "an attachment": marked(with_attachment(MESSAGE_OCTETS)),
        "plain text": marked(plain(MESSAGE_OCTETS)),
    }


def _session(path: Path, packets: bytes, count: int) -> None:
    connection = milter_client.connect(path)
    for _ in range(count):
        answer = milter_client.ask(connection, packets)
        if answer.verdict != ACCEPTED:
            raise RuntimeError(f"the message is not accepted: {answer}")
    milter_client.close(connection)


def _per_core(milter: RunningMilter, message: Message) -> float:
    """Return messages per second of the process's own processor time, over several sessions at once."""
    packets = milter_client.message_packets(message)
    threads = [
        threading.Thread(target=_session, args=(milter.socket, packets, MESSAGES_PER_SESSION)) for _ in range(SESSIONS)
    ]
    before = milter.cpu_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return SESSIONS * MESSAGES_PER_SESSION / (milter.cpu_seconds() - before)


def _removed_headers(milter: RunningMilter, message: Message) -> tuple[str, ...]:
    """Return which headers the gateway's milter takes out, so that its peer does the same work for Postfix."""
    connection = milter_client.connect(milter.socket)
    with closing(connection.stream):
        answer = milter_client.ask(connection, milter_client.message_packets(message))
    if answer.verdict != ACCEPTED:
        raise RuntimeError(f"the sample is not accepted: {answer}")
    return answer.changed_headers


def run(rounds: int) -> None:
    """Measure both figures for 5 KB messages, with an attachment and of plain text."""
    samples = _samples()
    with work_folder() as folder, acceptance_milter(folder) as ours:
        removed = _removed_headers(ours, samples["plain text"])
        with noop_milter(folder, removed) as noop, postfix_stage.running(folder, ours, noop) as stage:
            for name, message in samples.items():
                compare(
                    f"acceptance milter, {name}, per core over the milter protocol",
                    Side("acceptance", lambda m=message: _per_core(ours, m)),  # type: ignore[misc]
                    Side("no-op", lambda m=message: _per_core(noop, m)),  # type: ignore[misc]
                    rounds,
                )
            for name, message in samples.items():
                compare(
                    f"acceptance milter, {name}, behind a Postfix stage",
                    Side("acceptance", lambda m=message: stage.rate(stage.ours, m)),  # type: ignore[misc]
                    Side("no-op", lambda m=message: stage.rate(stage.peer, m)),  # type: ignore[misc]
                    rounds,
                )
