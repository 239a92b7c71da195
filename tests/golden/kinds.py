"""One receipt of each kind, made from a notification as Postfix writes it; what differs from run to run is fixed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.interface.profile import InterfaceProfile
from digipoort.profiles import FlowProfile, Profiles
from digipoort.resubmission import History, Standing
from tests.golden.rebuilding import octets, rebuild
from tests.milter_samples import (
    DELAYED,
    EXPIRED_LATE,
    REFUSED_AT_HOP,
    REFUSED_LATE,
    RELAYED,
    Fate,
    nothing_earlier,
    notification,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digipoort.resubmission import Question
    from digipoort_milter.resubmission_client import Ask

FOLDER: Final = Path(__file__).parent
_FLOW: Final = FlowProfile("AGS", 1000, InterfaceProfile())
_PROFILES: Final = Profiles({"ags@logical.example": _FLOW}, {"AGS": _FLOW})
_FINDINGS: Final = (
    "DGP-3001 (header=Message-ID) The required header Message-ID is missing.",
    "DGP-3019 The header Date is not a valid date.",
    "DGP-3028 (cause=padding part=2) The base64 contents cannot be decoded: padding (part 2).",
    "DGP-3035 (extension=js part=3) Files named .js are not accepted (part 3).",
)
_SEVERAL_FINDINGS: Final = replace(
    REFUSED_AT_HOP, diagnostic="smtp; " + "\r\n    ".join(f"554-5.6.0 {finding}" for finding in _FINDINGS)
)
_NOT_CONNECTED: Final = Fate(
    final="emcs@logical.example",
    original="emcs@logical.example",
    action="failed",
    status="5.7.1",
    diagnostic="smtp; 550 5.7.1 <emcs@logical.example>: Recipient address rejected: DGP-2003 (flow=EMCS) The private"
    "\r\n    address is not connected to flow EMCS.",
)
_UNEXPLAINED: Final = Fate(action="failed", status="5.4.6", diagnostic="X-Postfix; mail loops back to myself")
_NEVER_JUDGED: Final = Fate(
    action="failed", status="4.3.0", diagnostic="smtp; 451 4.3.0 DGP-9001 The directory is down."
)
_UNKNOWN_ADDRESS: Final = replace(REFUSED_LATE, original=None)


def received_before(questions: Sequence[Question]) -> list[History]:
    """Stand in for a policy daemon that has seen every submission before."""
    return [History(Standing.REPEATED, "DP-20260101-FEDCBA9876543210") for _ in questions]


def _receipt(*fates: Fate, full: bool = True, ask: Ask = nothing_earlier) -> bytes:
    return _fixed(octets(rebuild(notification(*fates, full=full), profiles=_PROFILES, ask=ask)))


def _fixed(receipt: bytes) -> bytes:
    return re.sub(rb"receipt-[0-9a-f]{32}", b"receipt-" + b"0" * 32, receipt)


def receipts() -> dict[str, bytes]:
    """Return every kind by its name."""
    return {
        "positive": _receipt(RELAYED, full=False),
        "positive-received-before": _receipt(RELAYED, full=False, ask=received_before),
        "positive-several-recipients": _receipt(
            RELAYED, replace(RELAYED, final="emcs@logical.example", original="EMCS@Logical.Example"), full=False
        ),
        "negative": _receipt(replace(REFUSED_AT_HOP, diagnostic=f"smtp; 554 5.6.0 {_FINDINGS[0]}")),
        "negative-several-findings": _receipt(_SEVERAL_FINDINGS),
        "negative-several-recipients": _receipt(_SEVERAL_FINDINGS, _NOT_CONNECTED),
        "negative-unexplained": _receipt(_UNEXPLAINED),
        "negative-never-judged": _receipt(_NEVER_JUDGED),
        "negative-headers-only": _receipt(_SEVERAL_FINDINGS, full=False),
        "delivery-refused": _receipt(REFUSED_LATE),
        "delivery-expired": _receipt(EXPIRED_LATE),
        "delay": _receipt(DELAYED, full=False),
        "minimal-negative": _receipt(_UNKNOWN_ADDRESS),
        "minimal": _fixed(octets(rebuild(b"This is nothing that Postfix would write, at mx7.phys.example.\r\n"))),
    }


def path_of(name: str) -> Path:
    """Return where a kind is kept."""
    return FOLDER / f"{name}.eml"
