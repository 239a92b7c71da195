"""Stored hashes for any text, and turns for any arrivals: parsers fail in their own way only, nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import re
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from digipoort.hashcost import DEFAULT_COST, MAX_MEMORY_KIB, HashCost
from digipoort.passwords import PasswordHashError, checked_hash, needs_rehash, verify_password
from digipoort_auth.hashing import HashQueueFull, HashWorkers

HASHES = [
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
    "$2b$05$5qySVuu0Te8YsgPpfwiZCuugt1ZptXpsEO5ajaAFCjWUTl7ICqFG6",
    "$6$rounds=10000$JRGtiYeqVqWVHf/f"
    "$QDaBRAeaaTReiJ/bAvimxjW.kBdTgGyWDkSq75SidVqkE3YZqVG5mjfG30ChBx3IAbbowL36r3Gg2ZyDRJOfx.",
    "$y$j9T$CXxsmwiB5uiWCMn/bUnAM/$Vis187C362qZJImGLhjBTXlNIwKyMbv7v2k2Q6a50G5",
]
INSERTED = st.text(st.sampled_from("$./{},=-+*:;\\ \0\n0129azAZé٢") | st.characters(), max_size=8)
CHANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 20), INSERTED), max_size=3)
DIGITS = "./" + string.digits + string.ascii_uppercase + string.ascii_lowercase


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return a hash that something happened to."""
    text = draw(st.sampled_from(["", "{CRYPT}", "{SHA512-CRYPT}"])) + draw(st.sampled_from(HASHES))
    for place, length, inserted in draw(CHANGES):
        start = place % (len(text) + 1)
        text = text[:start] + inserted + text[start + length :]
    return text


def storable(text: str) -> str | None:
    """Return what the directory may store of it, None when it is refused as it should be."""
    try:
        return checked_hash(text)
    except PasswordHashError:
        return None


@given(damaged() | st.text())
def test_what_may_be_stored_is_what_the_directory_takes(text: str) -> None:
    stored = storable(text)
    if stored is not None:
        assert text.endswith(stored)
        # The directory's own constraint: CHECK (password_hash ~ '^\$[!-~]+$').
        assert re.fullmatch(r"\$[!-~]+", stored)
        assert storable(stored) == stored
        assert needs_rehash(stored, HashCost(memory_kib=8, passes=1, lanes=1))


@given(st.binary(max_size=600), damaged())
@settings(max_examples=60, deadline=None)
def test_no_other_password_verifies(password: bytes, text: str) -> None:
    with contextlib.suppress(PasswordHashError):
        assert not verify_password(text, password)


@given(st.sampled_from(DIGITS), st.sampled_from(DIGITS))
def test_no_yescrypt_hash_takes_more_memory_than_is_allowed(n: str, r: str) -> None:
    stored = f"$y$j{n}{r}$CXxsmwiB5uiWCMn/bUnAM/$Vis187C362qZJImGLhjBTXlNIwKyMbv7v2k2Q6a50G5"
    kib = 2 ** (DIGITS.index(n) + 1) * (DIGITS.index(r) + 1) * 128 // 1024
    one_digit_each = DIGITS.index(n) < 48 and DIGITS.index(r) < 48
    assert (storable(stored) is not None) is (one_digit_each and kib <= MAX_MEMORY_KIB)


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.sampled_from(["verify", "hash", "give up"]), st.sampled_from("abc"), st.integers(0, 40)),
        max_size=60,
    ),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_and_goes_no_worker_is_lost(workers: int, events: list[tuple[str, str, int]]) -> None:
    def verify(_encoded: str, _password: bytes) -> bool:
        return True

    def new_hash(_password: bytes, _cost: HashCost) -> str:
        return "$"

    async def scenario() -> None:
        pool = HashWorkers(workers, 8, verify=verify, new_hash=new_hash)
        callers: list[asyncio.Task[object]] = []
        async with asyncio.timeout(10):
            for kind, network, number in events:
                if kind == "verify":
                    callers.append(asyncio.create_task(pool.verify("", b"", network=network)))
                elif kind == "hash":
                    callers.append(asyncio.create_task(pool.hash_when_idle(b"", DEFAULT_COST)))
                elif callers:
                    callers[number % len(callers)].cancel()
                if number % 3:
                    await asyncio.sleep(0)
            for outcome in await asyncio.gather(*callers, return_exceptions=True):
                assert outcome in (True, "$") or isinstance(outcome, HashQueueFull | asyncio.CancelledError)
            assert (
                await asyncio.gather(*(pool.verify("", b"", network="a") for _ in range(workers))) == [True] * workers
            )
        pool.close()

    asyncio.run(scenario())
