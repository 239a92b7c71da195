"""Flow profiles: the format, and what happens when the file changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from digipoort.interface.profile import InterfaceProfile, ProfilesInvalidError
from digipoort.profiles import parse_profiles
from digipoort_milter.profile_store import ProfileStore
from tests.milter_samples import logger

if TYPE_CHECKING:
    from pathlib import Path


def document(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a valid document with changes at its top."""
    valid: dict[str, Any] = {
        "version": 1,
        "addresses": {"AGS@logical.example": "AGS"},
        "flows": {"AGS": {"size_limit": 1000, "interface": {"max_depth": 3}}},
    }
    return valid | changes


def test_parse() -> None:
    profiles = parse_profiles(json.dumps(document()).encode())
    flow = profiles.flow_for(("ags@logical.example",), "trader@logical.example")
    assert flow is not None
    assert (flow.code, flow.size_limit, flow.interface) == ("AGS", 1000, InterfaceProfile(max_depth=3))
    assert profiles.flow_for(("trader@logical.example",), "ags@logical.example") == flow
    assert profiles.flow_for(("trader@logical.example",), "other@logical.example") is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b" <1.2@mx1.phys.example>", True),
        (b" PHYS.EXAMPLE", True),
        (b" svc@other.example.", True),
        (b" (phys.example)", True),
        (b" phys.example.org", False),
        (b" myphys.example", False),
        (b" my-phys.example", False),
        (b" physXexample", False),
        (b" phys.example-2", False),
    ],
)
def test_names_of_physical_domains_are_found_whole(value: bytes, *, found: bool) -> None:
    profiles = parse_profiles(json.dumps(document(physical_domains=["phys.example", "other.example"])).encode())
    hidden = profiles.hidden_names("ags@logical.example")
    assert hidden is not None
    assert bool(hidden.search(value)) is found
    assert profiles.hidden_names("trader@logical.example") is None


def test_required_headers_can_be_set() -> None:
    interface = {"required_headers": ["Subject"], "max_line_octets": 78}
    profiles = parse_profiles(json.dumps(document(flows={"AGS": {"size_limit": 1, "interface": interface}})).encode())
    flow = profiles.flow_for(("ags@logical.example",), "")
    assert flow is not None
    assert flow.interface == InterfaceProfile(required_headers=("Subject",), max_line_octets=78)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        json.dumps(document(version=2)).encode(),
        json.dumps(document(version=True)).encode(),
        json.dumps(document(extra=1)).encode(),
        json.dumps({"version": 1}).encode(),
        json.dumps(document(addresses={"a@b": "OTHER"})).encode(),
        json.dumps(document(addresses={"a@b": ["AGS"]})).encode(),
        json.dumps(document(addresses=[])).encode(),
        json.dumps(document(physical_domains="phys.example")).encode(),
        json.dumps(document(physical_domains=[1])).encode(),
        json.dumps(document(physical_domains=["phys.example|"])).encode(),
        json.dumps(document(physical_domains=[""])).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": 1}})).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": "1", "interface": {}}})).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": 0, "interface": {}}})).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": True, "interface": {}}})).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": 1, "interface": {"unknown": 1}}})).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": 1, "interface": {"max_parts": 1.5}}})).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": 1, "interface": {"required_headers": "To"}}})).encode(),
        json.dumps(document(flows={"AGS": {"size_limit": 1, "interface": {"required_headers": [1]}}})).encode(),
    ],
)
def test_invalid(bad: bytes) -> None:
    with pytest.raises(ProfilesInvalidError):
        parse_profiles(bad)


def test_store_follows_the_file_and_keeps_the_last_good_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "profiles.json"
    store = ProfileStore(path, logger())
    assert store.current() is None
    assert store.current() is None
    assert len(caplog.records) == 1
    path.write_text(json.dumps(document()))
    first = store.current()
    assert first is not None
    assert store.current() is first
    (tmp_path / "new").write_text("{")
    (tmp_path / "new").rename(path)
    assert store.current() is first
    assert store.current() is first
    path.unlink()
    assert store.current() is first
    (tmp_path / "new").write_text(json.dumps(document(addresses={})))
    (tmp_path / "new").rename(path)
    renewed = store.current()
    assert renewed is not None
    assert renewed.flow_of_address == {}
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events == [
        "event=profiles_unusable",
        "event=profiles_loaded",
        "event=profiles_unusable",
        "event=profiles_unusable",
        "event=profiles_loaded",
    ]


def test_store_tries_an_unreadable_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "profiles.json"
    path.write_text(json.dumps(document()))
    store = ProfileStore(path, logger())

    def deny(_path: Path) -> bytes:
        raise PermissionError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "read_bytes", deny)
        assert store.current() is None
    assert store.current() is not None
