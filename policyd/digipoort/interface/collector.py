"""Collects findings while a message streams by: each one once, and of no check so many that others have no room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from digipoort.reasons import Finding

if TYPE_CHECKING:
    from digipoort.reasons import Reason

# As many as a receipt can show at all.
MAX_OF_A_CHECK: Final = 10


class Collector:
    """The findings so far, in the order of the message."""

    __slots__ = ("_counts", "findings")

    def __init__(self) -> None:
        """Start empty."""
        self._counts: dict[str, int] = {}
        self.findings: list[Finding] = []

    def find(self, reason: Reason, **parameters: str) -> None:
        """Add what was found here."""
        self.add(Finding(reason, parameters))

    def add(self, finding: Finding) -> None:
        """Add a finding, unless it is known or there are enough of its check."""
        count = self._counts.get(finding.reason.code, 0)
        if count < MAX_OF_A_CHECK and finding not in self.findings:
            self._counts[finding.reason.code] = count + 1
            self.findings.append(finding)
