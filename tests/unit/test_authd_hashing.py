"""The hash workers: how many at once, whose turn it is, how many wait, and what is left of a caller that gives up."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from digipoort.hashcost import DEFAULT_COST, HashCost
from digipoort.passwords import PasswordHashError, hash_password, verify_password
from digipoort_auth.hashing import MAX_WAITING, MAX_WAITING_IDLE, HashQueueFull, HashWorkers

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Bench:
    """Stands in for the hashing: notes what begins, and lets each go on only when it is told to."""

    def __init__(self) -> None:
        """Have nothing begun."""
        self.begun: list[str] = []
        self._begun = threading.Semaphore(0)
        self._go = threading.Semaphore(0)
        self._finished = threading.Semaphore(0)

    def verify(self, encoded: str, password: bytes) -> bool:
        """Return whether the password is right, or raise PasswordHashError for one that says so."""
        self._work(encoded)
        if password == b"damaged":
            raise PasswordHashError("Nobody is listening any more.")
        return password == b"right"

    def new_hash(self, password: bytes, cost: HashCost) -> str:
        """Return a hash that shows what it was made of."""
        self._work(f"new {password.decode()}")
        return f"{password.decode()} at {cost.memory_kib}"

    def finish(self, hashes: int = 1) -> None:
        """Let so many hashes, begun or not, come to their end."""
        self._go.release(hashes)

    async def started(self, hashes: int = 1) -> None:
        """Wait until so many more hashes have begun."""
        for _ in range(hashes):
            assert await asyncio.to_thread(self._begun.acquire, timeout=10)

    def finished(self) -> None:
        """Hold the event loop up until one more hash has come to its end, of which the loop then hears next."""
        assert self._finished.acquire(timeout=10)

    def _work(self, name: str) -> None:
        self.begun.append(name)
        self._begun.release()
        assert self._go.acquire(timeout=10)
        self._finished.release()


def workers_of(bench: Bench, workers: int = 1, max_waiting: int = MAX_WAITING) -> HashWorkers:
    return HashWorkers(workers, max_waiting, verify=bench.verify, new_hash=bench.new_hash)


async def begin(*callers: Coroutine[object, object, object]) -> list[asyncio.Task[object]]:
    """Start callers in order; each has a worker, or waits, when this returns."""
    tasks = [asyncio.create_task(caller) for caller in callers]
    await asyncio.sleep(0)
    return tasks


def run(scenario: Coroutine[object, object, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(bounded())


def test_a_password_is_verified_and_hashed_anew() -> None:
    async def scenario() -> None:
        workers = HashWorkers(2)
        encoded = await workers.hash_when_idle(b"secret", DEFAULT_COST)
        assert await workers.verify(encoded, b"secret", network="192.0.2.0/24")
        assert not await workers.verify(encoded, b"x")
        assert not await workers.verify(hash_password(b"x"), b"secret")
        with pytest.raises(PasswordHashError):
            await workers.verify("$6$", b"secret")
        with pytest.raises(ValueError, match="A password"):
            await workers.hash_when_idle(b"", DEFAULT_COST)
        assert verify_password(encoded, b"secret")
        workers.close()

    run(scenario())


def test_no_more_than_the_workers_compute_at_the_same_time() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench, 2)
        callers = await begin(*(workers.verify(str(number), b"right") for number in range(5)))
        await bench.started(2)
        assert bench.begun == ["0", "1"]
        bench.finish()
        await bench.started()
        assert bench.begun == ["0", "1", "2"]
        bench.finish(4)
        assert await asyncio.gather(*callers) == [True] * 5
        bench.finish()
        assert not await workers.verify("6", b"wrong")
        workers.close()

    run(scenario())


def test_a_flood_from_one_network_delays_another_by_no_more_than_two_hashes() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench, max_waiting=600)
        flood = await begin(*(workers.verify(f"flood {n}", b"wrong", network="a") for n in range(300)))
        await bench.started()
        other = await begin(workers.verify("other", b"right", network="b"))
        bench.finish(2)
        await bench.started(2)
        assert bench.begun == ["flood 0", "flood 1", "other"]
        bench.finish(299)
        assert await asyncio.gather(*flood, *other) == [False] * 300 + [True]
        # In order within a network.
        assert bench.begun[3:] == [f"flood {n}" for n in range(2, 300)]
        workers.close()

    run(scenario())


def test_each_network_has_its_turn() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench)
        callers = await begin(
            workers.verify("first", b"right"),
            *(workers.verify(f"{network}{n}", b"right", network=network) for network in "abc" for n in range(3)),
        )
        bench.finish(4)
        await bench.started(5)
        # A new network comes after all that wait, and before any of them twice.
        callers += await begin(*(workers.verify(f"{network}", b"right", network=network) for network in ("d", "a")))
        bench.finish(8)
        await asyncio.gather(*callers)
        assert bench.begun == ["first", "a0", "b0", "c0", "a1", "b1", "c1", "a2", "d", "b2", "c2", "a"]
        workers.close()

    run(scenario())


def test_one_network_has_half_of_the_queue_and_all_have_the_whole() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench, max_waiting=10)
        callers = await begin(*(workers.verify("a", b"right", network="a") for _ in range(6)))
        with pytest.raises(HashQueueFull):
            await workers.verify("a", b"right", network="a")
        callers += await begin(*(workers.verify("b", b"right", network="b") for _ in range(3)))
        callers += await begin(*(workers.verify(network, b"right", network=network) for network in "cd"))
        for network in "abe":
            with pytest.raises(HashQueueFull):
                await workers.verify(network, b"right", network=network)
        # Who was turned away leaves nothing behind: each place that comes free is used again.
        bench.finish()
        await bench.started(2)
        callers += await begin(workers.verify("e", b"right", network="e"))
        with pytest.raises(HashQueueFull):
            await workers.verify("f", b"right", network="f")
        bench.finish(11)
        assert await asyncio.gather(*callers) == [True] * 12
        workers.close()

    run(scenario())


def test_a_caller_that_gives_up_frees_the_worker_only_when_the_hash_is_done() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench)
        computing, waiting, last = await begin(
            workers.verify("first", b"damaged"),
            workers.verify("given up while it waited", b"right"),
            workers.verify("last", b"damaged"),
        )
        await bench.started()
        computing.cancel()
        waiting.cancel()
        await asyncio.gather(computing, waiting, return_exceptions=True)
        assert (computing.cancelled(), waiting.cancelled()) == (True, True)
        assert bench.begun == ["first"]
        bench.finish(2)
        with pytest.raises(PasswordHashError):
            await last
        assert bench.begun == ["first", "last"]
        workers.close()

    run(scenario())


def test_those_that_give_up_make_room() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench, max_waiting=4)
        kept = await begin(workers.verify("first", b"right"))
        for _ in range(50):
            given_up = await begin(*(workers.verify("x", b"right", network=network) for network in "aabb"))
            with pytest.raises(HashQueueFull):
                await workers.verify("y", b"right", network="c")
            for caller in given_up:
                caller.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
        kept += await begin(workers.verify("last", b"right", network="a"))
        bench.finish(2)
        assert await asyncio.gather(*kept) == [True, True]
        assert bench.begun == ["first", "last"]
        workers.close()

    run(scenario())


def test_a_worker_is_not_lost_to_a_caller_that_gives_up_as_it_gets_it() -> None:
    async def give_up_after(iterations: int) -> None:
        bench = Bench()
        workers = workers_of(bench)
        first, waiting, last = await begin(*(workers.verify(name, b"right") for name in ("first", "waiting", "last")))
        bench.finish(3)
        bench.finished()
        for _ in range(iterations):
            await asyncio.sleep(0)
        waiting.cancel()
        assert await first
        assert await last
        await asyncio.gather(waiting, return_exceptions=True)
        bench.finish()
        assert await workers.verify("after", b"right")
        workers.close()

    async def scenario() -> None:
        for repetition in range(100):
            await give_up_after(repetition % 10)

    run(scenario())


def test_a_new_hash_waits_until_no_login_does() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench)
        callers = await begin(
            workers.verify("first", b"right"),
            workers.hash_when_idle(b"one", DEFAULT_COST),
            workers.hash_when_idle(b"two", DEFAULT_COST),
            workers.verify("second", b"right", network="a"),
            workers.verify("third", b"right", network="b"),
        )
        bench.finish(3)
        await bench.started(4)
        callers += await begin(workers.verify("fourth", b"right", network="c"))
        bench.finish(3)
        verdicts = await asyncio.gather(*callers)
        assert verdicts == [True, "one at 19456", "two at 19456", True, True, True]
        assert bench.begun == ["first", "second", "third", "new one", "fourth", "new two"]
        workers.close()

    run(scenario())


def test_new_hashes_take_no_place_from_logins_and_are_bounded_themselves() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench, max_waiting=2)
        rehashes = await begin(*(workers.hash_when_idle(b"x", DEFAULT_COST) for _ in range(MAX_WAITING_IDLE + 1)))
        with pytest.raises(HashQueueFull):
            await workers.hash_when_idle(b"x", DEFAULT_COST)
        logins = await begin(*(workers.verify(network, b"right", network=network) for network in "ab"))
        bench.finish(MAX_WAITING_IDLE + 3)
        await asyncio.gather(*rehashes, *logins)
        assert bench.begun[1:3] == ["a", "b"]
        workers.close()

    run(scenario())


def test_closing_waits_for_what_is_computed_and_turns_the_rest_away() -> None:
    async def scenario() -> None:
        bench = Bench()
        workers = workers_of(bench)
        callers = await begin(
            workers.verify("computing", b"right"),
            workers.verify("waiting", b"right", network="a"),
            workers.hash_when_idle(b"waiting", DEFAULT_COST),
        )
        await bench.started()
        bench.finish()
        workers.close()
        verdict, *turned_away = await asyncio.gather(*callers, return_exceptions=True)
        assert verdict is True
        assert [type(reason) for reason in turned_away] == [HashQueueFull, HashQueueFull]
        for _ in range(2):
            with pytest.raises(HashQueueFull):
                await workers.verify("late", b"right")
        assert bench.begun == ["computing"]

    run(scenario())
