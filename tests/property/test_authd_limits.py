"""Whoever tries whatever: failures are forgotten in time, and who is known never waits for what others do."""

from __future__ import annotations

from typing import Final
from unittest import mock

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from digipoort_auth import limits
from digipoort_auth.limits import KNOWN_SECONDS, MAX_COUNTS, Attempt, Busy, Limited, Limits, Policy, Scope, Turn

LONGEST: Final = 64.0
FORGET: Final = 3600.0
FREE: Final = {Scope.PAIR: 3, Scope.NETWORK: 6, Scope.LOGIN: 8}
logins = st.sampled_from([b"k7", b"q4", b"l3", b"no login"])
networks = st.sampled_from([b"192.0.2.1", b"192.0.2.2", b"2001:db8::1", b""])
passwords = st.binary(min_size=1, max_size=1)
HONEST: Final = (b"honest", b"198.51.100.1")


class Attempts(RuleBasedStateMachine):
    """Attempts that begin and end in any order, with time between; one pair is known and never fails."""

    @initialize()
    def start(self) -> None:
        """Begin with one known pair."""
        policy = Policy(
            free_pair=FREE[Scope.PAIR],
            free_network=FREE[Scope.NETWORK],
            free_login=FREE[Scope.LOGIN],
            longest_wait=LONGEST,
            forget=FORGET,
        )
        self.limits = Limits(policy, b"key")
        self.now = 0.0
        self.turns: list[Turn] = []
        self.last_failure = -FORGET
        self.limits.succeeded(self._honest(), self.now)

    def _honest(self) -> Attempt:
        return self.limits.attempt(b"pop3", *HONEST, b"right")

    @rule(login=logins | st.just(HONEST[0]), network=networks | st.just(HONEST[1]), password=passwords)
    def begin(self, login: bytes, network: bytes, password: bytes) -> None:
        """Verify only what does not wait, and never more at once than may still fail."""
        assume((login, network) != HONEST)
        attempt = self.limits.attempt(b"pop3", login, network, password)
        answer = self.limits.begin(attempt, self.now)
        assert isinstance(answer, Limited) is (self.limits.wait(attempt, self.now) is not None)
        if isinstance(answer, Turn):
            self.turns.append(answer)
            for place in answer.places:
                assert sum(place in turn.places for turn in self.turns) <= FREE[place.scope]
        elif isinstance(answer, Busy):
            assert any(answer.place in turn.places for turn in self.turns)

    @precondition(lambda self: self.turns)
    @rule(index=st.integers(min_value=0), verdict=st.sampled_from(["failed", "failed", "failed", "succeeded", "none"]))
    def end(self, index: int, verdict: str) -> None:
        """Lengthen waits by a failure, end them by a success, and change nothing without a verdict."""
        turn = self.turns.pop(index % len(self.turns))
        before = self.limits.wait(turn.attempt, self.now)
        if verdict == "failed":
            self.limits.failed(turn.attempt, self.now)
            self.last_failure = self.now
        elif verdict == "succeeded":
            self.limits.succeeded(turn.attempt, self.now)
        self.limits.end(turn)
        after = self.limits.wait(turn.attempt, self.now)
        if verdict == "failed" and before:
            assert after is not None
            assert after.seconds >= before.seconds
        elif verdict == "none":
            assert after == before
        elif verdict == "succeeded":
            assert after is None

    @rule(seconds=st.one_of(st.floats(0, 2), st.floats(0, 2 * FORGET)))
    def pass_time(self, seconds: float) -> None:
        """Let waits pass as time does, neither faster nor slower."""
        attempts = [turn.attempt for turn in self.turns]
        before = [self.limits.wait(attempt, self.now) for attempt in attempts]
        self.now += seconds
        # Who is known is hindered less: that ends with time, so that waits may come then.
        if self.now < KNOWN_SECONDS:
            for attempt, limited in zip(attempts, before, strict=True):
                left = self.limits.wait(attempt, self.now)
                expected = max(0.0, limited.seconds - seconds) if limited else 0.0
                assert abs((left.seconds if left else 0.0) - expected) < 1e-6

    @invariant()
    def honest_login_passes(self) -> None:
        """Let the known pair wait for nobody, and find room."""
        if self.now < KNOWN_SECONDS:
            answer = self.limits.begin(self._honest(), self.now)
            assert isinstance(answer, Turn)
            self.limits.end(answer)

    @invariant()
    def bounded(self) -> None:
        """Keep waits and the number of counts below what they may be."""
        assert all(0 <= limited.seconds <= LONGEST for limited in self.limits.status(self.now, most=1000))
        assert len(self.limits) <= sum(MAX_COUNTS.values())

    @invariant()
    def forgotten_after_a_quiet_time(self) -> None:
        """Hinder nobody from an hour after the last failure on."""
        if self.now >= self.last_failure + FORGET + 1e-6:
            assert self.limits.status(self.now) == []


TestAttempts = Attempts.TestCase


ROOM: Final = {"pair": 20, "network": 10, "login": 15}


class Table(RuleBasedStateMachine):
    """Failures of ever more logins and networks, and little room."""

    @initialize()
    def start(self) -> None:
        """Begin with nothing."""
        with mock.patch.object(limits, "MAX_COUNTS", ROOM):
            self.limits = Limits(Policy(free_pair=2, free_network=3, free_login=3), b"key")
        self.number = 0
        self.now = 0.0

    @rule(logins=st.integers(1, 50), networks=st.integers(1, 50), seconds=st.floats(0, 100))
    def flood(self, logins: int, networks: int, seconds: float) -> None:
        """Fail with passwords that are all different."""
        for step in range(30):
            self.number += 1
            address = f"10.{step % networks >> 8}.{step % networks & 255}.1".encode()
            attempt = self.limits.attempt(b"pop3", b"l%d" % (self.number % logins), address, b"%d" % self.number)
            self.limits.failed(attempt, self.now)
        self.now += seconds

    @invariant()
    def bounded(self) -> None:
        """Count only what failed, and no more than fits."""
        assert len(self.limits) <= min(3 * self.number, sum(ROOM.values()))


TestTable = Table.TestCase
TestTable.settings = settings(max_examples=30, stateful_step_count=20)
