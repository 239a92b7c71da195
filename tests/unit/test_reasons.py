"""The catalogue of verdicts: codes, RFC 5321 and RFC 3463 form, and texts that fit where they are shown."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from digipoort import reasons
from digipoort.reasons import CATALOGUE, Finding, Reason, findings_in

ALL = list(CATALOGUE.values())
EACH = pytest.mark.parametrize("reason", ALL, ids=[reason.code for reason in ALL])


def test_codes_are_unique() -> None:
    tree = ast.parse(Path(reasons.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Reason"]
    assert len(made) == len(CATALOGUE)


@EACH
def test_a_code_has_the_grammar(reason: Reason) -> None:
    assert re.fullmatch(r"DGP-[0-9]{4}", reason.code)


@EACH
def test_basic_and_enhanced_code_agree(reason: Reason) -> None:
    match = re.fullmatch(r"([245])\.[0-7]\.[0-9]{1,3}", reason.status)
    assert match is not None
    assert match[1] == str(reason.smtp)[0]
    assert reason.temporary == (match[1] == "4")


@EACH
def test_english_is_ascii_and_short_enough_for_a_reply_line(reason: Reason) -> None:
    assert reason.english.isascii()
    assert reason.english.endswith(".")
    assert reason.dutch.endswith(".")
    assert reason.remedy
    # RFC 5321 section 4.5.3.1.5: a reply line is at most 512 octets, and Postfix puts the recipient into it too.
    assert len(Finding(reason).reply()) < 200


@EACH
def test_both_languages_have_the_same_parameters(reason: Reason) -> None:
    assert set(re.findall(r"\{(\w+)\}", reason.english)) == set(re.findall(r"\{(\w+)\}", reason.dutch))


@EACH
def test_our_own_faults_are_temporary(reason: Reason) -> None:
    if reason.code.startswith("DGP-9"):
        assert reason.temporary


def test_a_reply_has_code_parameters_and_sentence() -> None:
    finding = Finding(reasons.NOT_CONNECTED, {"flow": "EMCS"})
    expected = "550 5.7.1 DGP-2003 (flow=EMCS) The private address is not connected to flow EMCS."
    assert finding.reply() == expected
    assert finding.dutch() == "Het adres van de private partij is niet aangesloten op berichtstroom EMCS."


def test_a_parameter_cannot_break_the_reply() -> None:
    finding = Finding(reasons.HEADER_MISSING, {"header": "a b=(c)\r\n554 forged"})
    assert finding.text() == "DGP-3001 (header=a_b__c___554_forged) The required header a_b__c___554_forged is missing."


def test_a_missing_parameter_is_a_dash() -> None:
    assert Finding(reasons.NOT_CONNECTED).english() == "The private address is not connected to flow -."


def test_findings_are_read_from_a_folded_diagnostic() -> None:
    first, second = Finding(reasons.HEADER_MISSING, {"header": "Date"}), Finding(reasons.BCC_PRESENT)
    text = f"host acceptance said: 554 5.6.0 {first.text()} {second.text()} DGP-0000 unknown (in reply to end of DATA)"
    assert findings_in(text) == [first, second]


def test_findings_are_bounded() -> None:
    text = " ".join([Finding(reasons.BCC_PRESENT).text()] * 20)
    assert len(findings_in(text)) == 10
    assert len(findings_in(text, limit=3)) == 3
