"""The fuzz targets on their seeds and on what a few changes make of them: a smoke test, so that they cannot rot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import guard
from tests.fuzz.guard import CostError, Guard
from tests.fuzz.seeds import MAX_OCTETS, seeds
from tests.fuzz.targets import TARGETS

CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 20), st.binary(max_size=12)), max_size=6)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_seeds(name: str, data: st.DataObject) -> None:
    octets = data.draw(st.sampled_from(seeds(name)))
    for place, length, inserted in data.draw(CHANGES):
        start = place % (len(octets) + 1)
        octets = octets[:start] + inserted + octets[start + length :]
    TARGETS[name](octets)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    watched = Guard(TARGETS[name])
    for seed in seeds(name):
        assert len(seed) <= MAX_OCTETS + 2
        watched(seed)


def test_the_corpus_seeds_the_messages() -> None:
    assert len(seeds("mime")) > 200


def test_a_slow_input_is_found() -> None:
    def slow(octets: bytes) -> None:
        sum(index for index in range(len(octets) * 1_000_000))

    with pytest.raises(CostError, match="processor time for 1 octets"):
        Guard(slow, seconds=0)(b"x")


def test_objects_that_stay_are_found() -> None:
    kept: list[bytes] = []
    watched = Guard(lambda octets: kept.extend(octets[:1] + bytes(2) for _ in range(100)))
    for _ in range(guard.WARM_UP_INPUTS + guard.LOOK_EVERY - 1):
        watched(b"x")
    with pytest.raises(CostError, match="objects more"):
        watched(b"x")
