"""The primary goes away in the middle of traffic, and its standby takes over: late answers, but never a wrong one."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
from psycopg.conninfo import make_conninfo

from digipoort import reasons
from digipoort.resubmission import History, Standing, Submitted, Unanswered
from digipoort.settings import PolicydSettings
from tests.postgres import frozen, promote, stop_cluster
from tests.unit.connections import until
from tests.unit.directory_samples import digipoort, fill
from tests.unit.policyd_process import ALLOWED, Client, Policyd, running_policyd
from tests.unit.test_maps_daemon import running_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.postgres import Pair

    # What is asked, and the answer that is right.
    Question: TypeAlias = tuple[Callable[[], str], str]

TRADER: Final = "bloemen@party.test"
AGENCY: Final = "ags@gov.test"
# What a request may take: its deadline, and what a busy machine adds.
LONGEST_SECONDS: Final = PolicydSettings(logical_domains=()).request_deadline + 2.0
RECOVERY_SECONDS: Final = 5.0
KEPT: Final = Submitted("DP-20260102-0123456789ABCDEF", TRADER.encode(), AGENCY.encode(), b"<1@party.test>", "0f" * 32)
TEMPORARY: Final = "temporary"
# The only reasons there are; a fault of the program would be another.
_OUTAGE: Final = (reasons.DIRECTORY_UNAVAILABLE.code, reasons.DEADLINE_EXCEEDED.code)
_PACE_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the one that is right, and when the request began and ended."""

    given: str
    right: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests without end on several connections, each with a list of its answers, which grows."""

    lists: tuple[list[Answer], ...]

    def until_each_is(self, *, right: bool, since: float = 0.0) -> None:
        """Wait until every connection has an answer that is right, or else temporary, to a request begun `since`."""
        for answers in self.lists:
            until(functools.partial(_any, answers, right, since), f"an answer, {right=}", RECOVERY_SECONDS)


def _any(answers: list[Answer], right: bool, since: float) -> bool:  # noqa: FBT001 - a predicate's parameter
    return any((one.given == one.right) == right and one.began >= since for one in answers)


@contextlib.contextmanager
def _traffic(*questions: Question) -> Iterator[Traffic]:
    """Ask each question again and again, on a thread of its own; at the end no answer may be wrong or late."""
    traffic = Traffic(tuple([] for _ in questions))
    stop = threading.Event()

    def ask(question: Callable[[], str], right: str, answers: list[Answer]) -> None:
        while not stop.wait(_PACE_SECONDS):
            began = time.monotonic()
            answers.append(Answer(question(), right, began, time.monotonic()))

    with ThreadPoolExecutor(len(questions)) as threads:
        running = [
            threads.submit(ask, *question, answers) for question, answers in zip(questions, traffic.lists, strict=True)
        ]
        try:
            yield traffic
        finally:
            stop.set()
    for one in running:
        one.result()
    answers = list(itertools.chain.from_iterable(traffic.lists))
    assert [one for one in answers if one.given not in (one.right, TEMPORARY)] == []
    assert max(one.ended - one.began for one in answers) < LONGEST_SECONDS


@contextlib.contextmanager
def _asking(policyd: Policyd) -> Iterator[tuple[Traffic, Traffic]]:
    """Yield the traffic that reads from the directory, and that which writes."""
    again = itertools.repeat(replace(KEPT, reference="DP-20260102-0000000000REPEAT"))
    numbered = (
        replace(KEPT, reference=f"DP-20260103-{number:016}", message_id=b"<n%d@party.test>" % number)
        for number in itertools.count()
    )
    with contextlib.ExitStack() as stack:
        refused, *askers = (stack.enter_context(policyd.asks()) for _ in range(6))
        first, second = (stack.enter_context(policyd.remembers()) for _ in range(2))
        refusal = refused.verdict("nobody@party.test", AGENCY)
        assert refusal.startswith("550 ")
        assert _claim(first, iter([KEPT])) == str(History(Standing.FIRST))
        reading = _traffic(
            (functools.partial(_verdict, refused, "nobody@party.test"), refusal),
            *((functools.partial(_verdict, asker, TRADER), ALLOWED) for asker in askers),
        )
        writing = _traffic(
            (functools.partial(_claim, first, numbered), str(History(Standing.FIRST))),
            (functools.partial(_claim, second, again), str(History(Standing.REPEATED, KEPT.reference))),
        )
        yield stack.enter_context(reading), stack.enter_context(writing)


def _verdict(client: Client, sender: str) -> str:
    action = client.verdict(sender, AGENCY)
    return TEMPORARY if action.startswith("451 ") and action.split()[2] in _OUTAGE else action


def _claim(client: Client, messages: Iterator[Submitted]) -> str:
    try:
        return str(client.claim(next(messages)))
    except Unanswered as unanswered:
        return TEMPORARY if str(unanswered) in _OUTAGE else str(unanswered)


def _settings(pair: Pair) -> dict[str, str]:
    both = make_conninfo(pair.dsn(pair.primary, pair.standby), connect_timeout=2)
    return {"DIRECTORY_DSN": both, "DIRECTORY_WRITE_DSN": make_conninfo(both, target_session_attrs="read-write")}


@pytest.fixture
def filled(pair: Pair) -> Pair:
    """Return the pair with the sample directory, on both servers."""
    fill(pair.dsn(pair.primary))
    pair.replay()
    return pair


def test_a_primary_that_dies_costs_no_verdict(filled: Pair, tmp_path: Path) -> None:
    with running_policyd(tmp_path, **_settings(filled)) as policyd, _asking(policyd) as (reading, writing):
        for traffic in (reading, writing):
            traffic.until_each_is(right=True)
        filled.replay()
        died = time.monotonic()
        stop_cluster(filled.primary, "immediate")
        writing.until_each_is(right=False, since=died)
        reading.until_each_is(right=True, since=died)
        promote(filled.standby)
        promoted = time.monotonic()
        for traffic in (reading, writing):
            traffic.until_each_is(right=True, since=promoted)


def test_a_primary_that_hangs_costs_no_verdict(filled: Pair, tmp_path: Path) -> None:
    # Left last: a primary that wakes up beside the new one must not be asked, which is the cluster manager's to see to.
    with (
        contextlib.ExitStack() as hanging,
        running_policyd(tmp_path, **_settings(filled)) as policyd,
        _asking(policyd) as (reading, writing),
    ):
        for traffic in (reading, writing):
            traffic.until_each_is(right=True)
        filled.replay()
        hung = time.monotonic()
        hanging.enter_context(frozen(filled.primary))
        writing.until_each_is(right=False, since=hung)
        reading.until_each_is(right=True, since=hung)
        promote(filled.standby)
        promoted = time.monotonic()
        for traffic in (reading, writing):
            traffic.until_each_is(right=True, since=promoted)


@pytest.mark.parametrize("hangs", [False, True])
def test_publisher_and_admin_go_on_with_the_new_primary(filled: Pair, tmp_path: Path, *, hangs: bool) -> None:
    both, writable = _settings(filled).values()
    with contextlib.ExitStack() as hanging, running_maps(both, tmp_path) as publisher:
        publisher.until(lambda: publisher.finds(AGENCY), "the first publication")
        filled.replay()
        if hangs:
            hanging.enter_context(frozen(filled.primary))
        else:
            stop_cluster(filled.primary, "immediate")
        promote(filled.standby)
        added = digipoort(
            both, "address", "add", "new@party.test", "AAL", "--mailbox", "b0b0", DIRECTORY_WRITE_DSN=writable
        )
        assert (added.exit_code, added.stderr) == (0, "")
        publisher.until(lambda: publisher.finds("new@party.test"), "the new address")
