"""The memory of submissions on a real PostgreSQL: two hosts at once, retries, the window, pruning, and its failures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from digipoort import log
from digipoort.directory.pool import DirectoryUnavailable, open_pool
from digipoort.resubmission import (
    History,
    Question,
    Request,
    Standing,
    Submitted,
    Unanswered,
    format_question,
    parse_answer,
)
from digipoort.settings import PolicydSettings
from digipoort_policyd import resubmission
from digipoort_policyd.resubmission import ResubmissionService, keep_pruned
from tests.unit.directory_samples import fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import LiteralString

    from digipoort.directory.pool import Fetch

MESSAGE = Submitted(
    "DP-20260102-0123456789ABCDEF", b"Bloemen@party.test", b"ags@gov.test", b"<1@party.test>", "0f" * 32
)
FIRST = History(Standing.FIRST)
REPEATED = History(Standing.REPEATED, MESSAGE.reference)
REUSED = History(Standing.REUSED, MESSAGE.reference)


@pytest.fixture
def dsn(directory_dsn: str) -> str:
    fill(directory_dsn)
    return directory_dsn


def _service(fetch: Fetch, deadline: float = 5.0) -> ResubmissionService:
    logger = logging.getLogger("resubmission-test")
    logger.setLevel(logging.INFO)
    return ResubmissionService(fetch, log.wrap(logger), PolicydSettings(logical_domains=(), request_deadline=deadline))


@contextlib.asynccontextmanager
async def _host(dsn: str, connections: int = 4) -> AsyncIterator[ResubmissionService]:
    """Yield the memory as one gateway host has it."""
    pool = open_pool(dsn, connections, 5.0)
    try:
        yield _service(pool.fetch_one)
    finally:
        await pool.close()


async def _ask(service: ResubmissionService, request: Request, message: Submitted) -> History:
    return parse_answer(await service.answer(format_question(Question(request, message))))


def _numbered(number: int, **changes: Any) -> Submitted:  # noqa: ANN401 - any field
    return replace(MESSAGE, reference=f"DP-20260103-{number:016}", **changes)


def _execute(dsn: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_what_comes_again_is_recognised(dsn: str) -> None:
    async def run() -> list[History]:
        async with _host(dsn) as host:
            return [
                await _ask(host, request, message)
                for request, message in (
                    (Request.RECALL, MESSAGE),
                    (Request.CLAIM, MESSAGE),
                    (Request.CLAIM, MESSAGE),
                    (Request.RECALL, MESSAGE),
                    (Request.CLAIM, _numbered(1)),
                    (Request.RECALL, _numbered(1)),
                    (Request.CLAIM, _numbered(2, digest="00" * 32)),
                    (Request.CLAIM, _numbered(3, message_id=b"<2@party.test>")),
                    (Request.CLAIM, _numbered(4, recipient=b"emcs@gov.test")),
                    (Request.CLAIM, _numbered(5, sender=b"ags@gov.test")),
                )
            ]

    expected = [FIRST, FIRST, FIRST, FIRST, REPEATED, REPEATED, REUSED, FIRST, FIRST, FIRST]
    assert asyncio.run(run()) == expected


def test_the_party_counts_and_not_which_of_its_addresses(dsn: str) -> None:
    _execute(
        dsn,
        """INSERT INTO address (address, party_id, party_kind, target_id)
        SELECT 'tweede@party.test', party_id, party_kind, target_id
        FROM address WHERE address = 'bloemen@party.test'""",
    )

    async def run() -> list[History]:
        async with _host(dsn) as host:
            second = _numbered(1, sender=b"tweede@party.test")
            return [await _ask(host, Request.CLAIM, message) for message in (MESSAGE, second)]

    assert asyncio.run(run()) == [FIRST, REPEATED]


def test_of_many_at_once_on_two_hosts_exactly_one_is_first(dsn: str) -> None:
    async def run() -> list[History]:
        async with _host(dsn) as one, _host(dsn) as other:
            hosts = (one, other)
            return await asyncio.gather(*(_ask(hosts[n % 2], Request.CLAIM, _numbered(n)) for n in range(40)))

    found = asyncio.run(run())
    assert found.count(FIRST) == 1
    first = f"DP-20260103-{found.index(FIRST):016}"
    assert found.count(History(Standing.REPEATED, first)) == 39


def test_after_the_window_a_message_is_the_first_again(dsn: str) -> None:
    async def run() -> list[History]:
        async with _host(dsn) as host:
            found = [await _ask(host, Request.CLAIM, MESSAGE)]
            _execute(dsn, "UPDATE submission SET first_seen = now() - interval '30 days 1 minute'")
            found.append(await _ask(host, Request.CLAIM, _numbered(1, digest="00" * 32)))
            _execute(dsn, "UPDATE submission SET first_seen = now() - interval '29 days 23 hours'")
            found.append(await _ask(host, Request.CLAIM, _numbered(2, digest="00" * 32)))
            return found

    assert asyncio.run(run()) == [FIRST, FIRST, History(Standing.REPEATED, _numbered(1).reference)]


def test_only_the_one_remembered_is_released(dsn: str) -> None:
    async def run() -> list[History]:
        async with _host(dsn) as host:
            return [
                await _ask(host, request, message)
                for request, message in (
                    (Request.CLAIM, MESSAGE),
                    (Request.RELEASE, _numbered(1)),
                    (Request.CLAIM, _numbered(2)),
                    (Request.RELEASE, MESSAGE),
                    (Request.RELEASE, MESSAGE),
                    (Request.CLAIM, _numbered(3, digest="00" * 32)),
                )
            ]

    assert asyncio.run(run()) == [FIRST, FIRST, REPEATED, FIRST, FIRST, FIRST]


def test_what_is_old_is_pruned_in_batches(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resubmission, "PRUNE_BATCH", 10)
    _execute(
        dsn,
        """INSERT INTO submission (party_id, message, digest, reference, first_seen)
        SELECT party.id, sha256(n::text::bytea), sha256('x'), 'DP-20260102-0123456789ABCDEF',
            now() - CASE WHEN n <= 25 THEN interval '31 days' ELSE interval '29 days' END
        FROM party, generate_series(1, 40) AS n WHERE party.code = 'AAL'""",
    )

    async def run() -> None:
        async with _host(dsn) as host:
            await host.prune()
            await host.prune()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert _execute(dsn, "SELECT count(*) FROM submission") == [(15,)]
    assert [line for line in caplog.messages if "pruned" in line] == ["event=submissions_pruned rows=25"]


def test_a_round_that_fails_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resubmission, "PRUNE_SECONDS", 0.001)
    faults = [DirectoryUnavailable("gone"), TimeoutError(), RuntimeError("broken")]
    done = asyncio.Event()

    async def fetch(_query: str, _parameters: Mapping[str, object]) -> tuple[int]:
        if faults:
            raise faults.pop(0)
        done.set()
        return (0,)

    async def run() -> None:
        task = asyncio.create_task(keep_pruned(_service(fetch)))
        await asyncio.wait_for(done.wait(), 10)
        task.cancel()

    asyncio.run(run())
    events = [line.split()[0] for line in caplog.messages]
    for event in ("submissions_not_pruned", "internal_error", "directory_unavailable"):
        assert f"event={event}" in events


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (DirectoryUnavailable("down"), "DGP-9001"),
        (None, "DGP-9002"),
        (RuntimeError("broken"), "DGP-9007"),
    ],
)
def test_what_cannot_be_answered_says_so(fault: Exception | None, code: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fetch(_query: str, _parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        if fault is not None:
            raise fault
        await asyncio.Event().wait()
        return None

    with pytest.raises(Unanswered, match=f"^{code}$"):
        asyncio.run(_ask(_service(fetch, deadline=0.05), Request.CLAIM, MESSAGE))
    assert any(
        line.startswith(f"event=resubmission_unanswered ref={MESSAGE.reference} reason={code}")
        for line in caplog.messages
    )


def test_a_sender_that_the_server_does_not_know_waits(dsn: str) -> None:
    async def run() -> History:
        async with _host(dsn) as host:
            return await _ask(host, Request.CLAIM, replace(MESSAGE, sender=b"weg@party.test"))

    with pytest.raises(Unanswered, match="^DGP-9001$"):
        asyncio.run(run())


def test_a_malformed_question_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    async def fetch(_query: str, _parameters: Mapping[str, object]) -> None:
        raise AssertionError

    answer = asyncio.run(_service(fetch).answer(b"request=claim\n\n"))
    assert answer == b"reason=DGP-9003\n\n"
    assert any("event=request_malformed" in line for line in caplog.messages)


def test_a_server_that_takes_no_changes_is_not_available(dsn: str) -> None:
    read_only = psycopg.conninfo.make_conninfo(dsn, options="-c default_transaction_read_only=on")

    async def run() -> History:
        async with _host(read_only) as host:
            return await _ask(host, Request.CLAIM, MESSAGE)

    with pytest.raises(Unanswered, match="^DGP-9001$"):
        asyncio.run(run())
