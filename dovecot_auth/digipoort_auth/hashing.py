"""Password hashes beside the event loop: a few at a time, and every network its turn.

A flood of logins takes bounded CPU and memory, and delays the logins of other networks by no more than their share.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeVar

from digipoort.passwords import hash_password, verify_password

if TYPE_CHECKING:
    from collections.abc import Callable

    from digipoort.hashcost import HashCost

# With 17 ms each in two threads these take 3.4 s: twice that could not be answered within a login's deadline any more.
MAX_WAITING: Final = 400
# A rehash can be left out: the login's next success asks for it again.
MAX_WAITING_IDLE: Final = 50

ResultT = TypeVar("ResultT")


class HashQueueFull(Exception):  # noqa: N818 - a state of affairs, as asyncio.QueueFull
    """More wait for a hash than can be served in time, in all or from this network; or the workers are closed."""


class _Worker:
    """A thread with a queue of its own: those of a ThreadPoolExecutor share one, and all of them wake for each hash."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def begin(self, work: Callable[[], None]) -> None:
        """Do this next; it must not raise."""
        self._work.put(work)

    def end(self) -> None:
        """Wait until all is done."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            # It holds a password, and the next one may be long in coming.
            del work


class _Turns:
    """Who waits for a worker: served by turns over networks, in order within one. Each operation takes O(1)."""

    def __init__(self, max_waiting: int, max_per_network: int) -> None:
        self._max_waiting = max_waiting
        self._max_per_network = max_per_network
        # By whose turn it is. OrderedDict, since a dict's first key takes O(n) after many removals at its start.
        self._networks: OrderedDict[str, OrderedDict[asyncio.Future[_Worker], None]] = OrderedDict()
        self._waiting = 0

    def add(self, network: str, waiter: asyncio.Future[_Worker]) -> None:
        """Let `waiter` wait. Raises HashQueueFull."""
        queue = self._networks.get(network)
        if self._waiting >= self._max_waiting or (queue is not None and len(queue) >= self._max_per_network):
            raise HashQueueFull
        if queue is None:
            queue = self._networks[network] = OrderedDict()
        queue[waiter] = None
        self._waiting += 1

    def remove(self, network: str, waiter: asyncio.Future[_Worker]) -> None:
        """Forget a waiter that has given up, when it still waits."""
        queue = self._networks.get(network)
        if queue is None or waiter not in queue:
            return
        del queue[waiter]
        self._waiting -= 1
        if not queue:
            del self._networks[network]

    def pop(self) -> asyncio.Future[_Worker] | None:
        """Return the waiter whose turn it is, None when nobody waits; its network's next turn is after all others."""
        if not self._networks:
            return None
        network, queue = self._networks.popitem(last=False)
        waiter, _ = queue.popitem(last=False)
        self._waiting -= 1
        if queue:
            self._networks[network] = queue
        return waiter


class HashWorkers:
    """Computes password hashes in threads (hashing releases the GIL); whoever finds none free waits for its turn."""

    def __init__(
        self,
        workers: int,
        max_waiting: int = MAX_WAITING,
        *,
        verify: Callable[[str, bytes], bool] = verify_password,
        new_hash: Callable[[bytes, HashCost], str] = hash_password,
    ) -> None:
        """Compute at most `workers` hashes at the same time, and let at most `max_waiting` callers wait.

        At most half of those that wait come from one network. A hash takes its memory while it is computed, so the peak
        is `workers` times that: 19 MiB each at the default cost, 128 MiB for the dearest hash of another system.
        """
        self._workers = [_Worker() for _ in range(workers)]
        # The one used last is the one whose memory is at hand.
        self._free = list(self._workers)
        self._turns = _Turns(max_waiting, max(1, max_waiting // 2))
        self._idle_turns = _Turns(MAX_WAITING_IDLE, MAX_WAITING_IDLE)
        self._verify = verify
        self._new_hash = new_hash
        self._closed = False

    async def verify(self, encoded: str, password: bytes, *, network: str = "") -> bool:
        """Tell whether `password` belongs to the hash `encoded`; `network` names where the one who logs in comes from.

        A caller that is cancelled while it waits costs no CPU. Raises HashQueueFull, and PasswordHashError as
        digipoort.passwords.verify_password.
        """
        worker = await self._free_worker(self._turns, network)
        return await self._computed(worker, functools.partial(self._verify, encoded, password))

    async def hash_when_idle(self, password: bytes, cost: HashCost) -> str:
        """Return a new hash of `password`, computed when no login waits: under load that may take any time.

        Raises HashQueueFull, and what digipoort.passwords.hash_password raises.
        """
        worker = await self._free_worker(self._idle_turns, "")
        return await self._computed(worker, functools.partial(self._new_hash, password, cost))

    def close(self) -> None:
        """Wait for the hashes that are being computed; whoever waits for a worker, or comes now, gets HashQueueFull."""
        self._closed = True
        while self._woken(self._workers[0]):
            pass
        for worker in self._workers:
            worker.end()

    async def _free_worker(self, turns: _Turns, network: str) -> _Worker:
        # While a worker is free nobody waits: each that comes free goes to a waiter at once.
        if self._free:
            return self._free.pop()
        waiter: asyncio.Future[_Worker] = asyncio.get_running_loop().create_future()
        turns.add(network, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            turns.remove(network, waiter)
            if not waiter.cancelled():
                # It got its worker in the moment in which its caller gave up.
                self._give_back(waiter.result())
            raise

    async def _computed(self, worker: _Worker, work: Callable[[], ResultT]) -> ResultT:
        if self._closed:
            self._give_back(worker)
            raise HashQueueFull
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ResultT] = loop.create_future()

        def compute() -> None:
            try:
                end = functools.partial(answer.set_result, work())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                end = functools.partial(answer.set_exception, error)
            loop.call_soon_threadsafe(done, end)

        def done(end: Callable[[], None]) -> None:
            # Not when the caller gives up: a worker is free when its work is done.
            self._give_back(worker)
            if not answer.done():
                end()

        worker.begin(compute)
        return await answer

    def _give_back(self, worker: _Worker) -> None:
        if not self._woken(worker):
            self._free.append(worker)

    def _woken(self, worker: _Worker) -> bool:
        """Let the next one that waits have the worker; a login goes before any rehash. False when nobody waits."""
        while (waiter := self._turns.pop() or self._idle_turns.pop()) is not None:
            # Cancelled, when its caller has given up but did not yet get to say so.
            if not waiter.done():
                waiter.set_result(worker)
                return True
        return False
