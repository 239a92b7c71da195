"""What a fuzzed input may cost: processor time in proportion to its octets, and no memory that stays."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Far above what instrumented code takes, far below what quadratic time takes at the largest input.
_SECONDS: Final = 1.0
_SECONDS_PER_OCTET: Final = 0.0001
_ATTEMPTS: Final = 3
# Until then modules, codecs and patterns are still loaded on first use.
WARM_UP_INPUTS: Final = 5_000
LOOK_EVERY: Final = 1_000
# Objects of Python's own allocator: libFuzzer's growing corpus is not among them.
MAX_BLOCKS_LEFT: Final = 50_000


class CostError(Exception):
    """An input, or all of them together, cost more than it may; the message has the figures."""


class Guard:
    """A target that fails as well when an input is slow, or when objects stay behind."""

    def __init__(self, target: Callable[[bytes], None], seconds: float = _SECONDS) -> None:
        """Watch `target`; every input may take `seconds`, and more in proportion to its octets."""
        self._target = target
        self._seconds = seconds
        self._inputs = 0
        self._blocks_at_start = 0

    def __call__(self, octets: bytes) -> None:
        """Run the target. Raises CostError, and what the target raises."""
        allowed = self._seconds + _SECONDS_PER_OCTET * len(octets)
        spent = _seconds(self._target, octets)
        for _ in range(_ATTEMPTS):
            if spent <= allowed:
                break
            spent = min(spent, _seconds(self._target, octets))  # the first time may have loaded modules
        else:
            raise CostError(f"{spent:.2f} s of processor time for {len(octets)} octets")
        self._inputs += 1
        if self._inputs == WARM_UP_INPUTS:
            self._blocks_at_start = sys.getallocatedblocks()
        elif self._inputs > WARM_UP_INPUTS and self._inputs % LOOK_EVERY == 0:
            left = sys.getallocatedblocks() - self._blocks_at_start
            if left > MAX_BLOCKS_LEFT:
                raise CostError(f"{left} objects more than {self._inputs - WARM_UP_INPUTS} inputs ago")


def _seconds(target: Callable[[bytes], None], octets: bytes) -> float:
    begun = time.thread_time()
    target(octets)
    return time.thread_time() - begun
