"""`digipoort doctor directory` on real servers, a standby that lags included, and what its checks make of facts."""

from __future__ import annotations

import fcntl
import json
import secrets
import threading
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from digipoort import maps
from digipoort.directory.condition import Ending, Lag, Server
from digipoort.doctor import chain, mapstate
from digipoort.doctor.chain import Facts
from digipoort.doctor.findings import Level
from digipoort.doctor.mapstate import MapState
from digipoort.settings import AdminSettings, load
from tests.postgres import frozen
from tests.unit.directory_samples import SETTINGS, digipoort, fill, maps_settings
from tests.unit.test_maps_generations import ADD
from tests.unit.test_replica import paused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import Pair

CHECKS: Final = {
    "settings", "directory", "schema", "replication", "writing", "privileges", "clock", "time zone", "credentials",
    "maps",
}  # fmt: skip
PRIMARY: Final = Server(
    host="/run/postgresql:5432",
    version="15.8",
    standby=False,
    read_only=False,
    role="gateway",
    round_trip_ms=0.4,
    clock_ahead=0.1,
    migrations=frozenset({"0001_directory"}),
    counter=41,
    writable=(),
    reads_hashes=False,
    day=date(2026, 11, 26),
    lag=None,
    ending=Ending(0, ()),
)
STANDBY: Final = replace(PRIMARY, standby=True, read_only=True, lag=Lag(False, False, 3600.0))  # noqa: FBT003
WELL: Final = Facts(
    setting_faults=(),
    timezone="Europe/Amsterdam",
    known_migrations=("0001_directory",),
    reader=STANDBY,
    writer=PRIMARY,
    maps=MapState(counter=41, generation=3, held=False, map_type="lmdb", type_fault="", lacking=()),
)


@pytest.fixture
def reader(directory_dsn: str) -> Iterator[str]:
    """Yield the conninfo of a login role that may read the sample directory, and nothing else."""
    fill(directory_dsn)
    name, password = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    role = sql.Identifier(name)
    with psycopg.connect(directory_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
        connection.execute(sql.SQL("GRANT digipoort_read TO {}").format(role))
    yield make_conninfo(directory_dsn, user=name, password=password)
    with psycopg.connect(directory_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def _doctor(reading: str, writing: str, **settings: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status and the findings by check, of each the worst."""
    result = digipoort(reading, "doctor", "directory", "--json", DIRECTORY_WRITE_DSN=writing, **settings)
    assert result.stderr == ""
    order = [level.value for level in Level]
    found = sorted(json.loads(result.stdout), key=lambda one: order.index(one["level"]))
    return result.exit_code, {one["check"]: one for one in found}


def _levels(found: dict[str, dict[str, Any]], level: Level) -> set[str]:
    return {name for name, one in found.items() if one["level"] == level.value}


def _execute(dsn: str, *statements: LiteralString) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_host_where_all_is_well(reader: str, directory_dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    assert digipoort(reader, "maps", "publish", **settings).exit_code == 0
    status, found = _doctor(reader, directory_dsn, **settings)
    assert (status, _levels(found, Level.OK)) == (0, CHECKS - {"replication"})
    assert {one["remedy"] for one in found.values()} == {""}
    host = conninfo_to_dict(directory_dsn)["host"]
    assert found["directory"]["found"].startswith(f"{host}:5432, primary, PostgreSQL 1")
    assert found["maps"]["found"].endswith("(generation 1) is published, the directory's last")
    lines = digipoort(reader, "doctor", "directory", DIRECTORY_WRITE_DSN=directory_dsn, **settings).stdout.splitlines()
    assert len(lines) == len(found)
    assert all(line.startswith("ok  ") for line in lines)


def test_the_schema_is_compared_with_this_version(reader: str, directory_dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    _execute(directory_dsn, "INSERT INTO migration (name) VALUES ('9999_later')")
    _, found = _doctor(reader, directory_dsn, **settings)
    assert found["schema"]["level"] == "warning"
    assert "9999_later" in found["schema"]["found"]
    _execute(directory_dsn, "DELETE FROM migration WHERE name = '0001_directory'")
    status, found = _doctor(reader, directory_dsn, **settings)
    assert (status, found["schema"]["level"]) == (1, "fault")
    assert found["schema"]["found"] == "lacks 0001_directory"
    _execute(directory_dsn, "REVOKE SELECT ON migration FROM digipoort_read")
    _, found = _doctor(reader, directory_dsn, **settings)
    assert found["schema"]["level"] == "warning"


def test_a_directory_that_was_never_migrated(empty_database: str, tmp_path: Path) -> None:
    status, found = _doctor(empty_database, empty_database, **maps_settings(tmp_path))
    assert (status, _levels(found, Level.FAULT)) == (1, {"schema", "maps"})


def test_a_role_that_may_too_much(reader: str, directory_dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    _, found = _doctor(directory_dsn, directory_dsn, **settings)
    assert found["privileges"]["level"] == "fault"
    assert "read password hashes" in found["privileges"]["found"]
    user = sql.Identifier(str(conninfo_to_dict(reader)["user"]))
    with psycopg.connect(directory_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("GRANT UPDATE (active) ON credential TO {}").format(user))
        _, found = _doctor(reader, directory_dsn, **settings)
        connection.execute(sql.SQL("REVOKE UPDATE (active) ON credential FROM {}").format(user))
    assert found["privileges"]["found"].endswith("can write to credential")


def test_no_server_answers(directory_dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    nowhere = f"host={tmp_path} dbname=none"
    status, found = _doctor(nowhere, directory_dsn, **settings)
    assert (status, _levels(found, Level.FAULT)) == (1, {"directory", "maps"})
    assert "schema" not in found
    status, found = _doctor(directory_dsn, nowhere, **settings)
    assert (status, found["writing"]["level"]) == (1, "fault")


def test_settings_that_another_program_cannot_use(directory_dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    status, found = _doctor(directory_dsn, directory_dsn, REQUEST_DEADLINE="soon", **settings)
    assert (status, found["settings"]["level"]) == (1, "fault")
    assert found["settings"]["found"] == "the environment: REQUEST_DEADLINE is not a number (it is 'soon')."
    status, found = _doctor(directory_dsn, directory_dsn, MAPS_GENERATIONS="0", **settings)
    assert (status, set(found)) == (1, {"settings"})


def test_maps_that_are_not_as_they_should_be(reader: str, directory_dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    loaded = load(AdminSettings, {**SETTINGS, **settings, "DIRECTORY_DSN": reader})
    _, found = _doctor(reader, directory_dsn, **settings)
    assert (found["maps"]["level"], found["maps"]["found"]) == ("fault", "nothing is published on this host")
    maps.publish(loaded)
    _execute(directory_dsn, ADD.format(1))
    status, found = _doctor(reader, directory_dsn, **settings)
    assert (status, found["maps"]["level"]) == (0, "warning")
    assert ", 1 change behind the directory, the last publication was 0 minutes ago" in found["maps"]["found"]
    maps.publish(loaded)
    maps.roll_back(loaded, None)
    assert (
        "earlier maps" in digipoort(reader, "doctor", "directory", DIRECTORY_WRITE_DSN=directory_dsn, **settings).stdout
    )
    (loaded.maps_directory / "transport.lmdb").unlink()
    status, found = _doctor(reader, directory_dsn, **settings)
    assert (status, found["maps"]["found"]) == (1, "not there, or not whole: transport")
    _, found = _doctor(reader, directory_dsn, **{**settings, "MAPS_DIRECTORY": str(tmp_path / "none")})
    assert found["maps"]["found"] == "nothing is published on this host"


def test_maps_that_are_being_published(
    reader: str, directory_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = maps_settings(tmp_path)
    loaded = load(AdminSettings, {**SETTINGS, **settings, "DIRECTORY_DSN": reader})
    maps.publish(loaded)
    monkeypatch.setattr(mapstate, "PUBLICATION_SECONDS", 0.2)
    # As a publication has it while it changes this table, and as one leaves it that was killed then.
    (loaded.maps_directory / "transport.unfinished").touch()
    with (loaded.maps_directory / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, found = _doctor(reader, directory_dsn, **settings)
        assert (status, found["maps"]["level"]) == (0, "warning")
        assert found["maps"]["found"] == "not whole yet, as a publication is under way: transport"
        threading.Timer(0.3, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        assert maps.ended_within(loaded.maps_directory, 20)
    status, found = _doctor(reader, directory_dsn, **settings)
    assert (status, found["maps"]["found"]) == (1, "not there, or not whole: transport")


def test_a_standby_that_is_behind(pair: Pair, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    primary, standby = pair.dsn(pair.primary), pair.dsn(pair.standby)
    fill(primary)
    pair.replay()
    _, found = _doctor(standby, primary, **settings)
    assert found["replication"]["level"] == "ok"
    assert ", standby, " in found["directory"]["found"]
    with psycopg.connect(standby, autocommit=True) as connection, paused(connection):
        _execute(primary, ADD.format(1))
        status, found = _doctor(standby, primary, **settings)
    assert (status, found["replication"]["level"]) == (1, "fault")
    assert found["replication"]["found"].startswith("1 change behind, last transaction replayed: the last ")
    assert found["replication"]["remedy"] == "SELECT pg_wal_replay_resume()"
    pair.replay()
    _, found = _doctor(standby, standby, **settings)
    assert found["writing"]["level"] == "fault"
    assert "target_session_attrs" in found["writing"]["remedy"]


def test_a_primary_that_hangs(pair: Pair, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    both, primary = (
        make_conninfo(pair.dsn(*clusters), connect_timeout=2)
        for clusters in ((pair.primary, pair.standby), (pair.primary,))
    )
    with frozen(pair.primary):
        status, found = _doctor(both, primary, **settings)
        assert status == 1
        assert ", standby, " in found["directory"]["found"]
        assert found["writing"]["level"] == "fault"
        status, found = _doctor(primary, primary, **settings)
        assert (status, found["directory"]["level"]) == (1, "fault")


@pytest.mark.parametrize(
    ("facts", "check", "level"),
    [
        (WELL, "replication", Level.OK),
        (replace(WELL, reader=replace(STANDBY, counter=40)), "replication", Level.FAULT),
        (replace(WELL, reader=replace(STANDBY, lag=Lag(True, False, 20.0))), "replication", Level.WARNING),  # noqa: FBT003
        (replace(WELL, reader=replace(STANDBY, lag=Lag(True, False, 301.0))), "replication", Level.FAULT),  # noqa: FBT003
        (replace(WELL, reader=replace(STANDBY, lag=Lag(True, False, None))), "replication", Level.FAULT),  # noqa: FBT003
        (replace(WELL, reader=replace(STANDBY, lag=Lag(False, True, 1.0))), "replication", Level.FAULT),  # noqa: FBT003
        (replace(WELL, reader=replace(PRIMARY, counter=40)), "replication", Level.FAULT),
        (replace(WELL, writer="away", reader=replace(STANDBY, counter=40)), "replication", Level.OK),
        (replace(WELL, writer=replace(PRIMARY, counter=None)), "replication", Level.OK),
        (replace(WELL, writer=replace(PRIMARY, read_only=True)), "writing", Level.FAULT),
        (replace(WELL, reader=replace(STANDBY, clock_ahead=-5.1)), "clock", Level.WARNING),
        (replace(WELL, reader=replace(STANDBY, clock_ahead=4.9)), "clock", Level.OK),
        (replace(WELL, reader=replace(STANDBY, day=None)), "time zone", Level.FAULT),
        (replace(WELL, reader=replace(STANDBY, counter=40)), "maps", Level.WARNING),
        (replace(WELL, maps="no access"), "maps", Level.FAULT),
        (replace(WELL, reader=replace(STANDBY, version="14.9 (Debian)")), "directory", Level.WARNING),
    ],
)
def test_what_facts_mean(facts: Facts, check: str, level: Level) -> None:
    found = [one for one in chain.diagnose(facts) if one.check == check]
    assert [one.level for one in found] == [level]
    assert bool(found[0].remedy) == (level is not Level.OK)


def test_whoever_is_well_is_told_so_once_for_each_check() -> None:
    found = chain.diagnose(WELL)
    assert {one.check for one in found} == CHECKS
    assert len(found) == len(CHECKS)
    assert {one.level for one in found} == {Level.OK}


def test_logins_that_end_soon_are_named(reader: str, directory_dsn: str, tmp_path: Path) -> None:
    settings = maps_settings(tmp_path)
    _execute(
        directory_dsn,
        """INSERT INTO credential (login, party_id, password_hash, services, valid_until)
        SELECT 'l' || n, party.id, '$x', '{submission}', (now() AT TIME ZONE 'Europe/Amsterdam')::date + n
        FROM party, generate_series(-2, 20) AS n WHERE party.code = 'AAL'""",
        "UPDATE credential SET active = false WHERE login = 'l1'",
    )
    _, found = _doctor(reader, directory_dsn, **settings)
    assert found["credentials"]["level"] == "warning"
    assert found["credentials"]["found"].startswith("14 end within 14 days: l0 (20")
    assert found["credentials"]["found"].endswith(" and 9 more")
    _execute(directory_dsn, "UPDATE party SET active = false WHERE code = 'AAL'")
    _, found = _doctor(reader, directory_dsn, **settings)
    assert (found["credentials"]["level"], found["credentials"]["found"]) == ("ok", "none ends within 14 days")
    _execute(directory_dsn, "ALTER TABLE credential RENAME valid_until TO ends")
    _, found = _doctor(reader, directory_dsn, **settings)
    assert "credentials" not in found
