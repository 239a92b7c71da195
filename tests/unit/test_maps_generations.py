"""Going back: what is kept of earlier publications, what the guard refuses, and what a difference shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from digipoort import generations, mapcontents, mapfiles, maps
from digipoort.settings import AdminSettings, load
from tests.unit.directory_samples import SETTINGS, digipoort, fill, maps_settings
from tests.unit.test_maps import change, lookup

if TYPE_CHECKING:
    from pathlib import Path

ADD = """INSERT INTO address (address, party_id, party_kind, target_id)
    SELECT 'm{0}@party.test', party_id, party_kind, id FROM target WHERE mailbox = 'b0b0'"""


@pytest.fixture
def settings(directory_dsn: str, tmp_path: Path) -> AdminSettings:
    """Fill a directory with eleven addresses and return the settings that publish it."""
    fill(directory_dsn)
    values = {**SETTINGS, **maps_settings(tmp_path), "DIRECTORY_DSN": directory_dsn, "MAPS_GENERATIONS": "3"}
    loaded = load(AdminSettings, values)
    change(loaded, *(ADD.format(number) for number in range(9)))
    return loaded


def _remove(settings: AdminSettings, *numbers: int) -> None:
    change(settings, *(f"DELETE FROM address WHERE address = 'm{number}@party.test'" for number in numbers))  # noqa: S608


def test_what_is_published_is_kept_and_only_the_last_few(settings: AdminSettings) -> None:
    for number in range(5):
        maps.publish(settings)
        maps.publish(settings)
        _remove(settings, number)
    kept = generations.kept(settings.maps_directory)
    assert [one.number for one in kept] == [5, 4, 3]
    assert kept[0].counter == maps.published_counter(settings.maps_directory)
    assert (settings.maps_directory / "published_counter").read_text("ascii").split()[2] == "5"
    assert (kept[0].folder / "virtual_alias").read_bytes() == (settings.maps_directory / "virtual_alias").read_bytes()
    assert b"m2@" in (kept[2].folder / "virtual_alias").read_bytes()


def test_an_admin_goes_back_and_forward_again(settings: AdminSettings) -> None:
    first = maps.publish(settings)
    _remove(settings, 0)
    maps.publish(settings)
    assert lookup(settings, "virtual_alias", "m0@party.test") is None

    back = maps.roll_back(settings, None)
    assert (back.counter, back.generation, back.changed) == (first.counter, 3, ("virtual_alias",))
    assert lookup(settings, "virtual_alias", "m0@party.test") == "b0b0@mailbox.invalid"
    with pytest.raises(maps.PublishHeldError, match="went back"):
        maps.publish(settings, unless_held=True)
    assert lookup(settings, "virtual_alias", "m0@party.test") is not None

    assert maps.publish(settings).changed == ("virtual_alias",)
    assert lookup(settings, "virtual_alias", "m0@party.test") is None
    assert maps.publish(settings, unless_held=True).changed == ()


def test_only_what_is_kept_can_be_gone_back_to(settings: AdminSettings) -> None:
    maps.publish(settings)
    for number in (None, 7):
        with pytest.raises(mapcontents.PublishError, match="There is no such generation to go back to; kept are 1"):
            maps.roll_back(settings, number)
    assert not generations.held(settings.maps_directory)


def test_a_generation_that_was_cut_off_is_no_generation(settings: AdminSettings) -> None:
    maps.publish(settings)
    (settings.maps_directory / "generations" / "000009").mkdir()
    (settings.maps_directory / "generations" / "000009" / "about").write_text("{")
    assert [one.number for one in generations.kept(settings.maps_directory)] == [1]
    _remove(settings, 0)
    maps.publish(settings)
    assert [one.number for one in generations.kept(settings.maps_directory)] == [10, 1]


def test_the_guard_keeps_an_emptied_directory_from_being_published(settings: AdminSettings) -> None:
    maps.publish(settings)
    _remove(settings, 0, 1)
    maps.publish(settings)
    _remove(settings, 2, 3)
    with pytest.raises(
        maps.PublishGuardError, match=r"^2 of the 9 published addresses would vanish, more than MAPS_RE"
    ):
        maps.publish(settings)
    assert lookup(settings, "virtual_alias", "m2@party.test") is not None
    maps.publish(settings, force=True)
    assert lookup(settings, "virtual_alias", "m2@party.test") is None


def test_differences_name_what_would_come_and_go(settings: AdminSettings) -> None:
    maps.publish(settings)
    assert list(maps.differences(settings)) == []
    _remove(settings, 0)
    change(settings, "UPDATE destination SET tls_level = 'verify'", ADD.format("x"))
    assert list(maps.differences(settings)) == [
        ("tls_policy", "-", b"[mx.agency.test]:2525 secure match=mx.agency.test\n"),
        ("tls_policy", "+", b"[mx.agency.test]:2525 verify match=mx.agency.test\n"),
        ("virtual_alias", "-", b"m0@party.test b0b0@mailbox.invalid\n"),
        ("virtual_alias", "+", b"mx@party.test b0b0@mailbox.invalid\n"),
    ]
    assert lookup(settings, "virtual_alias", "m0@party.test") is not None


def test_the_commands(settings: AdminSettings, tmp_path: Path) -> None:
    values = {
        "MAPS_DIRECTORY": str(tmp_path / "maps"),
        "POSTFIX_CONFIG_DIRECTORY": str(tmp_path / "postfix"),
        "MAPS_REMOVED_SHARE": "0.05",
    }
    dsn = settings.directory_dsn
    assert digipoort(dsn, "maps", "diff", **values).stdout.splitlines()[-1].startswith("+ profiles.json")
    assert digipoort(dsn, "maps", "publish", **values).exit_code == 0
    assert digipoort(dsn, "maps", "diff", **values).stdout == "nothing to publish\n"
    _remove(settings, 0)
    refused = digipoort(dsn, "maps", "publish", **values)
    assert refused.exit_code == 1
    assert "digipoort maps publish --force publishes all the same." in refused.stderr
    assert digipoort(dsn, "maps", "publish", "--force", **values).exit_code == 0
    back = digipoort(dsn, "maps", "rollback", **values)
    assert back.exit_code == 0, back.stderr
    assert back.stdout.endswith("; changed files: virtual_alias\n")
    listed = digipoort(dsn, "maps", "generations", **values).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["GENERATION", "3", "2", "1"]


def test_differences_of_texts(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"a 1\nb 2\nd 4\n")
    new.write_bytes(b"a 1\nb 3\nc 3\n")
    assert list(mapfiles.differences(new, old)) == [(b"b 2\n", b"b 3\n"), (b"", b"c 3\n"), (b"d 4\n", b"")]
    assert list(mapfiles.differences(new, tmp_path / "absent")) == [(b"", b"a 1\n"), (b"", b"b 3\n"), (b"", b"c 3\n")]
