"""The rate of recipients per login: exact at the limit, forgiving with time, and bounded in memory."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from digipoort_policyd.rates import MAX_LOGINS, NANOSECONDS, Rate, RecipientRates, admit


@dataclass(slots=True)
class Clock:
    """A clock that stands still until it is moved."""

    now: int = 7 * NANOSECONDS

    def __call__(self) -> int:
        """Return nanoseconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.now += int(seconds * NANOSECONDS)


@pytest.mark.parametrize("rate", [Rate(1, 1.0), Rate(3, 1.0), Rate(7, 60.0), Rate(600, 60.0)])
def test_exactly_the_allowance_fits_at_once(rate: Rate) -> None:
    rates = RecipientRates(rate, Clock())
    admitted = [rates.admits(b"k7") for _ in range(rate.recipients + 5)]
    assert admitted == [True] * rate.recipients + [False] * 5


def test_one_more_fits_after_its_share_of_the_window() -> None:
    clock = Clock()
    rates = RecipientRates(Rate(600, 60.0), clock)
    assert all(rates.admits(b"k7") for _ in range(600))
    clock.advance(0.099)
    assert not rates.admits(b"k7")
    clock.advance(0.001)
    assert [rates.admits(b"k7") for _ in range(2)] == [True, False]


def test_what_was_refused_does_not_count() -> None:
    clock = Clock()
    rates = RecipientRates(Rate(2, 60.0), clock)
    assert [rates.admits(b"k7") for _ in range(100)].count(True) == 2
    clock.advance(60)
    assert [rates.admits(b"k7") for _ in range(3)] == [True, True, False]


def test_a_steady_sender_at_the_rate_is_never_refused() -> None:
    clock = Clock()
    rates = RecipientRates(Rate(600, 60.0), clock)
    for _ in range(2000):
        assert rates.admits(b"k7")
        clock.advance(0.1)


def test_logins_do_not_share_an_allowance() -> None:
    rates = RecipientRates(Rate(1, 60.0), Clock())
    assert [rates.admits(login) for login in (b"k7", b"q4", b"k7", b"q4")] == [True, True, False, False]


def test_no_limit_remembers_nobody() -> None:
    rates = RecipientRates(Rate(0, 60.0), Clock())
    assert all(rates.admits(b"k7") for _ in range(1000))
    assert len(rates) == 0


def test_silent_logins_are_forgotten_first() -> None:
    clock = Clock()
    rates = RecipientRates(Rate(1, 60.0), clock)
    for number in range(MAX_LOGINS - 1):
        rates.admits(b"%d" % number)
    clock.advance(60)
    rates.admits(b"busy")
    assert len(rates) == MAX_LOGINS
    rates.admits(b"one more")
    assert len(rates) == 2
    assert not rates.admits(b"busy")


def test_memory_is_bounded_even_when_all_are_busy() -> None:
    rates = RecipientRates(Rate(1, 60.0), Clock())
    assert all(rates.admits(b"%d" % number) for number in range(MAX_LOGINS + 5))
    assert len(rates) == 5


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [
        pytest.param(0, 100 * NANOSECONDS, 105 * NANOSECONDS, id="no history"),
        pytest.param(103 * NANOSECONDS, 100 * NANOSECONDS, 108 * NANOSECONDS, id="part of the allowance is used"),
        pytest.param(105 * NANOSECONDS, 100 * NANOSECONDS, 110 * NANOSECONDS, id="the last that fits"),
        pytest.param(105 * NANOSECONDS + 1, 100 * NANOSECONDS, None, id="over"),
    ],
)
def test_the_decision_alone(due: int, now: int, expected: int | None) -> None:
    assert admit(due, now, Rate(2, 10.0)) == expected
