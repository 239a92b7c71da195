"""The fuzz targets on their seeds and on what a few changes make of them: a smoke test, so that they cannot rot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 20), st.binary(max_size=12)), max_size=6)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_changed_seeds(name: str, data: st.DataObject) -> None:
    octets = data.draw(st.sampled_from(SEEDS[name]))
    for place, length, inserted in data.draw(CHANGES):
        start = place % (len(octets) + 1)
        octets = octets[:start] + inserted + octets[start + length :]
    TARGETS[name](octets)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)
