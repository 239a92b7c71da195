"""How many login attempts may fail before attempts have to wait: the decision only, with the clock of who asks.

Failures are counted in three scopes: the pair of login and network, the network, the login. In each a number of
failures is free; then attempts wait, twice as long after each further failure. docs/decisions/0022 has the reasons.

Every moment is seconds of one monotonic clock. Each operation takes the same time whatever is remembered, but `status`
and `reset`, which an admin asks for, look at everything.
"""

from __future__ import annotations

import heapq
import ipaddress
import math
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digipoort.settings import AuthdSettings

# The wait after the last free failure; each further failure doubles it.
FIRST_WAIT_SECONDS: Final = 1.0
# A password that a pair had refused is not verified again within this time: a loop must not have the processors.
REPEAT_SECONDS: Final = 10.0
# A pair that logged in within this time is not hindered by what others do.
KNOWN_SECONDS: Final = 86_400.0
# 100,000 counts of about 260 octets, 25,000 logins with 8 networks of about 150 (measured, with IPv6): 75 MB at most.
MAX_COUNTS: Final = {"pair": 40_000, "network": 20_000, "login": 40_000}
MAX_KNOWN_LOGINS: Final = 25_000
MAX_KNOWN_NETWORKS: Final = 8
MARKS: Final = 3
# Of so many of the oldest counts the lowest goes first: a flood of new logins does not flush what has failed often.
EVICTION_SAMPLE: Final = 8
NO_ADDRESS: Final = "unknown"
NO_LOGIN: Final = "?"
# What cannot be a login in the directory is counted as one: an attacker chooses its octets, up to a whole request.
_LOGIN: Final = re.compile(rb"[a-z0-9][a-z0-9._@-]{0,127}")
_MAX_ADDRESS_OCTETS: Final = 64
_MARK_OCTETS: Final = 2


class Scope(StrEnum):
    """What failures are counted for."""

    PAIR = "pair"
    NETWORK = "network"
    LOGIN = "login"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings AUTH_…: failures that are free in each scope, and times in seconds.

    0 failures of a network or login: that scope is not counted.
    """

    free_pair: int = 5
    free_network: int = 50
    free_login: int = 100
    longest_wait: float = 900.0
    forget: float = 3600.0
    prefix4: int = 32
    prefix6: int = 64

    def free(self, scope: Scope) -> int:
        """Return the number of failures after which attempts wait."""
        return {Scope.PAIR: self.free_pair, Scope.NETWORK: self.free_network, Scope.LOGIN: self.free_login}[scope]


def policy_of(settings: AuthdSettings) -> Policy:
    """Return what the settings say."""
    return Policy(
        free_pair=settings.auth_free_failures_pair,
        free_network=settings.auth_free_failures_network,
        free_login=settings.auth_free_failures_login,
        longest_wait=settings.auth_longest_wait,
        forget=settings.auth_forget_seconds,
        prefix4=settings.auth_network_prefix4,
        prefix6=settings.auth_network_prefix6,
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login attempt: `login` in lower case, `network` as `network_of` has it, a mark of service and password."""

    login: str
    network: str
    password_mark: int = field(repr=False)

    def key(self, scope: Scope) -> str:
        """Return what the attempt is counted under; a pair is `LOGIN NETWORK`, neither of which holds a space."""
        if scope is Scope.PAIR:
            return f"{self.login} {self.network}"
        return self.network if scope is Scope.NETWORK else self.login


@dataclass(frozen=True, slots=True)
class Place:
    """One thing that failures are counted for."""

    scope: Scope
    key: str


@dataclass(frozen=True, slots=True)
class Limited:
    """A place whose free failures are used up: attempts wait `seconds`, after that go one at a time."""

    scope: Scope
    key: str
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Busy:
    """As many attempts as may still fail are under way at this place: ask again when one of them has ended."""

    place: Place


@dataclass(frozen=True, slots=True)
class Repeated:
    """The pair had this very password refused for this service a moment ago: it is not verified again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The attempt may be verified now; it is under way at these places until `Limits.end` is told."""

    attempt: Attempt
    places: tuple[Place, ...]


def network_of(address: bytes, prefix4: int, prefix6: int) -> str:
    """Return the network of a client's address, its prefix cut to so many bits; `unknown` for what is no address.

    A single address has no prefix length in it. An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4
    address; a zone (RFC 4007 section 11) is left out.
    """
    if len(address) > _MAX_ADDRESS_OCTETS:
        return NO_ADDRESS
    try:
        parsed = ipaddress.ip_address(address.decode("ascii").partition("%")[0])
    except ValueError:
        return NO_ADDRESS
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    prefix = prefix6 if isinstance(parsed, ipaddress.IPv6Address) else prefix4
    if prefix == parsed.max_prefixlen:
        return str(parsed)
    return str(ipaddress.ip_network(f"{parsed}/{prefix}", strict=False))


@dataclass(slots=True)
class _Count:
    """Failures of a place. One is forgotten each interval from `since` on; attempts wait until `due`."""

    failures: int = 0
    since: float = 0.0
    due: float = -math.inf
    marks: tuple[tuple[int, float], ...] = ()  # and when they were refused last


class _Table:
    """The counts of one scope; how many there are is bounded."""

    def __init__(self, scope: Scope, policy: Policy) -> None:
        self.scope = scope
        self.free = policy.free(scope)
        self._longest = policy.longest_wait
        # Failures above this would make no difference but to how long they are remembered.
        self._most = self.free + max(0, math.ceil(math.log2(policy.longest_wait / FIRST_WAIT_SECONDS)))
        self._interval = policy.forget / self._most
        self._capacity = MAX_COUNTS[scope.value]
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def failures(self, key: str, now: float) -> int:
        count = self._counts.get(key)
        return 0 if count is None else self._settled(count, now).failures

    def wait(self, key: str, now: float) -> float:
        count = self._counts.get(key)
        return 0.0 if count is None else max(0.0, count.due - now)

    def room(self, key: str, now: float) -> int:
        """Return how many attempts may be under way: as many as may fail freely, and one to try after a wait."""
        return max(1, self.free - self.failures(key, now))

    def fail(self, key: str, now: float) -> None:
        count = self._settled(self._remembered(key, now), now)
        if count.failures == 0:
            count.since = now
        count.failures = min(count.failures + 1, self._most)
        if count.failures >= self.free:
            wait = FIRST_WAIT_SECONDS * 2 ** (count.failures - self.free)
            count.due = max(count.due, now + min(wait, self._longest))

    def marked(self, key: str, mark: int, now: float, within: float = math.inf) -> bool:
        count = self._counts.get(key)
        return count is not None and any(known == mark and now - since < within for known, since in count.marks)

    def mark(self, key: str, mark: int, now: float) -> None:
        count = self._remembered(key, now)
        count.marks = ((mark, now), *(one for one in count.marks if one[0] != mark))[:MARKS]

    def clear(self, key: str, right: int) -> None:
        """Forget the failures of a place, not which passwords they were, but for the one that has become right."""
        count = self._counts.get(key)
        if count is not None:
            count.failures, count.due = 0, -math.inf
            count.marks = tuple(one for one in count.marks if one[0] != right)

    def remove(self, key: str) -> int:
        return 0 if self._counts.pop(key, None) is None else 1

    def keys(self) -> list[str]:
        return list(self._counts)

    def limited(self, now: float) -> Iterator[Limited]:
        for key, count in self._counts.items():
            seconds = max(0.0, count.due - now)
            if self._settled(count, now).failures >= self.free or seconds:
                yield Limited(self.scope, key, count.failures, seconds)

    def _settled(self, count: _Count, now: float) -> _Count:
        forgotten = int((now - count.since) / self._interval) if count.failures else 0
        if forgotten > 0:
            count.failures = max(0, count.failures - forgotten)
            count.since += forgotten * self._interval
        return count

    def _remembered(self, key: str, now: float) -> _Count:
        count = self._counts.get(key)
        if count is not None:
            self._counts.move_to_end(key)
            return count
        if len(self._counts) >= self._capacity:
            self._evict(now)
        return self._counts.setdefault(key, _Count())

    def _evict(self, now: float) -> None:
        oldest = [self._counts.popitem(last=False) for _ in range(min(EVICTION_SAMPLE, len(self._counts)))]
        lowest = min(oldest, key=lambda item: self._settled(item[1], now).failures)
        self._counts.update(item for item in oldest if item is not lowest)


class Limits:
    """The failures of a host's login attempts, and which pairs logged in well."""

    def __init__(self, policy: Policy, key: bytes) -> None:
        """Take the settings, and random octets (at most 64) that make the marks of passwords worthless elsewhere."""
        self._policy = policy
        self._key = key
        self._tables: dict[Scope, _Table] = {scope: _Table(scope, policy) for scope in Scope if policy.free(scope)}
        self._known: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._under_way: dict[Place, int] = {}

    def __len__(self) -> int:
        """Return the number of counts that are remembered."""
        return sum(map(len, self._tables.values()))

    def attempt(self, service: bytes, login: bytes, address: bytes, password: bytes) -> Attempt:
        """Return what is counted of a request; the mark cannot be turned back into the password.

        The service is in it: what is refused for POP3, because the credential is for submission only, is not for SMTP.
        """
        name = login.lower()
        return Attempt(
            name.decode("ascii") if _LOGIN.fullmatch(name) else NO_LOGIN,
            network_of(address, self._policy.prefix4, self._policy.prefix6),
            int.from_bytes(blake2b(service + b"\0" + password, digest_size=_MARK_OCTETS, key=self._key).digest()),
        )

    def wait(self, attempt: Attempt, now: float) -> Limited | None:
        """Return the place that makes the attempt wait longest; None when none does."""
        return self._longest(self.places(attempt, now), now)

    def places(self, attempt: Attempt, now: float) -> tuple[Place, ...]:
        """Return the places whose failures hinder the attempt: a pair that is known is hindered by its own only."""
        if self._is_known(attempt, now):
            return (Place(Scope.PAIR, attempt.key(Scope.PAIR)),)
        return tuple(Place(scope, attempt.key(scope)) for scope in self._tables)

    def begin(self, attempt: Attempt, now: float) -> Turn | Limited | Repeated | Busy:
        """Decide whether the attempt may be verified now. A Turn must be given back to `end`, whatever happens."""
        places = self.places(attempt, now)
        limited = self._longest(places, now)
        if limited is not None:
            return limited
        pair = self._tables[Scope.PAIR]
        if pair.marked(attempt.key(Scope.PAIR), attempt.password_mark, now, REPEAT_SECONDS):
            return Repeated()
        for place in places:
            if self._under_way.get(place, 0) >= self._tables[place.scope].room(place.key, now):
                return Busy(place)
        for place in places:
            self._under_way[place] = self._under_way.get(place, 0) + 1
        return Turn(attempt, places)

    def end(self, turn: Turn) -> None:
        """Say that the attempt is no longer under way: after `failed` or `succeeded`, or when there is no verdict."""
        for place in turn.places:
            left = self._under_way.pop(place) - 1
            if left:
                self._under_way[place] = left

    def failed(self, attempt: Attempt, now: float) -> bool:
        """Count a refused attempt; False, and not counted, when the pair had that password refused before."""
        pair, key = self._tables[Scope.PAIR], attempt.key(Scope.PAIR)
        counts = not pair.marked(key, attempt.password_mark, now)
        pair.mark(key, attempt.password_mark, now)
        if counts:
            for scope, table in self._tables.items():
                table.fail(attempt.key(scope), now)
        return counts

    def succeeded(self, attempt: Attempt, now: float) -> None:
        """Forget the failures of the pair, and remember that it is known."""
        self._tables[Scope.PAIR].clear(attempt.key(Scope.PAIR), attempt.password_mark)
        former = self._known.pop(attempt.login, {})
        networks = {network: since for network, since in former.items() if now - since < KNOWN_SECONDS}
        networks.pop(attempt.network, None)
        networks[attempt.network] = now
        self._known[attempt.login] = networks
        if len(networks) > MAX_KNOWN_NETWORKS:
            del networks[next(iter(networks))]
        if len(self._known) > MAX_KNOWN_LOGINS:
            self._known.popitem(last=False)

    def status(self, now: float, most: int = 50) -> list[Limited]:
        """Return up to `most` places whose free failures are used up, the longest wait first."""
        everything = chain.from_iterable(table.limited(now) for table in self._tables.values())
        return heapq.nlargest(most, everything, key=lambda limited: (limited.seconds, limited.failures))

    def key_of(self, scope: Scope, words: bytes) -> str:
        """Return the key of a place as an admin writes it: a login in any case, an address for its network."""
        login, _, network = words.rpartition(b" ") if scope is Scope.PAIR else (words, b"", words)
        address = network.decode("ascii", errors="replace")
        of_it = network_of(network, self._policy.prefix4, self._policy.prefix6)
        place = address if of_it == NO_ADDRESS else of_it
        name = login.lower().decode("ascii", errors="replace")
        return f"{name} {place}" if scope is Scope.PAIR else place if scope is Scope.NETWORK else name

    def reset(self, scope: Scope, key: str) -> int:
        """Forget the failures of a place, with those of a login or network the pairs that it is in; return how many."""
        removed = self._tables[scope].remove(key) if scope in self._tables else 0
        if scope is Scope.PAIR:
            return removed
        pairs = self._tables[Scope.PAIR]
        part = 0 if scope is Scope.LOGIN else 1
        return removed + sum(pairs.remove(pair) for pair in pairs.keys() if pair.split(" ")[part] == key)  # noqa: SIM118

    def _longest(self, places: tuple[Place, ...], now: float) -> Limited | None:
        longest = max(places, key=lambda place: self._tables[place.scope].wait(place.key, now))
        table = self._tables[longest.scope]
        seconds = table.wait(longest.key, now)
        return Limited(longest.scope, longest.key, table.failures(longest.key, now), seconds) if seconds else None

    def _is_known(self, attempt: Attempt, now: float) -> bool:
        since = self._known.get(attempt.login, {}).get(attempt.network)
        return since is not None and now - since < KNOWN_SECONDS
