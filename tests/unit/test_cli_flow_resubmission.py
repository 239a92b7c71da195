"""`digipoort flow resubmission` and what becomes of a flow's policy: listed, published, read by the milter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from digipoort.directory.session import DirectoryFaultError
from digipoort.interface.profile import ProfilesInvalidError
from digipoort.profiles import parse_profiles
from digipoort.resubmission import Policy
from tests.unit.directory_samples import digipoort, fill, maps_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def dsn(directory_dsn: str) -> str:
    """Fill a fresh directory and return its conninfo."""
    fill(directory_dsn)
    return directory_dsn


def _policy_of(dsn: str, code: str) -> object:
    flows = json.loads(digipoort(dsn, "flow", "list", "--json").stdout)
    return next(flow["resubmission"] for flow in flows if flow["code"] == code)


@pytest.mark.parametrize("policy", list(Policy))
def test_a_flow_gets_another_policy(dsn: str, policy: Policy) -> None:
    assert _policy_of(dsn, "AGS") == "tell"
    result = digipoort(dsn, "flow", "resubmission", "AGS", policy.value)
    assert (result.exit_code, result.stdout) == (
        0,
        f"flow AGS: resubmissions, {policy.value}; hosts learn it by digipoort maps publish\n",
    )
    assert _policy_of(dsn, "AGS") == policy.value
    assert _policy_of(dsn, "EMCS") == "tell"


def test_a_new_flow_may_have_one(dsn: str) -> None:
    assert digipoort(dsn, "flow", "add", "A", "A", "--owner", "DOUANE", "--resubmission", "refuse").exit_code == 0
    assert digipoort(dsn, "flow", "add", "B", "B", "--owner", "DOUANE").exit_code == 0
    fill(dsn, '[[flow]]\ncode = "C"\nname = "C"\nowner = "DOUANE"\nresubmission = "accept"\n')
    assert [_policy_of(dsn, code) for code in "ABC"] == ["refuse", "tell", "accept"]


def test_what_is_no_policy_or_no_flow_is_refused(dsn: str) -> None:
    assert digipoort(dsn, "flow", "resubmission", "AGS", "warn").exit_code == 2
    assert digipoort(dsn, "flow", "add", "A", "A", "--owner", "DOUANE", "--resubmission", "warn").exit_code == 2
    result = digipoort(dsn, "flow", "resubmission", "X", "tell")
    assert (result.exit_code, result.stderr) == (1, "digipoort: There is no flow X.\n")
    file_of_another_mind = '[[flow]]\ncode = "A"\nname = "A"\nowner = "DOUANE"\nresubmission = "warn"\n'
    with pytest.raises(DirectoryFaultError, match="policy for resubmissions is accept, refuse or tell"):
        fill(dsn, file_of_another_mind)


def test_it_is_published_where_it_is_not_the_default(dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    assert digipoort(dsn, "flow", "resubmission", "AGS", "refuse").exit_code == 0
    assert digipoort(dsn, "maps", "publish", **settings).exit_code == 0
    content = (tmp_path / "maps" / "profiles.json").read_bytes()
    flows = json.loads(content)["flows"]
    assert flows["AGS"]["resubmission"] == "refuse"
    # As before the policy existed: a milter of that time reads them.
    assert flows["EMCS"].keys() == {"size_limit", "interface"}
    profiles = parse_profiles(content).flows
    assert (profiles["AGS"].resubmission, profiles["EMCS"].resubmission) == (Policy.REFUSE, Policy.TELL)


def _profiles(**flow: object) -> bytes:
    document = {"version": 1, "addresses": {}, "flows": {"AGS": {"size_limit": 1000, "interface": {}, **flow}}}
    return json.dumps(document).encode()


@pytest.mark.parametrize("policy", ["warn", "", None, 1, ["tell"]])
def test_a_file_with_another_policy_is_not_read(policy: object) -> None:
    with pytest.raises(ProfilesInvalidError, match="resubmission of flow AGS is not one of accept, refuse, tell"):
        parse_profiles(_profiles(resubmission=policy))


@pytest.mark.parametrize(
    ("policy", "checked", "recognises"),
    [("accept", True, True), ("accept", False, False), ("tell", False, True), ("refuse", False, True)],
)
def test_a_flow_that_takes_everything_asks_nobody(policy: str, *, checked: bool, recognises: bool) -> None:
    content = _profiles(resubmission=policy, interface={"checks": {"DGP-3043": checked}})
    flow = parse_profiles(content).flows["AGS"]
    assert (flow.recognises_resubmissions, flow.refuses_reused_identifiers) == (recognises, checked)


def test_whether_it_is_refused_is_no_check(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "interface.json"
    file.write_text('{"checks": {"DGP-3042": false}}', encoding="utf-8")
    assert digipoort(dsn, "flow", "interface", "AGS", str(file)).exit_code == 2
