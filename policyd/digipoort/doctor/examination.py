"""Runs the parts of `digipoort doctor` side by side: each has its deadline, and none keeps another from its turn."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from digipoort.doctor import programs, versions
from digipoort.doctor.findings import Finding, fault, warning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digipoort.doctor.host import Host
    from digipoort.doctor.parts import Part

# What they look at, or whom they ask, stands in Postfix's and Dovecot's configuration, or in all programs' settings.
_READ_CONFIGURATION: Final = frozenset(
    {"tables", "sockets", "wiring", "certificates", "doors", "queue", "mailboxes", "disk"}
)
_READ_SETTINGS: Final = frozenset({"sockets", "wiring"})


def unseen(host: Host, parts: Sequence[Part]) -> list[Finding]:
    """Return what keeps these parts from looking, but what one of them tells: else they would have nothing to tell."""
    names = {part.name for part in parts}
    found: list[Finding] = []
    if names & _READ_CONFIGURATION and "versions" not in names:
        found += versions.unreadable(host)
    if names & _READ_SETTINGS and "directory" not in names:
        found += [fault("settings", one, "mend the settings file") for one in programs.faults(host.variables)]
    return found


def examine(host: Host, parts: Sequence[Part]) -> list[Finding]:
    """Return the findings of all parts, in their order; one that fails or takes too long says so in a line."""
    started = time.monotonic()
    outcomes: list[list[Finding] | None] = [None] * len(parts)

    def run(number: int, part: Part) -> None:
        outcomes[number] = _outcome(host, part)

    # Daemons: a part that hangs for ever, as in a file system that is away, must not keep the program from its end.
    threads = [threading.Thread(target=run, args=one, daemon=True) for one in enumerate(parts)]
    for thread in threads:
        thread.start()
    findings: list[Finding] = []
    for number, (part, thread) in enumerate(zip(parts, threads, strict=True)):
        thread.join(max(0.0, started + part.seconds - time.monotonic()))
        found = outcomes[number]
        findings += [_late(part)] if found is None else found
    return findings


def _outcome(host: Host, part: Part) -> list[Finding]:
    try:
        return list(part.examine(host))
    except PermissionError as error:
        return [warning(part.name, f"{error.filename or 'something'} may not be looked at", "run it as root")]
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts' findings must be seen
        # Only its kind: an exception's own words may hold what it worked on.
        found = f"could not be examined: {type(error).__name__} in {_place(error)}"
        return [fault(part.name, found, "run it again; tell the makers if it stays")]


def _place(error: Exception) -> str:
    """Return where in the code an exception was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno}"


def _late(part: Part) -> Finding:
    return fault(part.name, f"no result within {part.seconds:g} seconds", "what it looks at hangs: disk, network")
