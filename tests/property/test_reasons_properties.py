"""A finding survives its way through an SMTP reply, whatever its parameters are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from digipoort.reasons import CATALOGUE, MAX_PARAMETER_OCTETS, Finding, Reason, findings_in

REASONS = st.sampled_from(list(CATALOGUE.values()))
NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
SAFE_VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, blacklist_characters="()="),
    min_size=1,
    max_size=MAX_PARAMETER_OCTETS,
)


@given(REASONS, st.dictionaries(NAMES, SAFE_VALUES, max_size=4))
def test_a_finding_round_trips(reason: Reason, parameters: dict[str, str]) -> None:
    finding = Finding(reason, parameters)
    assert findings_in(finding.reply(), limit=1) == [finding]


@given(REASONS, st.dictionaries(NAMES, st.text(), max_size=4))
def test_any_value_gives_one_printable_ascii_line(reason: Reason, parameters: dict[str, str]) -> None:
    reply = Finding(reason, parameters).reply()
    assert reply.isascii()
    assert reply.isprintable()
    found = findings_in(reply, limit=1)[0]
    assert found.reason is reason
    assert found.parameters.keys() == parameters.keys()


@given(st.text())
def test_any_text_is_read_without_a_fault(text: str) -> None:
    assert len(findings_in(text)) <= 10
