"""Publishing: what the maps hold, in which order they appear, and that a fault leaves them as they were."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING

import psycopg
import pytest

from digipoort import mapcontents, mapfiles, maps
from digipoort.settings import AdminSettings, load
from tests.unit.directory_samples import SETTINGS, digipoort, fill, maps_settings, write_main_cf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_mock import MockerFixture


@pytest.fixture
def settings(directory_dsn: str, tmp_path: Path) -> AdminSettings:
    """Fill a directory and return the settings that publish it."""
    fill(directory_dsn)
    return load(AdminSettings, {**SETTINGS, **maps_settings(tmp_path), "DIRECTORY_DSN": directory_dsn})


def change(settings: AdminSettings, *statements: str) -> None:
    with psycopg.connect(settings.directory_dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def texts(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text(encoding="ascii") for name in (*maps.TARGETS, mapcontents.ALIAS)}


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what tells that a file was written: its inode and time of change; reading it changes another time."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def lookup(settings: AdminSettings, name: str, key: str) -> str | None:
    """Return what Postfix finds in a table."""
    table = f"lmdb:{settings.maps_directory / name}"
    arguments = ("postmap", "-c", str(settings.postfix_config_directory), "-q", key, table)
    try:
        return mapfiles.run_postfix(*arguments)
    except mapfiles.PostfixCommandError:
        return None


REMOVE_AGENCY = (
    "DELETE FROM address WHERE flow_id IS NOT NULL",
    "DELETE FROM target WHERE kind = 'remote'",
    "DELETE FROM destination",
)


def test_postfix_finds_what_the_directory_holds(settings: AdminSettings) -> None:
    published = maps.publish(settings)
    assert lookup(settings, "virtual_alias", "bloemen@party.test") == "b0b0@mailbox.invalid"
    assert lookup(settings, "virtual_alias", "ags@gov.test") == "intake@agency.test"
    assert lookup(settings, "mailbox", "b0b0@mailbox.invalid") == "lmtp:unix:/run/digipoort/lmtp.sock"
    assert lookup(settings, "transport", "agency.test") == "smtp:[mx.agency.test]:2525"
    assert lookup(settings, "tls_policy", "[mx.agency.test]:2525") == "secure match=mx.agency.test"
    assert lookup(settings, "virtual_alias", "maas@party.test") is None
    assert published.counts == {"virtual_alias": 2, "mailbox": 2, "transport": 1, "tls_policy": 1, "flows": 11}
    assert published.changed == ("mailbox", "profiles.json", "tls_policy", "transport", "virtual_alias")


def test_the_milter_finds_flow_and_profile(settings: AdminSettings) -> None:
    change(settings, """UPDATE flow SET size_limit = 5000, interface = '{"max_depth": 3}' WHERE code = 'AGS'""")
    maps.publish(settings)
    profiles = json.loads((settings.maps_directory / "profiles.json").read_bytes())
    assert profiles.keys() == {"version", "addresses", "flows", "physical_domains"}
    assert profiles["version"] == 1
    assert profiles["addresses"] == {"ags@gov.test": "AGS"}
    assert profiles["flows"]["AGS"] == {"size_limit": 5000, "interface": {"max_depth": 3}}
    assert profiles["flows"]["EMCS"] == {"size_limit": 10 * 1024 * 1024, "interface": {}}


def test_files_belong_to_the_group_of_the_folder(settings: AdminSettings) -> None:
    settings.maps_directory.chmod(0o2750)
    maps.publish(settings)
    folder = settings.maps_directory.stat()
    for name in (*maps.TARGETS, mapcontents.ALIAS, f"{mapcontents.ALIAS}.lmdb", "profiles.json"):
        status = (settings.maps_directory / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, folder.st_gid)
    assert (settings.maps_directory / "generations").stat().st_mode & 0o007 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to a group that it is not in")
def test_profiles_belong_to_the_group_of_the_milters_folder(settings: AdminSettings) -> None:
    folder = settings.maps_directory
    folder.chmod(0o2750)
    maps.publish(settings)
    milters = folder / "milters"
    milters.mkdir()
    os.chown(milters, -1, 61309)
    milters.chmod(0o2700)
    # Published before for Postfix's group, which milters are not in.
    assert maps.publish(settings).changed == ("profiles.json",)
    status = (folder / "profiles.json").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, 61309)
    assert maps.publish(settings).changed == ()
    change(settings, "UPDATE flow SET size_limit = 5000 WHERE code = 'AGS'")
    assert maps.publish(settings).changed == ("profiles.json",)
    assert (folder / "profiles.json").stat().st_gid == 61309
    assert maps.roll_back(settings, None).changed == ("profiles.json",)
    assert (folder / "profiles.json").stat().st_gid == 61309
    assert (folder / "mailbox").stat().st_gid == folder.stat().st_gid
    assert list(milters.iterdir()) == []


@pytest.mark.parametrize(("map_type", "suffix"), [("lmdb", ".lmdb"), ("hash", ".db"), ("btree", ".db")])
def test_tables_have_the_suffix_of_their_type(settings: AdminSettings, map_type: str, suffix: str) -> None:
    write_main_cf(settings.postfix_config_directory, map_type)
    maps.publish(settings)
    assert {path.name for path in settings.maps_directory.glob("virtual_alias.*")} == {f"virtual_alias{suffix}"}


def test_an_unknown_default_type_is_refused(settings: AdminSettings) -> None:
    write_main_cf(settings.postfix_config_directory, "sdbm")
    with pytest.raises(mapcontents.PublishError, match=r"type sdbm cannot be published"):
        maps.publish(settings)


def test_unchanged_files_are_not_touched(settings: AdminSettings) -> None:
    maps.publish(settings)
    before = _states(settings.maps_directory)
    change(settings, "UPDATE party SET name = 'other' WHERE code = 'AAL'")
    published = maps.publish(settings)
    assert published.changed == ()
    after = _states(settings.maps_directory)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"published_counter", ".lock"}


def test_a_table_that_was_lost_is_built_again(settings: AdminSettings) -> None:
    maps.publish(settings)
    (settings.maps_directory / "transport.lmdb").unlink()
    assert maps.publish(settings).changed == ("transport",)
    assert lookup(settings, "transport", "agency.test") is not None


WATCHED = (*maps.TARGETS, mapcontents.ALIAS)


def tables(settings: AdminSettings) -> dict[str, str]:
    """Return all entries of each table that Postfix has."""
    dumped = {}
    for name in WATCHED:
        found = [path for path in settings.maps_directory.glob(f"{name}.*") if path.suffix in {".lmdb", ".db"}]
        for path in found:
            table = f"{'lmdb' if path.suffix == '.lmdb' else 'hash'}:{settings.maps_directory / name}"
            printed = mapfiles.run_postfix("postmap", "-c", str(settings.postfix_config_directory), "-s", table)
            dumped[name] = "".join(sorted(line.replace("\t", " ") + "\n" for line in printed.splitlines() if line))
    return dumped


def spy_on_switches(mocker: MockerFixture, settings: AdminSettings) -> list[tuple[str, dict[str, str]]]:
    """Return a list that gets, after every step of a switch, the file's name and all tables in force."""
    seen: list[tuple[str, dict[str, str]]] = []

    def step(name: str) -> None:
        real = getattr(mapfiles.TableUpdate, name)

        def done(update: mapfiles.TableUpdate) -> None:
            real(update)
            seen.append((f"{name} {update.published.name}", tables(settings)))

        mocker.patch.object(mapfiles.TableUpdate, name, done)

    step("add")
    step("finish")
    real_text = mapfiles.replace_text

    def replace_text(new: Path, published: Path) -> bool:
        changed = real_text(new, published)
        seen.append((published.name, tables(settings)))
        return changed

    mocker.patch.object(mapfiles, "replace_text", replace_text)
    return seen


def test_additions_appear_before_the_alias_that_needs_them(settings: AdminSettings, mocker: MockerFixture) -> None:
    seen = spy_on_switches(mocker, settings)
    maps.publish(settings)
    assert [name for name, _ in seen] == [
        *("add tls_policy", "add transport", "add mailbox", "profiles.json", "add virtual_alias"),
        *("finish virtual_alias", "finish mailbox", "finish transport", "finish tls_policy", "published_counter"),
    ]


@pytest.mark.parametrize("changes_only", [False, True])
@pytest.mark.parametrize("map_type", ["lmdb", "hash"])
def test_removals_disappear_after_the_alias_that_needed_them(
    settings: AdminSettings, mocker: MockerFixture, map_type: str, *, changes_only: bool
) -> None:
    write_main_cf(settings.postfix_config_directory, map_type)
    maps.publish(settings, force=True)
    new = """INSERT INTO destination (domain, nexthop) VALUES ('zeta.test', 'zeta.test'), ('alpha.test', 'a.test')"""
    change(settings, *REMOVE_AGENCY, new)
    seen = spy_on_switches(mocker, settings)
    maps.publish(settings, force=True, changes_only=changes_only)
    at_alias = next(index for index, (name, _) in enumerate(seen) if name == "add virtual_alias")
    for name, present in seen[:at_alias]:
        assert "intake@agency.test" in present["virtual_alias"], name
        assert "agency.test smtp:[mx.agency.test]:2525" in present["transport"], name
        assert "[mx.agency.test]:2525" in present["tls_policy"], name
    assert seen[1][1]["transport"].splitlines() == [
        "agency.test smtp:[mx.agency.test]:2525",
        "alpha.test smtp:a.test",
        "zeta.test smtp:zeta.test",
    ]
    assert [name for name, _ in seen[at_alias + 1 :]] == [
        *("finish virtual_alias", "finish transport", "finish tls_policy", "published_counter"),
    ]
    assert tables(settings) == texts(settings.maps_directory)
    assert texts(settings.maps_directory) == {
        "tls_policy": "a.test secure\nzeta.test secure\n",
        "transport": "alpha.test smtp:a.test\nzeta.test smtp:zeta.test\n",
        "mailbox": "b0b0@mailbox.invalid lmtp:unix:/run/digipoort/lmtp.sock\n"
        "b0b0@receipts.mailbox.invalid lmtp:unix:/run/digipoort/lmtp.sock\n",
        "virtual_alias": "bloemen@party.test b0b0@mailbox.invalid\n",
    }


@pytest.mark.parametrize("at", ["tls_policy", "transport", "virtual_alias"])
@pytest.mark.parametrize("step", ["add", "finish"])
@pytest.mark.parametrize("map_type", ["lmdb", "hash"])
def test_a_publication_that_was_cut_off_is_completed_by_the_next(
    settings: AdminSettings, mocker: MockerFixture, map_type: str, step: str, at: str
) -> None:
    write_main_cf(settings.postfix_config_directory, map_type)
    maps.publish(settings, force=True)
    change(settings, *REMOVE_AGENCY)
    real = getattr(mapfiles.TableUpdate, step)

    def dies(update: mapfiles.TableUpdate) -> None:
        if update.published.name == at:
            raise OSError(28, "No space left on device")
        real(update)

    mocker.patch.object(mapfiles.TableUpdate, step, dies)
    with pytest.raises(OSError, match="No space left"):
        maps.publish(settings, force=True)
    if (step, at) != ("finish", "tls_policy"):
        assert "agency.test" in tables(settings)["tls_policy"]
    mocker.stopall()
    maps.publish(settings, force=True, changes_only=True)
    assert tables(settings) == texts(settings.maps_directory)
    assert texts(settings.maps_directory)["virtual_alias"] == "bloemen@party.test b0b0@mailbox.invalid\n"
    assert texts(settings.maps_directory)["transport"] == ""
    assert list(settings.maps_directory.glob(".new-*")) == []
    assert list(settings.maps_directory.glob("*.unfinished")) == []


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "UPDATE destination SET domain = 'gov.test'",
            "The domain gov.test is a logical domain: it cannot be a physical one too.",
        ),
        (
            "UPDATE destination SET domain = 'mailbox.invalid'",
            "The domain mailbox.invalid is the domain of the mailboxes",
        ),
        (
            "INSERT INTO destination (domain, nexthop) VALUES ('b.test', '[mx.AGENCY.test]:2525')",
            "The destinations agency.test and b.test have the nexthop",
        ),
    ],
)
def test_what_would_send_mail_astray_is_refused(settings: AdminSettings, statement: str, sentence: str) -> None:
    maps.publish(settings)
    before = texts(settings.maps_directory)
    change(settings, statement)
    with pytest.raises(mapcontents.PublishError) as caught:
        maps.publish(settings)
    assert str(caught.value).startswith(sentence)
    assert texts(settings.maps_directory) == before
    assert list(settings.maps_directory.glob(".new-*")) == []


@pytest.mark.parametrize(
    ("level", "match", "policy"),
    [
        ("encrypt", "NULL", "encrypt"),
        ("encrypt", "'a.test'", "encrypt"),
        ("dane-only", "NULL", "dane-only"),
        ("fingerprint", "'AB:CD'", "fingerprint match=AB:CD"),
        ("verify", "'a.test'", "verify match=a.test"),
        ("secure", "NULL", "secure"),
    ],
)
def test_each_level_has_its_policy(settings: AdminSettings, level: str, match: str, policy: str) -> None:
    change(settings, f"UPDATE destination SET tls_level = '{level}', tls_match = {match}")  # noqa: S608 - the table above
    maps.publish(settings)
    assert lookup(settings, "tls_policy", "[mx.agency.test]:2525") == policy


def test_two_destinations_share_a_nexthop_with_one_policy(settings: AdminSettings) -> None:
    change(
        settings,
        """INSERT INTO destination (domain, nexthop, tls_level, tls_match)
        SELECT 'b.test', nexthop, tls_level, tls_match FROM destination""",
    )
    assert maps.publish(settings).counts["tls_policy"] == 1


def test_a_state_older_than_the_published_one_waits(settings: AdminSettings) -> None:
    maps.publish(settings)
    change(settings, "UPDATE change_counter SET value = 1")
    with pytest.raises(maps.PublishBusyError, match="is behind"):
        maps.publish(settings)
    assert maps.publish(settings, allow_older=True).counter == 1


def test_two_publications_do_not_interleave(settings: AdminSettings, mocker: MockerFixture) -> None:
    mocker.patch.object(maps, "_LOCK_SECONDS", 0.0)
    maps.publish(settings)
    with (settings.maps_directory / ".lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(maps.PublishBusyError, match="under way"):
            maps.publish(settings)


def test_what_a_killed_publication_left_is_cleared(settings: AdminSettings) -> None:
    left = settings.maps_directory / ".new-killed"
    left.mkdir()
    (left / "mailbox").touch()
    maps.publish(settings)
    assert not left.exists()


def test_many_mailboxes_are_published_in_order(settings: AdminSettings) -> None:
    change(
        settings,
        """INSERT INTO target (kind, party_id, party_kind, mailbox)
        SELECT 'mailbox', id, kind, repeat('a', n) FROM party, generate_series(4, 32) AS n WHERE code = 'AAL'""",
        """INSERT INTO target (kind, party_id, party_kind, mailbox)
        SELECT 'mailbox', id, kind, 'm' || n FROM party, generate_series(1000, 5999) AS n WHERE code = 'AAL'""",
    )
    assert maps.publish(settings).counts["mailbox"] == 10_060
    lines = (settings.maps_directory / "mailbox").read_bytes().splitlines()
    assert lines == sorted(lines)


def cli(settings: AdminSettings, *arguments: str, dsn: str | None = None) -> tuple[int, str, str]:
    result = digipoort(
        settings.directory_dsn if dsn is None else dsn,
        "maps",
        "publish",
        *arguments,
        MAPS_DIRECTORY=str(settings.maps_directory),
        POSTFIX_CONFIG_DIRECTORY=str(settings.postfix_config_directory),
        SYSLOG_SOCKET=str(settings.maps_directory.parent / "log"),
    )
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield the socket that the command logs to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        yield server
    for handler in logging.getLogger("digipoort").handlers:
        handler.close()


def test_the_command_tells_and_logs_what_it_did(settings: AdminSettings, syslog: socket.socket) -> None:
    code, said, _ = cli(settings)
    assert code == 0
    assert said.endswith("changed files: mailbox,profiles.json,tls_policy,transport,virtual_alias\n")
    logged = syslog.recv(4096).decode()
    assert "event=maps_published elapsed_ms=" in logged
    assert "virtual_alias=2" in logged
    assert cli(settings)[1].endswith("changed files: -\n")


def test_a_directory_that_is_down_changes_nothing(settings: AdminSettings, syslog: socket.socket) -> None:
    maps.publish(settings)
    before = texts(settings.maps_directory)
    code, said, _ = cli(settings, dsn="host=/nonexistent")
    assert (code, said) == (75, "")
    assert "event=maps_not_published" in syslog.recv(4096).decode()
    assert texts(settings.maps_directory) == before


def test_a_postmap_that_fails_is_told(settings: AdminSettings) -> None:
    (settings.postfix_config_directory / "main.cf").unlink()
    code, said, told = cli(settings, dsn=settings.directory_dsn)
    assert (code, said) == (1, "")
    assert "digipoort: postconf failed: " in told
    assert "main.cf" in told


def test_a_table_that_died_between_two_renames_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_main_cf(tmp_path, "hash")
    postfix = mapfiles.PostfixMaps(tmp_path, "hash")
    published, new = tmp_path / "mailbox", tmp_path / "new"

    def offer(text: bytes) -> bool:
        new.write_bytes(text)
        update = mapfiles.TableUpdate(postfix, new, published, mapfiles.compare(new, published))
        if update.is_needed():
            update.prepare()
            update.add()
            update.finish()
            return True
        return False

    assert offer(b"a 1\n")
    assert not offer(b"a 1\n")
    original = type(published).replace

    def die_at_the_second(path: Path, target: Path) -> Path:
        if path == new:
            raise KeyboardInterrupt
        return original(path, target)

    monkeypatch.setattr(type(published), "replace", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        offer(b"a 2\n")
    monkeypatch.undo()

    assert published.read_bytes() == b"a 1\n"
    assert offer(b"a 1\n"), "the table of 'a 2' is still in force"
    assert not offer(b"a 1\n")
