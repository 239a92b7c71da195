"""Password hashes beside the event loop: a few at a time, so that a flood of logins takes bounded CPU and memory."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from digipoort.passwords import verify_password

# With 17 ms each in two threads these take 1.7 s: more could not be answered within a deadline of two seconds anyway.
MAX_WAITING: Final = 200


class HashQueueFull(Exception):  # noqa: N818 - a state of affairs, as asyncio.QueueFull
    """More logins wait for their password to be verified than can be served in time."""


class HashWorkers:
    """Verifies passwords in threads (argon2 releases the GIL); whoever finds none free waits in order."""

    def __init__(self, workers: int, max_waiting: int = MAX_WAITING) -> None:
        """Compute at most `workers` hashes at the same time, and let at most `max_waiting` callers wait."""
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="hash")
        self._free = asyncio.Semaphore(workers)
        self._waiting = 0
        self._max_waiting = max_waiting

    async def verify(self, encoded: str, password: bytes) -> bool:
        """Tell whether `password` belongs to the hash `encoded`.

        A caller that is cancelled while it waits costs no CPU. Raises HashQueueFull, and PasswordHashError as
        digipoort.passwords.verify_password.
        """
        await self._take_worker()
        try:
            computed = asyncio.get_running_loop().run_in_executor(self._executor, verify_password, encoded, password)
        except BaseException:
            self._free.release()
            raise
        # A thread cannot be cancelled: its place is free when it is done, not when its caller has given up.
        computed.add_done_callback(self._give_worker_back)
        return await asyncio.shield(computed)

    def close(self) -> None:
        """Wait for the hashes that are being computed; start no other."""
        self._executor.shutdown(cancel_futures=True)

    async def _take_worker(self) -> None:
        if self._free.locked() and self._waiting >= self._max_waiting:
            raise HashQueueFull
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def _give_worker_back(self, computed: asyncio.Future[bool]) -> None:
        self._free.release()
        if not computed.cancelled():
            # Fetched, so that asyncio does not report a failure whose caller has gone.
            computed.exception()
