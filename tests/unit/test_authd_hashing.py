"""The hash workers: how many at once, how many wait, and what a caller that gives up leaves behind."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from digipoort.passwords import PasswordHashError, hash_password
from digipoort_auth import hashing
from digipoort_auth.hashing import HashQueueFull, HashWorkers

if TYPE_CHECKING:
    from pytest_mock import MockerFixture


def test_a_password_is_verified() -> None:
    async def scenario() -> None:
        workers = HashWorkers(2)
        encoded = hash_password(b"secret")
        assert await workers.verify(encoded, b"secret")
        assert not await workers.verify(encoded, b"x")
        with pytest.raises(PasswordHashError):
            await workers.verify("$6$", b"secret")
        workers.close()

    asyncio.run(scenario())


def test_no_more_than_the_workers_compute_and_no_more_than_the_limit_wait(mocker: MockerFixture) -> None:
    go = threading.Event()
    started = threading.Semaphore(0)

    def slow(_encoded: str, _password: bytes) -> bool:
        started.release()
        return go.wait(10)

    mocker.patch.object(hashing, "verify_password", slow)

    async def scenario() -> None:
        workers = HashWorkers(2, max_waiting=3)
        accepted = [asyncio.create_task(workers.verify("", b"")) for _ in range(5)]
        await asyncio.sleep(0.05)
        with pytest.raises(HashQueueFull):
            await workers.verify("", b"")
        assert [started.acquire(blocking=False) for _ in range(3)] == [True, True, False]
        go.set()
        assert await asyncio.gather(*accepted) == [True] * 5
        assert await workers.verify("", b"")
        workers.close()

    asyncio.run(scenario())


def test_a_caller_that_gives_up_frees_the_worker_only_when_the_hash_is_done(mocker: MockerFixture) -> None:
    go = threading.Event()
    calls: list[str] = []

    def slow(encoded: str, _password: bytes) -> bool:
        calls.append(encoded)
        go.wait(10)
        raise PasswordHashError("nobody is listening any more")

    mocker.patch.object(hashing, "verify_password", slow)

    async def scenario() -> None:
        workers = HashWorkers(1)
        computing = asyncio.create_task(workers.verify("first", b""))
        waiting = asyncio.create_task(workers.verify("given up while it waited", b""))
        last = asyncio.create_task(workers.verify("last", b""))
        await asyncio.sleep(0.05)
        computing.cancel()
        waiting.cancel()
        await asyncio.sleep(0.05)
        assert calls == ["first"]
        go.set()
        with pytest.raises(PasswordHashError):
            await last
        assert calls == ["first", "last"]
        workers.close()

    asyncio.run(scenario())
