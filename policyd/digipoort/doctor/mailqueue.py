"""What waits in the gateway's queue, and for how long."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor import commands
from digipoort.doctor.findings import Finding, fault, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from digipoort.doctor.host import Host

_CHECK: Final = "queue"
OLD_SECONDS: Final = 3600.0
# Mail is given up after three days (maximal_queue_lifetime): somebody must see it well before.
LATE_SECONDS: Final = 86_400.0
CROWDED: Final = 10_000
POSTQUEUE: Final = "/usr/sbin/postqueue"
# It opens every message's file; what is left of the part's time is for reading what it says.
LISTING_SECONDS: Final = 25.0


@dataclass(frozen=True, slots=True)
class Queue:
    """How many messages each queue holds; the age of the oldest deferred one; how many lack a reason to be there."""

    messages: Mapping[str, int]
    oldest_seconds: float
    unexplained: int
    corrupt: int


def examine(host: Host) -> list[Finding]:
    """Ask Postfix for its queue, and look for files that it gave up on."""
    if isinstance(host.postfix, str):
        return []
    folder = host.settings.postfix_config_directory
    said = commands.run([POSTQUEUE, "-c", folder, "-j"], seconds=LISTING_SECONDS)
    if said.status == commands.TOOK_TOO_LONG:
        remedy = f"a very large queue, a slow disk, or a Postfix that hangs: qshape -c {folder} deferred"
        return [fault(_CHECK, said.first_error, remedy)]
    if said.status != 0:
        return [fault(_CHECK, said.first_error, "is the gateway's Postfix running?")]
    corrupt = Path(host.postfix.main["queue_directory"], "corrupt")
    return judge(
        read(said.output.splitlines(), time.time(), sum(1 for _ in corrupt.iterdir()) if corrupt.exists() else 0)
    )


def read(lines: Iterable[str], now: float, corrupt: int) -> Queue:
    """Count what `postqueue -j` printed."""
    messages: Counter[str] = Counter()
    oldest, unexplained = 0.0, 0
    for line in filter(str.strip, lines):
        one = json.loads(line)
        messages[one["queue_name"]] += 1
        if one["queue_name"] == "deferred":
            oldest = max(oldest, now - one["arrival_time"])
            unexplained += not any("delay_reason" in recipient for recipient in one["recipients"])
    return Queue(messages, oldest, unexplained, corrupt)


def judge(queue: Queue) -> list[Finding]:
    """Tell what has waited for too long, and what Postfix will not try again by itself."""
    found = []
    if queue.corrupt:
        remedy = "postcat FILE of each in corrupt/; tell its submitter, then remove it"
        found.append(fault(_CHECK, f"{queue.corrupt} files are damaged: Postfix left them aside", remedy))
    if queue.messages.get("hold"):
        remedy = "postqueue -p marks them with !; postsuper -H ID lets one go on"
        found.append(warning(_CHECK, f"{queue.messages['hold']} messages are on hold: nothing delivers them", remedy))
    if queue.unexplained:
        remedy = "start digipoort-milter receipt; never requeue these (postsuper -r): their receipts would be lost"
        found.append(warning(_CHECK, f"{queue.unexplained} deferred messages have no reason: a receipt waits", remedy))
    deferred = queue.messages.get("deferred", 0)
    if deferred:
        text = f"{deferred} deferred, the oldest for {_duration(queue.oldest_seconds)}"
        remedy = "postqueue -p for the reasons; docs/operate.md, At three in the morning; then postqueue -f"
        if queue.oldest_seconds >= LATE_SECONDS:
            found.append(fault(_CHECK, text, remedy))
        elif queue.oldest_seconds >= OLD_SECONDS or deferred >= CROWDED:
            found.append(warning(_CHECK, text, remedy))
        else:
            found.append(ok(_CHECK, text))
    rest = sum(queue.messages.values()) - deferred
    if rest >= CROWDED:
        found.append(warning(_CHECK, f"{rest} messages are under way", "qshape; more hop processes, or wait"))
    return found or [ok(_CHECK, f"none deferred, {rest} under way")]


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 2 * 60:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 3 * 24 * 60 else f"{minutes // (24 * 60)} days"
