"""References: their form, and that they do not repeat."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from digipoort.references import is_reference, new_reference


def test_a_reference_names_its_day_in_utc() -> None:
    reference = new_reference(datetime(2024, 12, 31, 23, 59, tzinfo=UTC))
    assert reference.startswith("DP-20241231-")
    assert is_reference(reference)


def test_references_do_not_repeat() -> None:
    assert len({new_reference() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DP-20241231-",
        "DP-20241231-0123456789ABCDE",
        "DP-20241231-0123456789ABCDEFG",
        "DP-20241231-0123456789ABCDEI",
        "dp-20241231-0123456789ABCDEF",
        "DP-20241231-0123456789abcdef",
        "DP-20241231-0123456789ABCDEF\n",
        " DP-20241231-0123456789ABCDEF",
        "DP-2024123\N{ARABIC-INDIC DIGIT ONE}-0123456789ABCDEF",
    ],
)
def test_anything_else_is_not_a_reference(text: str) -> None:
    assert not is_reference(text)
