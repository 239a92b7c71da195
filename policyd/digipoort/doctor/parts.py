"""The parts of `digipoort doctor`, in the order in which their findings are shown.

They are named, not imported: the other commands have no use for all that the parts need.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from digipoort.doctor.findings import Finding
    from digipoort.doctor.host import Host


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the examination: its name, the module whose `examine` it is, and the seconds that it may take."""

    name: str
    module: str
    seconds: float = 30.0

    def examine(self, host: Host) -> Sequence[Finding]:
        """Return the part's findings. Raises what it raises."""
        module = importlib.import_module(f"digipoort.doctor.{self.module}")
        examine: Callable[[Host], Sequence[Finding]] = module.examine
        return examine(host)


# To add a part: write it, and name it here.
PARTS: Final = (
    Part("versions", "versions"),
    Part("files", "settingsfiles"),
    # Two servers with 15 seconds each, and what libpq takes to find that a host is away.
    Part("directory", "chain", 90.0),
    Part("tables", "tables"),
    Part("units", "units"),
    Part("code", "runningcode"),
    # Each socket and each door has seconds of its own.
    Part("sockets", "sockets", 60.0),
    Part("wiring", "wiring"),
    Part("certificates", "certificates"),
    Part("doors", "doors", 60.0),
    Part("queue", "mailqueue"),
    Part("mailboxes", "mailboxes"),
    Part("disk", "space"),
    Part("time", "timesync"),
)
