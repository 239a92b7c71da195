"""A host that reads from a standby: what is decided and published is what that server shows, late or not."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final, LiteralString

import psycopg
import pytest

from digipoort import maps
from digipoort.settings import AdminSettings, load
from tests.unit.connections import until
from tests.unit.directory_samples import SETTINGS, digipoort, fill, maps_settings
from tests.unit.policyd_process import ALLOWED, running_policyd
from tests.unit.test_maps import lookup
from tests.unit.test_maps_daemon import running_maps
from tests.unit.test_maps_generations import ADD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from tests.postgres import Pair

TRADER: Final = "bloemen@party.test"
AGENCY: Final = "ags@gov.test"
PUBLISH_SECONDS: Final = 2.0
# The address of ADD, and what policyd says to it: it exists, but takes part in no flow.
NEW: Final = "m1@party.test"
_CONNECT: Final[LiteralString] = """
INSERT INTO connection (address_id, flow_id, valid_from)
SELECT address.id, flow.id, '2020-01-01' FROM address, flow WHERE address = 'm1@party.test' AND code = 'AGS'
"""
_LOOKS: Final[LiteralString] = """
SELECT count(*) FROM pg_stat_activity
WHERE query LIKE '%%change_counter' AND pid <> pg_backend_pid() AND query_start > %(since)s::timestamptz
"""


@pytest.fixture
def filled(pair: Pair) -> Pair:
    """Yield the pair with the sample directory, on both servers."""
    fill(pair.dsn(pair.primary))
    pair.replay()
    return pair


@contextlib.contextmanager
def paused(standby: Connection[TupleRow]) -> Iterator[None]:
    """Keep the standby as it is until the block ends, while the primary goes on."""
    standby.execute("SELECT pg_wal_replay_pause()")
    until(lambda: _value(standby, "SELECT pg_get_wal_replay_pause_state()") == "paused", "a pause")
    try:
        yield
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")


def _value(connection: Connection[TupleRow], query: LiteralString, **parameters: object) -> object:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def _change(pair: Pair, *statements: LiteralString) -> None:
    with psycopg.connect(pair.dsn(pair.primary)) as primary:
        for statement in statements:
            primary.execute(statement)


def test_a_change_is_in_force_as_soon_as_the_standby_shows_it(filled: Pair, tmp_path: Path) -> None:
    both = filled.dsn(filled.standby, filled.primary)
    with (
        running_policyd(tmp_path, DIRECTORY_DSN=both) as policyd,
        running_maps(filled.dsn(filled.standby), tmp_path, MAPS_POLL_SECONDS="0.5") as publisher,
        policyd.asks() as client,
    ):
        publisher.until(lambda: publisher.finds(AGENCY), "the first publication")
        assert client.verdict(NEW, AGENCY) != ALLOWED
        _change(filled, ADD.format(1), _CONNECT)
        filled.replay()
        visible = time.monotonic()
        assert client.verdict(NEW, AGENCY) == ALLOWED
        publisher.until(lambda: publisher.finds(NEW), "the new address")
        assert time.monotonic() - visible < PUBLISH_SECONDS
        _change(filled, "UPDATE party SET active = false WHERE code = 'AAL'")
        filled.replay()
        assert client.verdict(NEW, AGENCY).startswith("550 ")


def test_a_standby_that_stands_still_decides_as_it_is_and_is_not_published_from(filled: Pair, tmp_path: Path) -> None:
    with (
        psycopg.connect(filled.dsn(filled.standby), autocommit=True) as standby,
        running_policyd(tmp_path, DIRECTORY_DSN=filled.dsn(filled.standby, filled.primary)) as policyd,
        running_maps(filled.dsn(filled.standby), tmp_path) as publisher,
        policyd.asks() as client,
    ):
        publisher.until(lambda: publisher.finds(AGENCY), "the first publication")
        with paused(standby):
            _change(filled, ADD.format(1), "DELETE FROM connection")
            for _ in range(3):
                now = _value(standby, "SELECT clock_timestamp()")
                until(lambda now=now: _value(standby, _LOOKS, since=now), "the publisher looks again")  # type: ignore[misc]
            assert client.verdict(TRADER, AGENCY) == ALLOWED
            assert publisher.finds(NEW) is None
            assert len(publisher.lines("maps_published")) == 1
        filled.replay()
        assert client.verdict(TRADER, AGENCY).startswith("550 ")
        publisher.until(lambda: publisher.finds(NEW), "the new address")


def test_a_host_does_not_go_back_to_what_a_late_standby_shows(filled: Pair, tmp_path: Path) -> None:
    values = maps_settings(tmp_path)
    standby_dsn = filled.dsn(filled.standby)
    settings = load(AdminSettings, {**SETTINGS, **values, "DIRECTORY_DSN": standby_dsn})
    with psycopg.connect(standby_dsn, autocommit=True) as standby, paused(standby):
        _change(filled, ADD.format(1))
        assert digipoort(filled.dsn(filled.primary), "maps", "publish", **values).exit_code == 0
        published = maps.published_counter(settings.maps_directory)
        refused = digipoort(standby_dsn, "maps", "publish", **values)
        assert (refused.exit_code, refused.stdout) == (os.EX_TEMPFAIL, "")
        assert "is behind" in refused.stderr
        assert lookup(settings, "virtual_alias", NEW)
    filled.replay()
    assert (
        digipoort(standby_dsn, "maps", "publish", **values).stdout
        == f"published change {published}, generation 1; changed files: -\n"
    )
