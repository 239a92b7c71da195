"""The corpus against the checks themselves, without a gateway: every verdict, and samples of every check."""

from __future__ import annotations

import pytest

from digipoort.interface.message_file import lint
from digipoort.interface.profile import CHECK_CODES, GUARDS
from tests.corpus.collection import FLOWS, LENIENT, samples
from tests.corpus.sample import MAX_SHOWN, Sample, agrees
from tests.corpus.sandbox import SENDER, profile_of, sandbox_samples
from tests.sandbox.parties import agency_address

SAMPLES = sandbox_samples()


@pytest.mark.parametrize("sample", [pytest.param(sample, id=sample.name) for sample in SAMPLES])
def test_lint_gives_the_expected_verdict(sample: Sample) -> None:
    verdict = lint(sample.raw, profile_of(sample.flow), SENDER, [agency_address(sample.flow)])
    shown = [finding.reason.code for finding in verdict.findings]
    assert agrees(shown, sample.expected), verdict.findings


def test_the_corpus_is_large_and_the_same_in_every_run() -> None:
    assert len(SAMPLES) >= 200
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)
    assert samples(SENDER, {flow: agency_address(flow) for flow in FLOWS}) == SAMPLES


@pytest.mark.parametrize("code", sorted(CHECK_CODES))
def test_every_check_has_samples_on_both_sides_of_its_edge(code: str) -> None:
    number = code.removeprefix("DGP-")
    own = [sample for sample in SAMPLES if number in sample.name.partition(": ")[2] and sample.flow != LENIENT]
    assert [sample for sample in own if not sample.expected]
    assert len([sample for sample in own if sample.expected == (code,)]) >= 2


@pytest.mark.parametrize("code", sorted(CHECK_CODES - GUARDS))
def test_every_check_that_can_be_switched_off_lets_pass_what_it_refuses(code: str) -> None:
    refused = {_unaddressed(sample) for sample in SAMPLES if code in sample.expected}
    let_pass = {_unaddressed(sample) for sample in SAMPLES if sample.flow == LENIENT and not sample.expected}
    assert refused & let_pass


def _unaddressed(sample: Sample) -> bytes:
    return sample.raw.replace(agency_address(sample.flow).encode(), b"AGENCY")


def test_several_violations_are_told_together() -> None:
    assert len([sample for sample in SAMPLES if len(sample.expected) >= 3]) >= 12
    assert any(len(sample.expected) > MAX_SHOWN for sample in SAMPLES)
