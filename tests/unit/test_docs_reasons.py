"""docs/reasons.md is the catalogue: the page is neither stale nor unreadable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from digipoort import reasons
from digipoort.reasons_page import GROUPS, as_markdown

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reasons.md"
ROW: Final = re.compile(r"\| (DGP-\d{4}) \| (\d{3}) \| ([\d.]+) \| (.+?) \| (.+?) \| (.+?) \|")
ROWS: Final = [match.groups() for line in as_markdown().splitlines() if (match := ROW.fullmatch(line))]
EACH: Final = pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
MAX_ENGLISH_CHARACTERS: Final = 120


def test_the_page_is_not_stale() -> None:
    stored = PAGE.read_text(encoding="utf-8")
    assert stored == as_markdown(), "python -m digipoort.reasons_page > docs/reasons.md"


def test_every_code_has_one_row_in_the_catalogues_order() -> None:
    assert [row[0] for row in ROWS] == list(reasons.CATALOGUE)


def test_groups_are_those_of_the_catalogue() -> None:
    source = Path(reasons.__file__).read_text(encoding="utf-8")
    assert dict(re.findall(r"^# --- (\d)xxx: (.+?) -+$", source, re.MULTILINE)) == GROUPS


@EACH
def test_english_fits_a_reply_and_dutch_is_there(row: tuple[str, ...]) -> None:
    _, _, _, english, dutch, remedy = row
    assert english.isascii()
    assert len(english) <= MAX_ENGLISH_CHARACTERS
    assert dutch not in {english, "-"}
    assert remedy


@EACH
def test_temporary_codes_start_with_4(row: tuple[str, ...]) -> None:
    code, smtp, status, *_ = row
    temporary = reasons.CATALOGUE[code].temporary
    assert smtp.startswith("4") == status.startswith("4.") == temporary
    assert temporary or not code.startswith("DGP-9")
