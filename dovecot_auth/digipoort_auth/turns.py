"""Attempts of one login, network or pair take turns, so that no more are verified at once than may still fail.

Without it a thousand attempts that begin before the first has failed would all be verified. They wait here in order
instead of being refused: as soon as one succeeds or fails the next is decided on, and honest ones pass.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from digipoort_auth.limits import Busy, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from digipoort_auth.limits import Attempt, Limited, Limits, Place, Repeated


class Turns:
    """The attempts that wait until others have ended; each is a request under way, so those bound their number."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        """Take the limits, and a monotonic clock in seconds."""
        self._limits = limits
        self._clock = clock
        self._waiting: dict[Place, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """Return the number of attempts that wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, attempt: Attempt) -> AsyncIterator[Limited | Repeated | None]:
        """Wait for the attempt's turn: None, verify it in the block and say how it ended; or it must not be verified.

        Whoever calls has a deadline, and cancels.
        """
        answer = await self._decided(attempt)
        if not isinstance(answer, Turn):
            yield answer
            return
        try:
            yield None
        finally:
            self._limits.end(answer)
            for place in answer.places:
                self._wake(place)

    async def _decided(self, attempt: Attempt) -> Turn | Limited | Repeated:
        """Return the decision. Who was woken wakes the next, as there may be room for more, unless it is still full."""
        behind = self._queue_to_join(attempt)
        first = False
        while True:
            if behind is not None:
                await self._wait(behind, first=first)
            answer = self._limits.begin(attempt, self._clock())
            first = isinstance(answer, Busy) and answer.place == behind
            if behind is not None and not first:
                self._wake(behind)
            if not isinstance(answer, Busy):
                return answer
            behind = answer.place

    def _queue_to_join(self, attempt: Attempt) -> Place | None:
        if not self._waiting:
            return None
        now = self._clock()
        if self._limits.wait(attempt, now) is not None:
            return None
        return next((place for place in self._limits.places(attempt, now) if place in self._waiting), None)

    async def _wait(self, place: Place, *, first: bool) -> None:
        turn = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(place, deque())
        if first:
            queue.appendleft(turn)
        else:
            queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake(place)
            raise

    def _wake(self, place: Place) -> None:
        waiting = self._waiting.get(place)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        if not waiting:
            self._waiting.pop(place, None)
