"""Whether something keeps this host's clock right: what timedatectl shows too, asked of the kernel (adjtimex(2))."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.doctor.findings import Finding, ok, warning

if TYPE_CHECKING:
    from digipoort.doctor.host import Host

_CHECK: Final = "time service"
_MICROSECONDS: Final = 1e6
# What the kernel counts up to when nobody corrects the clock; systemd-timedated has the same bound.
UNKNOWN_MICROSECONDS: Final = 16_000_000


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        # The rest is not looked at; the kernel writes it.
        ("rest", ctypes.c_byte * 512),
    )


@dataclass(frozen=True, slots=True)
class Clock:
    """How wrong the kernel takes its clock to be at most, in microseconds."""

    max_error: int


def examine(_host: Host) -> list[Finding]:
    """Ask the kernel."""
    timex = _Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        return []
    return judge(Clock(timex.maxerror))


def judge(clock: Clock) -> list[Finding]:
    """Tell whether the clock is kept; receipts, retention and validity dates go by it."""
    if clock.max_error >= UNKNOWN_MICROSECONDS:
        remedy = "timedatectl set-ntp true, or chrony; where the machine's host keeps the clock, none"
        return [warning(_CHECK, "nothing synchronises this host's clock", remedy)]
    return [ok(_CHECK, f"synchronised, wrong by {clock.max_error / _MICROSECONDS:.2f} s at most")]
