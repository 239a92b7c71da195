"""Attempts under way at the same time: none is verified that could not be if they came one after another."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pytest

from digipoort_auth.limits import Limited, Limits, Policy, Scope
from digipoort_auth.turns import Turns

HERE: Final = b"192.0.2.1"
VERIFYING_SECONDS: Final = 0.001


@dataclass(slots=True)
class Host:
    """A host whose clock stands still, and that takes a moment to verify a password; `right` is the right one."""

    policy: Policy = field(default_factory=Policy)
    now: float = 1000.0
    limits: Limits = field(init=False)
    turns: Turns = field(init=False)
    verified: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        """Remember nothing yet."""
        self.limits = Limits(self.policy, b"key")
        self.turns = Turns(self.limits, lambda: self.now)

    async def log_in(self, login: bytes, password: bytes, address: bytes = HERE) -> str:
        """Return `ok`, `fail`, or the scope by which the attempt is limited."""
        attempt = self.limits.attempt(b"pop3", login, address, password)
        async with self.turns.turn(attempt) as limited:
            if limited is not None:
                return limited.scope if isinstance(limited, Limited) else "repeated"
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await asyncio.sleep(VERIFYING_SECONDS)
            finally:
                self.at_once -= 1
            self.verified += 1
            if password == b"right":
                self.limits.succeeded(attempt, self.now)
                return "ok"
            self.limits.failed(attempt, self.now)
            return "fail"

    def together(self, attempts: list[tuple[bytes, bytes]], address: bytes = HERE) -> list[str]:
        """Return the answers to attempts that all begin at once."""

        async def everyone() -> list[str]:
            return await asyncio.gather(*(self.log_in(*attempt, address) for attempt in attempts))

        answers = asyncio.run(everyone())
        assert (self.at_once, len(self.turns)) == (0, 0)
        return answers


@pytest.fixture
def host() -> Host:
    """Return a host with the default settings."""
    return Host()


def test_a_thousand_guesses_at_once_are_as_good_as_five(host: Host) -> None:
    answers = host.together([(b"k7", b"guess%d" % number) for number in range(1000)])
    assert Counter(answers) == {"fail": 5, Scope.PAIR: 995}


def test_a_thousand_logins_guessed_at_once_are_as_good_as_fifty(host: Host) -> None:
    answers = host.together([(b"k%d" % number, b"guess") for number in range(1000)])
    assert Counter(answers) == {"fail": 50, Scope.NETWORK: 950}


def test_two_hundred_honest_logins_from_one_address_are_all_accepted(host: Host) -> None:
    assert set(host.together([(b"k%d" % number, b"right") for number in range(200)])) == {"ok"}
    assert host.most_at_once == 50


def test_many_connections_of_one_honest_login_are_all_accepted(host: Host) -> None:
    assert set(host.together([(b"k7", b"right")] * 200)) == {"ok"}
    assert host.most_at_once == 5


def test_honest_logins_pass_after_failures_of_their_network(host: Host) -> None:
    host.together([(b"k%d" % number, b"guess") for number in range(50)])
    host.now += 1
    assert set(host.together([(b"party%d" % number, b"right") for number in range(200)])) == {"ok"}


def test_honest_logins_pass_among_an_old_password_that_is_tried_again_and_again(host: Host) -> None:
    attempts = [(b"k7", b"old"), (b"k7", b"right"), (b"q4", b"right")] * 100
    answers = host.together(attempts)
    assert set(answers[::3]) <= {"fail", "repeated"}
    assert set(answers[1::3]) == set(answers[2::3]) == {"ok"}


def test_room_that_a_success_makes_is_used(host: Host) -> None:
    host.together([(b"k7", b"guess%d" % number) for number in range(4)])
    host.most_at_once = 0
    assert set(host.together([(b"k7", b"right")] * 50)) == {"ok"}
    assert host.most_at_once == 5


def test_who_gives_up_holds_up_nobody(host: Host) -> None:
    """Every second attempt is cancelled, some while they verify, some while they wait, some as their turn comes."""

    async def everyone() -> list[str | BaseException]:
        tasks = [asyncio.ensure_future(host.log_in(b"k7", b"right")) for _ in range(200)]
        for task in tasks[::2]:
            await asyncio.sleep(VERIFYING_SECONDS / 5)
            task.cancel()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)

    answers = asyncio.run(everyone())
    assert set(answers[1::2]) == {"ok"}
    assert len(host.turns) == 0
    assert set(host.together([(b"k7", b"right")] * 20)) == {"ok"}


def test_a_fault_gives_the_turn_back(host: Host) -> None:
    async def fault() -> None:
        async with host.turns.turn(host.limits.attempt(b"pop3", b"k7", HERE, b"x")) as limited:
            assert limited is None
            raise LookupError

    for _ in range(20):
        with pytest.raises(LookupError):
            asyncio.run(fault())
    assert host.together([(b"k7", b"right")]) == ["ok"]


def test_in_order(host: Host) -> None:
    """Who comes while others wait waits behind them."""
    order: list[int] = []

    async def one(number: int) -> None:
        await host.log_in(b"k7", b"right")
        order.append(number)

    async def everyone() -> None:
        tasks = [asyncio.ensure_future(one(number)) for number in range(50)]
        await asyncio.sleep(VERIFYING_SECONDS * 2)
        await asyncio.gather(*tasks, *(one(number) for number in range(50, 100)))

    asyncio.run(everyone())
    # Those whose turn comes together may change places; nobody is overtaken by more.
    assert max(abs(place - number) for place, number in enumerate(order)) < 10


class Visits:
    """Attempts of one login that may be under way one at a time, each until it is let go."""

    def __init__(self) -> None:
        """Begin with none."""
        self.limits = Limits(Policy(free_pair=1), b"key")
        self.turns = Turns(self.limits, lambda: 1000.0)
        self.entered: list[str] = []
        self.let_go = {name: asyncio.Event() for name in "abcd"}

    async def visit(self, name: str) -> None:
        """Enter, and stay until let go."""
        async with self.turns.turn(self.limits.attempt(b"pop3", b"k7", HERE, b"right")) as limited:
            assert limited is None
            self.entered.append(name)
            await self.let_go[name].wait()

    async def settle(self) -> None:
        """Let everyone go as far as he can."""
        for _ in range(20):
            await asyncio.sleep(0)


def test_who_is_cancelled_as_his_turn_comes_passes_it_on() -> None:
    async def everyone() -> list[str]:
        visits = Visits()

        async def first() -> None:
            await visits.visit("a")
            second.cancel()

        _, second, third = (asyncio.ensure_future(one) for one in (first(), visits.visit("b"), visits.visit("c")))
        await visits.settle()
        visits.let_go["a"].set()
        await visits.settle()
        visits.let_go["c"].set()
        await asyncio.wait_for(third, 5)
        assert second.cancelled()
        return visits.entered

    assert asyncio.run(everyone()) == ["a", "c"]


def test_who_comes_as_a_turn_is_passed_on_waits_behind() -> None:
    async def everyone() -> list[str]:
        visits = Visits()
        tasks = [asyncio.ensure_future(visits.visit(name)) for name in "abc"]
        await visits.settle()
        visits.let_go["a"].set()
        # This task runs after the first has left, and before the second knows.
        tasks.append(asyncio.ensure_future(visits.visit("d")))
        await visits.settle()
        for name in "bcd":
            visits.let_go[name].set()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        return visits.entered

    assert asyncio.run(everyone()) == ["a", "b", "c", "d"]
