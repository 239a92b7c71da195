"""The whole corpus: every group of cases on the flow that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.corpus.attachment_samples import attachment_cases
from tests.corpus.combined_samples import combined_cases
from tests.corpus.content_samples import content_cases
from tests.corpus.flow_samples import default_off_cases, lenient_cases, small_cases, strict_cases
from tests.corpus.header_samples import header_cases
from tests.corpus.library_samples import library_cases
from tests.corpus.octet_samples import octet_cases
from tests.corpus.sample import Envelope, Sample, judged
from tests.corpus.structure_samples import structure_cases
from tests.corpus.writer_samples import writer_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.corpus.sample import Case

DEFAULT: Final = "AGS_ADDRESS"
SMALL: Final = "SMALL_ADDRESS"
STRICT: Final = "STRICT_ADDRESS"
LENIENT: Final = "LENIENT_ADDRESS"
FLOWS: Final = (DEFAULT, SMALL, STRICT, LENIENT)
_HAND_MADE: Final = (
    header_cases, octet_cases, structure_cases, content_cases, attachment_cases, combined_cases, default_off_cases,
)  # fmt: skip
_ON_DEFAULT: Final[tuple[Callable[[Envelope], Iterator[Case]], ...]] = (*_HAND_MADE, library_cases, writer_cases)


def samples(sender: str, recipients: Mapping[str, str]) -> tuple[Sample, ...]:
    """Return the corpus, the same in every run, for these addresses; `recipients` by flow.

    Names are unique. Raises OSError or CalledProcessError where a writer (tests/sandbox/install-packages) is missing.
    """
    envelopes = {flow: Envelope(sender, recipients[flow]) for flow in FLOWS}
    return (
        *_on_flow(DEFAULT, (case for cases in _ON_DEFAULT for case in cases(envelopes[DEFAULT]))),
        *_on_flow(SMALL, small_cases(envelopes[SMALL])),
        *_on_flow(STRICT, strict_cases(envelopes[STRICT])),
        *_on_flow(LENIENT, lenient_cases(envelopes[LENIENT])),
        *_on_flow(
            LENIENT, _let_pass(case for cases in (*_HAND_MADE, strict_cases) for case in cases(envelopes[LENIENT]))
        ),
    )


def _on_flow(flow: str, cases: Iterable[Case]) -> Iterator[Sample]:
    label = flow.partition("_")[0].lower()
    for case in cases:
        yield Sample(f"{label}: {case.name}", case.raw, flow, case.expected, case.in_session)


def _let_pass(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield the first case of every verdict that other flows refuse it with; a lenient flow accepts all of them."""
    seen: set[tuple[str, ...]] = set()
    for case in cases:
        if case.expected and not case.in_session and case.expected not in seen:
            seen.add(case.expected)
            yield judged(case.name, case.raw)
