"""docs/interface.md is what is checked: its tables are not stale, no check or setting is left out, examples hold."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from digipoort.directory.objects import DEFAULT_SIZE_LIMIT
from digipoort.interface import rules
from digipoort.interface.fields import unfolded
from digipoort.interface.profile import CHECK_CODES, GUARDS, InterfaceProfile
from digipoort.interface_page import with_tables
from digipoort.reasons import CATALOGUE, findings_in

if TYPE_CHECKING:
    from digipoort.interface.rules import Rule

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "interface.md"
TEXT: Final = PAGE.read_text(encoding="utf-8")
COMMAND: Final = "python -m digipoort.interface_page docs/interface.md"
SETTINGS: Final = {field.name for field in dataclasses.fields(InterfaceProfile)} - {"off"}
CLAUSE: Final = re.compile(r"(RFC \d{4}( §\d+(\.\d+)*)?|§\d+(\.\d+)*)|([\w-]+: )?own")
EACH: Final = pytest.mark.parametrize("rule", rules.RULES.values(), ids=list(rules.RULES))


def cells(code: str) -> list[str]:
    """Return the cells of the row of a code, which is the only one."""
    (line,) = (line for line in TEXT.splitlines() if line.startswith(f"| {code} |"))
    return line.removeprefix("| ").removesuffix(" |").split(" | ")


def test_the_page_is_not_stale() -> None:
    assert with_tables(TEXT) == TEXT, COMMAND


def test_the_page_tells_how_its_tables_are_made() -> None:
    assert COMMAND in TEXT


def test_every_check_has_one_rule() -> None:
    assert set(rules.RULES) == CHECK_CODES
    assert sum(len(group) for group in rules.GROUPS.values()) == len(CHECK_CODES)


def test_every_setting_is_in_one_rule() -> None:
    named = [setting for rule in rules.RULES.values() for setting in rule.settings if setting != rules.SIZE_LIMIT]
    assert sorted(named) == sorted(SETTINGS)


@EACH
def test_a_rule_names_settings_that_exist_and_clauses(rule: Rule) -> None:
    assert set(rule.settings) <= SETTINGS | {rules.SIZE_LIMIT}
    for clause in re.split(r"[,;] ", re.sub(r" \([^)]*\)", "", rule.clause)):
        assert CLAUSE.fullmatch(clause), clause


@EACH
def test_a_row_has_reply_texts_defaults_and_switch(rule: Rule) -> None:
    code, demand, clause, reply, english, dutch, setting = cells(rule.reason.code)
    reason = rule.reason
    assert (code, demand, clause, reply) == (reason.code, rule.demand, rule.clause, f"{reason.smtp} {reason.status}")
    assert (english, dutch) == (reason.english, reason.dutch)
    assert ("**guard**" in setting) == (code in GUARDS)
    assert ("**off**" in setting) == (code in InterfaceProfile().off)
    for name in rule.settings:
        default = DEFAULT_SIZE_LIMIT if name == rules.SIZE_LIMIT else getattr(InterfaceProfile(), name)
        listed = ", ".join(default) or "(empty)" if isinstance(default, tuple) else str(default)
        assert re.search(rf"{name}`?(?: of the flow)?: {re.escape(listed)}(?:;|$)", setting), setting


@pytest.mark.parametrize("code", [code for code in CATALOGUE if code[4] in "124"])
def test_other_codes_of_a_session_or_a_receipt_have_a_row(code: str) -> None:
    _, reply, english, dutch = (re.sub(r"\\(.)", r"\1", cell) for cell in cells(code))
    reason = CATALOGUE[code]
    assert (reply, english, dutch) == (f"{reason.smtp} {reason.status}", reason.english, reason.dutch)


def test_codes_in_the_text_are_in_the_catalogue() -> None:
    assert set(re.findall(r"DGP-\d{4}", TEXT)) <= set(CATALOGUE)


def test_the_example_of_a_diagnostic_code_is_what_a_receipt_says() -> None:
    match = re.search(r"^Diagnostic-Code: (x-digipoort; (?:.|\n )+)$", TEXT, re.MULTILINE)
    assert match is not None
    example = unfolded(match[1].encode("ascii")).decode("ascii")
    findings = findings_in(example)
    assert len(findings) > 1
    assert example == f"x-digipoort; {' '.join(finding.text() for finding in findings)}"


def test_the_program_mends_a_stale_page_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "interface.md"
    page.write_text(TEXT.replace("| DGP-3005 |", "| DGP-9999 |").replace("| DGP-1005 |", "\n"), encoding="utf-8")
    assert page.read_text(encoding="utf-8") != TEXT
    subprocess.run([sys.executable, "-m", "digipoort.interface_page", str(page)], check=True)
    assert page.read_text(encoding="utf-8") == TEXT


def test_a_page_without_a_tables_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers of the table session"):
        with_tables(TEXT.replace("<!-- session: generated -->", ""))
