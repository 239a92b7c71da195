"""The corpus between the sandbox's parties, and the profiles of the flows that it goes over."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from digipoort.directory.objects import DEFAULT_SIZE_LIMIT
from digipoort.interface.profile import parse_interface
from digipoort.profiles import FlowProfile
from tests.corpus.collection import FLOWS, samples
from tests.sandbox.parties import AGENCY_ADDRESSES, INTERFACES, SMALL_FLOW, SMALL_LIMIT, TRADERS, agency_address

if TYPE_CHECKING:
    from tests.corpus.sample import Sample

SENDER = next(trader.address for trader in TRADERS if trader.key == "TRADER")


@functools.cache
def sandbox_samples() -> tuple[Sample, ...]:
    """Return the samples that TRADER sends to the agencies."""
    return samples(SENDER, {flow: agency_address(flow) for flow in FLOWS})


def profile_of(flow: str) -> FlowProfile:
    """Return the profile of the flow whose address has this key, e.g. STRICT_ADDRESS."""
    _, code, _ = AGENCY_ADDRESSES[flow]
    limit = SMALL_LIMIT if code == SMALL_FLOW else DEFAULT_SIZE_LIMIT
    return FlowProfile(code, limit, parse_interface(INTERFACES.get(code, {}), code))
