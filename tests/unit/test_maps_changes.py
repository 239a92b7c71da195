"""Publishing what the change log names: the same result as publishing everything, and few lines in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digipoort import mapcontents, mapfiles, maps
from digipoort.settings import AdminSettings, load
from tests.unit.directory_samples import SETTINGS, fill, maps_settings
from tests.unit.test_maps import change, lookup, tables, texts

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

ADD: Final = """
INSERT INTO address (address, party_id, party_kind, flow_id, target_id)
SELECT 'm' || number || '@party.test', party_id, party_kind, NULL, target_id
FROM address, generate_series(1, {count}) AS number WHERE address = 'bloemen@party.test'
"""
CHANGES: Final[dict[str, tuple[str, ...]]] = {
    "an address comes": (ADD.format(count=1),),
    "an address goes": ("DELETE FROM address WHERE address = 'm7@party.test'",),
    "an address is renamed": ("UPDATE address SET address = 'z@party.test' WHERE address = 'm7@party.test'",),
    "an address comes and goes": (ADD.format(count=1), "DELETE FROM address WHERE address = 'm1@party.test'"),
    "a mailbox is renamed": ("UPDATE target SET mailbox = 'c0c0' WHERE mailbox = 'b0b0'",),
    "a physical address is renamed": ("UPDATE target SET local_part = 'post' WHERE kind = 'remote'",),
    "a destination moves": ("UPDATE destination SET nexthop = '[other.agency.test]'",),
    "a destination is renamed": ("UPDATE destination SET domain = 'other.test'",),
    "a flow changes": ("UPDATE flow SET size_limit = 77 WHERE code = 'AGS'",),
    "a party is disabled": ("UPDATE party SET active = false",),
    "all goes": ("TRUNCATE address CASCADE",),
    "very many come": (ADD.format(count=900),),
}


@pytest.fixture
def published(directory_dsn: str, tmp_path: Path) -> AdminSettings:
    """Publish a directory in which there are some more addresses."""
    fill(directory_dsn)
    settings = load(AdminSettings, {**SETTINGS, **maps_settings(tmp_path), "DIRECTORY_DSN": directory_dsn})
    change(settings, ADD.format(count=9), "DELETE FROM address WHERE address = 'm1@party.test'")
    maps.publish(settings)
    return settings


@pytest.mark.parametrize("name", CHANGES)
def test_changes_lead_to_what_the_whole_directory_leads_to(published: AdminSettings, name: str) -> None:
    if name == "very many come":
        change(published, "DELETE FROM address WHERE address LIKE 'm%@party.test'")
    change(published, *CHANGES[name])
    maps.publish(published, force=True, changes_only=True)
    assert tables(published) == texts(published.maps_directory)
    before = texts(published.maps_directory)
    profiles = (published.maps_directory / "profiles.json").read_bytes()
    assert maps.publish(published, force=True).changed == ()
    assert texts(published.maps_directory) == before
    assert (published.maps_directory / "profiles.json").read_bytes() == profiles


def test_a_change_leaves_the_table_where_it_is(published: AdminSettings) -> None:
    table = published.maps_directory / "virtual_alias.lmdb"
    inode = table.stat().st_ino
    change(published, ADD.format(count=1), "DELETE FROM address WHERE address = 'm7@party.test'")
    done = maps.publish(published, changes_only=True)
    assert done.changed == ("virtual_alias",)
    assert done.counts["virtual_alias"] == 10
    assert table.stat().st_ino == inode
    assert lookup(published, "virtual_alias", "m1@party.test") == "b0b0@mailbox.invalid"
    assert lookup(published, "virtual_alias", "m7@party.test") is None


def test_what_is_in_no_file_changes_the_counter_only(published: AdminSettings) -> None:
    before = maps.published_counter(published.maps_directory)
    change(published, "UPDATE party SET name = 'x'")
    done = maps.publish(published, changes_only=True)
    assert (done.changed, done.counts) == ((), {})
    assert maps.published_counter(published.maps_directory) == done.counter
    assert done.counter != before


@pytest.mark.parametrize("damage", ["published_counter", "virtual_alias.lmdb"])
def test_what_is_not_whole_is_made_of_the_whole_directory(published: AdminSettings, damage: str) -> None:
    (published.maps_directory / damage).unlink()
    change(published, ADD.format(count=1))
    assert "virtual_alias" in maps.publish(published, changes_only=True).changed
    assert tables(published) == texts(published.maps_directory)


@pytest.mark.parametrize(
    ("step", "changes"),
    [("put", "an address comes"), ("put", "an address is renamed"), ("take", "an address is renamed")],
)
def test_a_change_in_place_that_postmap_breaks_off_is_made_by_the_next(
    published: AdminSettings, mocker: MockerFixture, step: str, changes: str
) -> None:
    change(published, *CHANGES[changes])
    broken = mocker.patch.object(mapfiles.PostfixMaps, step, side_effect=mapfiles.PostfixCommandError("It broke."))
    with pytest.raises(mapfiles.PostfixCommandError):
        maps.publish(published, changes_only=True)
    assert broken.called
    mocker.stopall()
    maps.publish(published, changes_only=True)
    assert tables(published) == texts(published.maps_directory)
    assert maps.publish(published).changed == ()
    assert list(published.maps_directory.glob("*.unfinished")) == []


def test_the_guard_holds_for_changes_too(published: AdminSettings) -> None:
    change(published, "DELETE FROM address WHERE address LIKE 'm%@party.test'")
    with pytest.raises(maps.PublishGuardError, match="8 of the 10 published addresses would vanish"):
        maps.publish(published, changes_only=True)
    assert lookup(published, "virtual_alias", "m7@party.test") is not None


def test_an_older_host_s_counter_is_understood(published: AdminSettings) -> None:
    path = published.maps_directory / "published_counter"
    counter = path.read_text("ascii").split()[0]
    path.write_text(f"{counter}\n", encoding="ascii")
    assert maps.published_counter(published.maps_directory) == int(counter)
    change(published, ADD.format(count=1))
    assert maps.publish(published, changes_only=True).changed == ("virtual_alias",)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], mapcontents.Touched(files=False, addresses=frozenset(), mailboxes=frozenset(), targets=frozenset())),
        ([("address", None, None)], None),
        ([("destination", {"domain": "a.test"}, {"domain": "b.test"})], None),
        (
            [("address", {"address": "a@b.test"}, None), ("target", None, {"id": 3, "mailbox": "b0b0"})],
            mapcontents.Touched(
                files=True, addresses=frozenset({"a@b.test"}), mailboxes=frozenset({"b0b0"}), targets=frozenset({3})
            ),
        ),
        (
            [("target", {"id": 3, "mailbox": None}, {"id": 3, "mailbox": None})],
            mapcontents.Touched(files=True, addresses=frozenset(), mailboxes=frozenset(), targets=frozenset({3})),
        ),
    ],
)
def test_what_the_log_touches(
    rows: list[tuple[str, dict[str, object] | None, dict[str, object] | None]], expected: mapcontents.Touched | None
) -> None:
    assert mapcontents.touched(rows) == expected


KEYS: Final = st.text("ab.@", min_size=1, max_size=4).map(str.encode)


@given(
    old=st.dictionaries(KEYS, st.sampled_from([b"1", b"22", b"333"])),
    changes=st.dictionaries(KEYS, st.sampled_from([b"1", b"22", None])),
)
def test_a_patched_text_is_as_if_written_anew(
    tmp_path_factory: pytest.TempPathFactory, old: dict[bytes, bytes], changes: dict[bytes, bytes | None]
) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    published, new, anew = folder / "published", folder / "new", folder / "anew"
    mapfiles.write_text(published, (b"%s %s\n" % item for item in sorted(old.items())))
    lines = {key: None if value is None else b"%s %s\n" % (key, value) for key, value in changes.items()}
    difference = mapfiles.patch(published, new, lines)
    wanted = {key: value for key, value in (old | changes).items() if value is not None}
    mapfiles.write_text(anew, (b"%s %s\n" % item for item in sorted(wanted.items())))
    assert new.read_bytes() == anew.read_bytes()
    assert difference == mapfiles.compare(anew, published)
    assert mapfiles.count_lines(new) == len(wanted)
