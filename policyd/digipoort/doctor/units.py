"""Whether systemd runs the gateway's units, and will run them after the next boot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor import commands
from digipoort.doctor.findings import Finding, fault, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from digipoort.doctor.host import Host

_CHECK: Final = "units"
RUNS: Final = Path("/run/systemd/system")
SYSTEMCTL: Final = "/usr/bin/systemctl"
SERVICES: Final = (
    "digipoort-policyd.service",
    "digipoort-authd.service",
    "digipoort-sasl.service",
    "digipoort-milter@submission.service",
    "digipoort-milter@acceptance.service",
    "digipoort-milter@receipt.service",
    "digipoort-maps.service",
    "digipoort-dovecot.service",
    "digipoort-postfix.service",
)
# A stopped one stops its service too; where one failed, the service may go on, and nobody new reaches it.
SOCKETS: Final = (
    "digipoort-policyd.socket",
    "digipoort-resubmission.socket",
    "digipoort-authd.socket",
    "digipoort-sasl.socket",
)
# Nobody misses them until a certificate has ended, or an upgrade has reached nothing that runs.
WATCHES: Final = ("digipoort-certificate.path", "digipoort-upgrade.path")
ALWAYS: Final = (*SERVICES, *SOCKETS, *WATCHES)
TARGET: Final = "digipoort.target"
PURGE: Final = "digipoort-purge.timer"
# It runs for a moment each night: only how that ended counts.
PURGED: Final = "digipoort-purge.service"
# One or two are a slow database at boot.
MANY_RESTARTS: Final = 5
# `indirect`: its socket is what is enabled.
_AT_BOOT: Final = frozenset({"enabled", "indirect", "generated", "alias"})
# Between two starts of a program that ends each time, which for systemd is a way of `activating`.
_FAILS_AGAIN: Final = "auto-restart"
_PROPERTIES: Final = "Id,LoadState,ActiveState,SubState,UnitFileState,NRestarts,Wants,Requires"


@dataclass(frozen=True, slots=True)
class Unit:
    """What systemd says of a unit; `starts` are those that are started with it, `detail` is its SubState."""

    name: str
    loaded: bool
    active: str
    enabled: str
    restarts: int = 0
    starts: frozenset[str] = frozenset()
    detail: str = ""


def examine(host: Host) -> list[Finding]:
    """Ask systemd, where it runs."""
    if not RUNS.exists():
        return [ok(_CHECK, "systemd does not run here")]
    names = (*ALWAYS, TARGET, *([PURGE, PURGED] if host.settings.mail_retention_days else []))
    said = commands.run([SYSTEMCTL, "show", f"--property={_PROPERTIES}", *names])
    if said.status != 0:
        return [warning(_CHECK, said.first_error, "systemctl status 'digipoort*'")]
    return judge(read(said.output))


def shown(output: str) -> Iterator[dict[str, str]]:
    """Yield the properties of each unit that `systemctl show` printed: blocks of lines, a blank line between them."""
    for block in output.strip().split("\n\n"):
        yield dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def read(output: str) -> list[Unit]:
    """Return the units that `systemctl show` printed."""
    units = []
    for values in shown(output):
        loaded = values.get("LoadState") == "loaded"
        restarts = int(values.get("NRestarts") or 0)
        starts = frozenset(f"{values.get('Wants', '')} {values.get('Requires', '')}".split())
        state, enabled = values["ActiveState"], values.get("UnitFileState", "")
        units.append(Unit(values["Id"], loaded, state, enabled, restarts, starts, values.get("SubState", "")))
    return units


def judge(units: Sequence[Unit]) -> list[Finding]:
    """Tell what does not run, and what will not after a boot."""
    if not any(unit.loaded for unit in units):
        return [warning(_CHECK, "systemd has none of the gateway's units", "the playbook; or no daemon starts at boot")]
    targets = [unit for unit in units if unit.name == TARGET and unit.enabled in _AT_BOOT]
    by_target = frozenset[str]().union(*(unit.starts for unit in targets))
    found = []
    for unit in units:
        if unit.name == PURGED:
            if unit.active == "failed":
                text = f"{unit.name} failed: mail may be kept for longer than parties were told"
                found.append(warning(_CHECK, text, f"journalctl -u {unit.name} tells why"))
            continue
        if not unit.loaded:
            found.append(fault(_CHECK, f"{unit.name} is not installed", "the playbook"))
        elif unit.active not in {"active", "activating", "reloading"}:
            remedy = f"journalctl -u {unit.name}; systemctl start {unit.name}"
            found.append(fault(_CHECK, f"{unit.name} is {unit.active}", remedy))
        if unit.loaded and unit.enabled not in _AT_BOOT and unit.name not in by_target:
            found.append(fault(_CHECK, f"{unit.name} will not start at boot", f"systemctl enable {unit.name}"))
        if unit.active == "activating" and (unit.detail.startswith(_FAILS_AGAIN) or unit.restarts >= MANY_RESTARTS):
            text = f"{unit.name} does not stay up; restarts: {unit.restarts}"
            found.append(fault(_CHECK, text, f"journalctl -u {unit.name} tells why"))
        elif unit.restarts >= MANY_RESTARTS:
            text = f"{unit.name} was restarted {unit.restarts} times since it was started"
            found.append(warning(_CHECK, text, f"journalctl -u {unit.name} tells why"))
    return found or [ok(_CHECK, f"all {len(units)} run, and start at boot")]
