"""How login attempts are limited: whose failures count for whom, for how long, and in how little memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from digipoort import settings
from digipoort_auth import limits as limits_module
from digipoort_auth.limits import (
    FIRST_WAIT_SECONDS,
    KNOWN_SECONDS,
    MAX_KNOWN_NETWORKS,
    NO_LOGIN,
    Attempt,
    Busy,
    Limited,
    Limits,
    Policy,
    Scope,
    Turn,
    network_of,
    policy_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = b"192.0.2.1"
KEY: Final = b"key"
HOUR: Final = 3600.0


@dataclass(slots=True)
class Host:
    """Limits with a clock that stands still, and passwords that are all different."""

    policy: Policy = field(default_factory=Policy)
    now: float = 1000.0
    passwords: int = 0
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        """Remember nothing yet."""
        self.limits = Limits(self.policy, KEY)

    def attempt(self, login: str = "k7", address: bytes = HERE, password: bytes | None = None) -> Attempt:
        """Return an attempt, with a password that was not used before."""
        self.passwords += 1
        mark = self.limits.attempt(b"pop3", b"", b"", password).password_mark if password else self.passwords
        return dataclasses.replace(self.limits.attempt(b"pop3", login.encode(), address, b""), password_mark=mark)

    def fail(self, times: int = 1, **whose: str | bytes) -> None:
        """Let attempts fail, whatever the limits say."""
        for _ in range(times):
            self.limits.failed(self.attempt(**whose), self.now)  # type: ignore[arg-type]

    def succeed(self, **whose: str | bytes) -> None:
        """Let one succeed."""
        self.limits.succeeded(self.attempt(**whose), self.now)  # type: ignore[arg-type]

    def limited(self, **whose: str | bytes) -> Limited | None:
        """Return what makes an attempt wait."""
        return self.limits.wait(self.attempt(**whose), self.now)  # type: ignore[arg-type]

    def seconds(self, **whose: str | bytes) -> float:
        """Return how long an attempt must wait."""
        limited = self.limited(**whose)
        return limited.seconds if limited else 0.0


@pytest.fixture
def host() -> Host:
    """Return a host with the default settings."""
    return Host()


def addresses(number: int) -> Iterator[bytes]:
    """Yield addresses of as many networks."""
    return (b"198.51.%d.%d" % (index >> 8, index & 255) for index in range(number))


def test_free_failures_then_waits_that_double_to_the_longest(host: Host) -> None:
    waits = []
    for _ in range(20):
        host.fail()
        waits.append(host.seconds())
    assert waits[:4] == [0, 0, 0, 0]
    assert waits[4:14] == [FIRST_WAIT_SECONDS * 2**step for step in range(10)]
    assert set(waits[14:]) == {900.0}
    assert host.limited() == Limited(Scope.PAIR, "k7 192.0.2.1", 15, 900.0)


def test_a_wait_passes(host: Host) -> None:
    host.fail(8)
    assert host.seconds() == 8
    host.now += 3
    assert host.seconds() == 5
    host.now += 5
    assert host.limited() is None


@pytest.mark.parametrize("failures", [1, 5, 15, 100])
def test_an_hour_without_failures_forgets_them(host: Host, failures: int) -> None:
    host.fail(failures)
    host.now += HOUR
    assert host.limited() is None
    assert host.limits.status(host.now) == []
    host.fail(4)
    assert host.limited() is None


def test_failures_are_forgotten_evenly(host: Host) -> None:
    """An office with a wrong password every minute never waits."""
    for number in range(200):
        host.fail(login=f"party{number}")
        host.now += HOUR / 60
    assert host.limited(login="new") is None


def test_a_failure_during_a_wait_does_not_shorten_it(host: Host) -> None:
    """A known neighbour fails, when the network's count has fallen since it was highest."""
    host.fail(60, login="guess")
    host.now += 200
    host.fail(login="neighbour")
    assert host.seconds(login="new") == 700


def test_logins_of_a_network_are_limited_together(host: Host) -> None:
    for number in range(50):
        assert host.limited(login="new") is None
        host.fail(login=f"guess{number}")
    assert host.limited(login="new") == Limited(Scope.NETWORK, "192.0.2.1", 50, 1.0)
    assert host.limited(login="new", address=b"192.0.2.2") is None


def test_a_login_is_limited_from_everywhere(host: Host) -> None:
    for address in addresses(100):
        assert host.limited(address=b"203.0.113.1") is None
        host.fail(address=address)
    assert host.limited(address=b"203.0.113.1") == Limited(Scope.LOGIN, "k7", 100, 1.0)
    assert host.limited(login="q4", address=b"203.0.113.1") is None


def test_who_logged_in_well_is_not_hindered_by_others(host: Host) -> None:
    host.succeed()
    for address in addresses(200):
        host.fail(address=address)
    host.fail(200, login="neighbour")
    assert host.limited() is None
    assert isinstance(host.limits.begin(host.attempt(), host.now), Turn)
    assert host.seconds(address=b"203.0.113.1") == 900
    assert host.seconds(login="new") == 900
    host.now += KNOWN_SECONDS - 1
    host.fail(200, login="neighbour")
    assert host.limited() is None
    host.now += 1
    assert host.seconds() == 900 - 1


def test_who_logged_in_well_is_hindered_by_his_own_failures(host: Host) -> None:
    host.succeed()
    host.fail(6)
    assert host.limited() == Limited(Scope.PAIR, "k7 192.0.2.1", 6, 2.0)


def test_a_success_clears_the_pair_but_not_the_network_nor_the_login(host: Host) -> None:
    host.fail(60)
    assert host.seconds() == 900
    host.succeed()
    assert host.limited() is None
    assert host.seconds(login="q4") == 900
    for address in addresses(50):
        host.fail(address=address)
    assert host.limited(address=b"203.0.113.1") is not None


def test_the_same_wrong_password_counts_once(host: Host) -> None:
    assert host.limits.failed(host.attempt(password=b"old"), host.now)
    for _ in range(1000):
        host.now += 300
        assert not host.limits.failed(host.attempt(password=b"old"), host.now)
        # Another program of the party has the new one.
        host.succeed()
    host.fail(48, login="neighbour")
    assert host.limited(login="new") is None


def test_the_last_three_wrong_passwords_are_told_from_new_ones(host: Host) -> None:
    counted = [
        host.limits.failed(host.attempt(password=password), host.now)
        for password in (b"a", b"b", b"c", b"c", b"b", b"a", b"d", b"a", b"b", b"c")
    ]
    assert counted == [True, True, True, False, False, False, True, False, False, True]


def test_a_password_is_only_the_same_for_the_same_pair(host: Host) -> None:
    for login, address in (("k7", HERE), ("k7", b"192.0.2.2"), ("q4", HERE)):
        assert host.limits.failed(host.attempt(login, address, b"old"), host.now)


def test_nothing_of_a_password_but_a_mark_of_this_process(host: Host) -> None:
    attempt = host.limits.attempt(b"pop3", b"k7", HERE, b"secret")
    assert 0 <= attempt.password_mark < 2**16
    assert str(attempt.password_mark) not in repr(attempt)
    others = {Limits(Policy(), b"%d" % key).attempt(b"pop3", b"k7", HERE, b"secret").password_mark for key in range(20)}
    assert len(others) > 15


@pytest.mark.parametrize("login", [b"", b"a b", b"k7 192.0.2.9", b"\xff", b"x" * 129, b"\n", b"?"])
def test_what_cannot_be_a_login_is_counted_as_one(host: Host, login: bytes) -> None:
    assert host.limits.attempt(b"pop3", login, HERE, b"").login == NO_LOGIN


def test_logins_are_compared_in_lower_case(host: Host) -> None:
    assert host.limits.attempt(b"pop3", b"K7-Inlog", HERE, b"") == host.limits.attempt(b"pop3", b"k7-inlog", HERE, b"")


@pytest.mark.parametrize(
    ("address", "prefix4", "prefix6", "network"),
    [
        (b"192.0.2.77", 32, 64, "192.0.2.77"),
        (b"192.0.2.77", 24, 64, "192.0.2.0/24"),
        (b"2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::/64"),
        (b"2001:DB8:1:2::6", 32, 128, "2001:db8:1:2::6"),
        (b"2001:db8:1:2::6", 32, 48, "2001:db8:1::/48"),
        (b"::ffff:192.0.2.77", 32, 64, "192.0.2.77"),
        (b"::ffff:c000:24d", 24, 64, "192.0.2.0/24"),
        (b"fe80::1%eth0", 32, 64, "fe80::/64"),
        (b"::1", 32, 64, "::/64"),
        (b"", 32, 64, "unknown"),
        (b"192.0.2.1 ", 32, 64, "unknown"),
        (b"192.0.2.1/24", 32, 64, "unknown"),
        (b"192.0.2.01", 32, 64, "unknown"),
        (b"gateway.example", 32, 64, "unknown"),
        (b"\xff\x00", 32, 64, "unknown"),
        (b"1" * 5000, 32, 64, "unknown"),
    ],
)
def test_network_of(address: bytes, prefix4: int, prefix6: int, network: str) -> None:
    assert network_of(address, prefix4, prefix6) == network


def test_no_more_are_under_way_than_may_fail(host: Host) -> None:
    answers = [host.limits.begin(host.attempt(), host.now) for _ in range(1000)]
    turns = [answer for answer in answers if isinstance(answer, Turn)]
    assert len(turns) == 5
    assert all(isinstance(answer, Busy) for answer in answers if answer not in turns)
    for turn in turns:
        host.limits.failed(turn.attempt, host.now)
        host.limits.end(turn)
    assert isinstance(host.limits.begin(host.attempt(), host.now), Limited)


def test_after_a_wait_one_attempt_at_a_time(host: Host) -> None:
    host.fail(6)
    host.now += 2
    first = host.limits.begin(host.attempt(), host.now)
    assert isinstance(first, Turn)
    assert isinstance(host.limits.begin(host.attempt(), host.now), Busy)
    host.limits.end(first)
    second = host.limits.begin(host.attempt(), host.now)
    assert isinstance(second, Turn), "no verdict is no failure"
    host.limits.failed(second.attempt, host.now)
    host.limits.end(second)
    assert host.seconds() == 4


def test_a_turn_is_given_back_as_it_was_taken(host: Host) -> None:
    """The pair gets known while others of it are under way as unknown."""
    turns = [host.limits.begin(host.attempt(), host.now) for _ in range(3)]
    for turn in turns:
        assert isinstance(turn, Turn)
        host.limits.succeeded(turn.attempt, host.now)
        host.limits.end(turn)
    fresh = [host.limits.begin(host.attempt(f"login{number}"), host.now) for number in range(60)]
    assert [type(answer) for answer in fresh] == [Turn] * 50 + [Busy] * 10


def test_an_attack_on_one_host_is_worth_little(host: Host) -> None:
    """Whoever tries as fast as he may gets so many passwords verified in a day."""
    verified = 0
    end = host.now + 24 * HOUR
    while host.now < end:
        host.now += host.seconds() or 0.01
        if host.limited() is None:
            host.fail()
            verified += 1
    assert verified <= 24 * 15 + 15


def test_status_has_the_longest_wait_first(host: Host) -> None:
    host.fail(6, login="a", address=b"192.0.2.2")
    host.fail(8, login="b", address=b"192.0.2.3")
    host.fail(4, login="c", address=b"192.0.2.4")
    host.now += 3
    assert host.limits.status(host.now) == [
        Limited(Scope.PAIR, "b 192.0.2.3", 8, 5.0),
        Limited(Scope.PAIR, "a 192.0.2.2", 6, 0.0),
    ]
    assert host.limits.status(host.now, most=1) == [Limited(Scope.PAIR, "b 192.0.2.3", 8, 5.0)]


@pytest.mark.parametrize(
    ("scope", "key", "removed"),
    [
        (Scope.PAIR, "k7 192.0.2.1", 1),
        (Scope.LOGIN, "k7", 3),
        (Scope.NETWORK, "192.0.2.1", 3),
        (Scope.PAIR, "k7 192.0.2.9", 0),
        (Scope.LOGIN, "nobody", 0),
        (Scope.NETWORK, "nonsense", 0),
    ],
)
def test_reset(host: Host, scope: Scope, key: str, removed: int) -> None:
    for login, address in (("k7", HERE), ("k7", b"192.0.2.2"), ("q4", HERE)):
        host.fail(10, login=login, address=address)
    assert host.limits.reset(scope, key) == removed
    assert (host.limited() is None) is bool(removed)
    assert (host.limited(login="q4") is None) is (key == "192.0.2.1")


def test_zero_is_no_limit_for_networks_and_logins() -> None:
    host = Host(Policy(free_network=0, free_login=0))
    host.fail(500, login="neighbour")
    for address in addresses(500):
        host.fail(address=address)
    assert host.limited() is None
    assert host.limits.reset(Scope.NETWORK, "192.0.2.1") == 1


def test_a_flood_does_not_flush_what_failed_often(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "MAX_COUNTS", {"pair": 100, "network": 10, "login": 100})
    host = Host()
    host.fail(55)
    for number in range(5000):
        host.fail(login=f"guess{number}", address=b"203.0.%d.%d" % (number >> 8, number & 255))
    assert len(host.limits) == 210
    assert host.seconds() > 0
    assert host.seconds(login="new") > 0


def test_what_is_known_is_bounded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "MAX_KNOWN_LOGINS", 10)
    host.succeed(login="other", address=b"192.0.2.2")
    for address in addresses(100):
        host.succeed(address=address)
    host.fail(60, login="neighbour", address=b"192.0.2.2")
    assert host.limited(login="other", address=b"192.0.2.2") is None, "one login does not push out another"
    for address in addresses(110):
        host.fail(60, login="neighbour", address=address)
    known = sum(host.limited(address=address) is None for address in addresses(100))
    assert known == MAX_KNOWN_NETWORKS
    for number in range(10):
        host.succeed(login=f"party{number}")
    assert host.limited(login="other", address=b"192.0.2.2") is not None


def test_the_settings_say_what_the_policy_is() -> None:
    loaded = settings.load(settings.AuthdSettings, {})
    assert policy_of(loaded) == Policy()
    variables = {
        "AUTH_FREE_FAILURES_PAIR": "6",
        "AUTH_FREE_FAILURES_NETWORK": "0",
        "AUTH_FREE_FAILURES_LOGIN": "7",
        "AUTH_LONGEST_WAIT": "8",
        "AUTH_FORGET_SECONDS": "7200",
        "AUTH_NETWORK_PREFIX4": "24",
        "AUTH_NETWORK_PREFIX6": "48",
    }
    changed = policy_of(settings.load(settings.AuthdSettings, variables))
    assert dataclasses.astuple(changed) == (6, 0, 7, 8.0, 7200.0, 24, 48)
