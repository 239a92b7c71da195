"""The program that warns of a filling mailbox: which arguments it takes, and what it does when there is no LMTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from digipoort_auth import quota_warning
from digipoort_auth.quota_warning import Warned

if TYPE_CHECKING:
    from collections.abc import Sequence

WARNED = Warned("gateway.test", "80", "b0b0", "postbus.invalid", Path("/nonexistent"))


@pytest.mark.parametrize(
    "last",
    [
        (),
        ("80",),
        ("0", "b0b0"),
        ("100", "b0b0"),
        ("80", "../b0b0"),
        ("80", "b0"),
        ("80", "b0b0", "x"),
        ("8\n", "b0b0"),
    ],
)
def test_other_arguments_are_refused(last: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path / "lmtp.sock"), "gateway.test", "postbus.invalid", str(tmp_path), *last]
    assert quota_warning.main(arguments) == os.EX_USAGE
    assert capsys.readouterr().err.startswith("quota-warning: ")
    assert list(tmp_path.iterdir()) == []


def test_without_lmtp_it_is_temporary_and_the_next_run_tries_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b0b0").mkdir()
    arguments = [str(tmp_path / "lmtp.sock"), "gateway.test", "postbus.invalid", str(tmp_path), "80", "b0b0"]
    for _ in range(2):
        assert quota_warning.main(arguments) == os.EX_TEMPFAIL
        assert "b0b0 at 80% was not told" in capsys.readouterr().err


def test_the_mail_is_short_ascii_and_says_nothing_of_the_mailbox() -> None:
    raw = quota_warning.compose(WARNED).as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 78
    assert b"b0b0" not in raw
    assert b"postbus.invalid" not in raw
