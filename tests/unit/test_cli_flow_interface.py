"""`digipoort flow interface`: one flow's checks are changed from a file, and nothing that the milter could not read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.directory_samples import digipoort, fill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def dsn(directory_dsn: str) -> str:
    """Fill a fresh directory and return its conninfo."""
    fill(directory_dsn)
    return directory_dsn


def _interface_of(dsn: str, code: str) -> object:
    flows = json.loads(digipoort(dsn, "flow", "list", "--json").stdout)
    return next(flow["interface"] for flow in flows if flow["code"] == code)


def test_a_file_replaces_the_overrides(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "interface.json"
    for interface in ({"max_depth": 3, "checks": {"DGP-3005": False}}, {"max_parts": 7}):
        file.write_text(json.dumps(interface), encoding="utf-8")
        result = digipoort(dsn, "flow", "interface", "AGS", str(file))
        assert result.exit_code == 0, result.stderr
        assert "maps publish" in result.stdout
        assert _interface_of(dsn, "AGS") == interface


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"\xff", b'{"max_depth": 0}', b'{"unknown": 1}', b'{"checks": {"DGP-3010": false}}']
)
def test_what_is_no_interface_is_wrong_usage_and_changes_nothing(dsn: str, tmp_path: Path, content: bytes) -> None:
    before = _interface_of(dsn, "AGS")
    file = tmp_path / "interface.json"
    file.write_bytes(content)
    assert digipoort(dsn, "flow", "interface", "AGS", str(file)).exit_code == 2
    assert digipoort(dsn, "flow", "interface", "AGS", str(tmp_path / "absent")).exit_code == 2
    assert _interface_of(dsn, "AGS") == before


def test_an_unknown_flow_is_refused(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "interface.json"
    file.write_text("{}", encoding="utf-8")
    result = digipoort(dsn, "flow", "interface", "X", str(file))
    assert (result.exit_code, result.stderr) == (1, "digipoort: There is no flow X.\n")
