"""What Postfix itself answers in our name is said in the catalogue's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from digipoort import reasons
from digipoort.reasons import Finding, Reason

TEMPLATES = Path(__file__).resolve().parents[2] / "ansible" / "roles" / "postfix" / "templates"


@pytest.mark.parametrize(
    ("template", "reason"),
    [("main.cf.j2", reasons.INTERNAL_ERROR), ("master.cf.j2", reasons.AUTHENTICATION_REQUIRED)],
)
def test_a_template_quotes_the_catalogue(template: str, reason: Reason) -> None:
    assert Finding(reason).reply() in (TEMPLATES / template).read_text(encoding="utf-8")
