"""Processor time by kind of process: what others do on the machine changes it much less than a rate.

It does change it, by a third where caches and cores are shared. So the work that both sides of a comparison have in
common is the measure of what they have not: both slow down together.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.layout import Layout

CLIENT: Final = "client"
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def used(layout: Layout) -> dict[str, float]:
    """Return the seconds that this process and those of a sandbox have had, children that ended included, by name."""
    daemons = {path.read_text(encoding="ascii").strip(): path.stem for path in layout.pids.glob("*.pid")}
    seconds = defaultdict(float, {CLIENT: time.process_time()})
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if process.name not in daemons and not process.joinpath("cwd").readlink().is_relative_to(layout.root):
                continue
            name, _, numbers = process.joinpath("stat").read_text("ascii", "replace").partition("(")[2].rpartition(") ")
        except OSError:
            continue  # gone meanwhile
        # proc(5): utime, stime, cutime and cstime are the fields 14 to 17, the first after the name is 3.
        seconds[daemons.get(process.name, name)] += sum(map(int, numbers.split()[11:15])) / _TICKS
    return seconds


@dataclass(frozen=True, slots=True)
class Account:
    """What was spent on each unit of work, slice by slice: seconds on work of the names `common`, and on the rest."""

    common: frozenset[str]
    slices: list[tuple[float, float]] = field(default_factory=list)

    def measure(self, layout: Layout, work: Callable[[], float], seconds: float) -> float:
        """Do some work that lasts `seconds`, and return its rate."""
        before = used(layout)
        rate = work()
        shared = own = 0.0
        for name, since in used(layout).items():
            spent = since - before.get(name, 0.0)
            if name in self.common:
                shared += spent
            else:
                own += spent
        self.slices.append((shared / rate / seconds, own / rate / seconds))
        return rate

    def own(self) -> float:
        """Return the median of what the work of its own takes, as a part of the common work."""
        return statistics.median(own / shared for shared, own in self.slices)

    def cost(self) -> float:
        """Return the median of the seconds that one unit takes."""
        return statistics.median(shared + own for shared, own in self.slices)
