"""Old hashes are replaced after a good login, and nothing that goes wrong with it harms a login."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import pytest

from digipoort import log
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.hashcost import DEFAULT_COST, HashCost
from digipoort.passwords import hash_password
from digipoort_auth.authentication import Accepted
from digipoort_auth.hashing import HashQueueFull
from digipoort_auth.rehash import MAX_UNDER_WAY, Rehash

OLD = "$6$salt$" + "." * 86
BCRYPT = "$2b$10$" + "." * 53
TODAYS = hash_password(b"x")


@dataclass(slots=True)
class Work:
    """What is asked of the workers and the directory, in place of them."""

    fault: Exception | None = None
    known: bool = True
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    hashed: list[bytes] = field(default_factory=list)
    stored: list[tuple[str, str, str]] = field(default_factory=list)

    async def hash(self, password: bytes, cost: HashCost) -> str:
        """Return something like a hash, when it is let go on."""
        assert cost == DEFAULT_COST
        self.hashed.append(password)
        await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        return f"new hash {len(self.hashed)}"

    async def replace(self, login: str, former: str, successor: str) -> bool:
        """Keep what is stored."""
        self.stored.append((login, former, successor))
        return self.known


def rehashed(work: Work, *accepted: Accepted, password: bytes = b"secret") -> None:
    async def scenario() -> None:
        rehash = Rehash(work.hash, work.replace, log.wrap(logging.getLogger("authd")), DEFAULT_COST)
        for one in accepted:
            rehash.consider(one, password)
        await asyncio.sleep(0)
        work.hold.set()
        for _ in range(10):
            await asyncio.sleep(0)
        await rehash.close()

    asyncio.run(scenario())


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def accepted(login: str = "trader", encoded: str = OLD) -> Accepted:
    return Accepted(login, None, encoded)


def test_an_old_hash_is_replaced_by_what_the_password_gives(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    rehashed(work, accepted())
    assert work.stored == [("trader", OLD, "new hash 1")]
    assert caplog.messages == ["event=hash_replaced login=trader"]


@pytest.mark.parametrize("octets", [71, 72, 80])
def test_what_bcrypt_may_have_cut_off_is_not_made_the_password(octets: int) -> None:
    work = Work()
    rehashed(work, accepted(encoded=BCRYPT), password=b"x" * octets)
    assert work.hashed == [b"x" * octets] * (octets < 72)


def test_a_hash_of_today_is_left_alone() -> None:
    work = Work()
    rehashed(work, accepted(encoded=TODAYS))
    assert work.hashed == []


def test_a_login_is_hashed_once_and_only_some_at_a_time() -> None:
    work = Work()
    rehashed(work, *(accepted() for _ in range(3)))
    assert len(work.hashed) == 1
    work = Work()
    rehashed(work, *(accepted(f"trader{number}") for number in range(100)))
    assert len(work.hashed) == MAX_UNDER_WAY


def test_a_password_that_was_changed_meanwhile_stays(caplog: pytest.LogCaptureFixture) -> None:
    rehashed(Work(known=False), accepted())
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (DirectoryUnavailable("refused"), "refused"),
        (HashQueueFull(), "too many wait to be hashed"),
        (TimeoutError(), "no answer in time"),
        (ZeroDivisionError(), ""),
    ],
)
def test_what_goes_wrong_is_told_and_tried_again(
    caplog: pytest.LogCaptureFixture, fault: Exception, detail: str
) -> None:
    work = Work(fault)
    rehashed(work, accepted())
    assert work.stored == []
    event = f'hash_not_replaced login=trader detail="{detail}"' if detail else "internal_error reason=DGP-9007"
    assert caplog.messages[0].replace("detail=refused", 'detail="refused"').startswith(f"event={event}")
    assert "secret" not in caplog.text
