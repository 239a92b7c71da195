"""Daemons of earlier versions on the newest schema: what they asked (tests/releases) gives what it gave."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg import sql

from digipoort.directory.migrate import migrate, packaged_migrations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

FOLDER: Final = Path(__file__).parents[1] / "releases"
RELEASES: Final = sorted(path.stem for path in FOLDER.glob("*.toml"))
PARAMETERS: Final[dict[str, object]] = {
    "login": "aal",
    "sender": "bloemen@party.test",
    "recipient": "ags@gov.test",
    "day": None,
    "timezone": "Europe/Amsterdam",
    "message": b"\0" * 32,
    "digest": b"\1" * 32,
    "reference": "DP-20260102-0123456789ABCDEF",
    "window": timedelta(days=30),
    "batch": 10,
    "last": 0,
    "most": 100,
    "addresses": ["ags@gov.test", "bloemen@party.test"],
    "targets": [1],
    "mailboxes": ["b0b0"],
    "mailbox_domain": "mailbox.test",
    "names": ["mailbox.test", "receipts.test"],
    "transport": "lmtp:unix:private/lmtp",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What a daemon of an earlier version asks, and with which role's privileges."""

    name: str
    role: str
    text: bytes


def statements(release: str) -> list[Statement]:
    """Return the statements of a release's daemons, in an order that leaves the directory as it was."""
    tables = tomllib.loads((FOLDER / f"{release}.toml").read_text(encoding="utf-8"))
    return [Statement(name, table["role"], table["sql"].encode()) for name, table in tables.items()]


class Daemons:
    """A connection for each role, as the daemons have them: kept open, with their statements prepared."""

    def __init__(self, dsn: str, asked: Iterable[Statement]) -> None:
        """Connect once for each of the roles."""
        self._asked = list(asked)
        self._connections = {role: psycopg.connect(dsn, autocommit=True) for role in {one.role for one in self._asked}}
        for role, connection in self._connections.items():
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    def answers(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows of each statement, by name."""
        return {one.name: _rows(self._connections[one.role], one.text) for one in self._asked}

    def prepared(self) -> int:
        """Return how many statements are prepared on the connections."""
        return sum(
            connection.execute("SELECT FROM pg_prepared_statements").rowcount
            for connection in self._connections.values()
        )

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()


def _rows(connection: Connection[TupleRow], text: bytes) -> list[tuple[Any, ...]]:
    if text.lstrip().startswith(b"COPY"):
        with connection.cursor() as cursor, cursor.copy(text, PARAMETERS) as copy:
            return list(copy.rows())
    return connection.execute(text, PARAMETERS, prepare=True).fetchall()


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Return the name of the last migration of each earlier schema."""
    return str(request.param)


@pytest.fixture
def daemons(empty_database: str, release: str) -> Iterator[Daemons]:
    """Yield the daemons of an earlier version at work on a filled directory of theirs."""
    known = packaged_migrations()
    names = [migration.name for migration in known]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        migrate(connection, known[: names.index(release) + 1])
        connection.execute((FOLDER / "contents.sql").read_bytes())
    daemons = Daemons(empty_database, statements(release))
    yield daemons
    daemons.close()


def test_earlier_daemons_get_the_answers_that_they_got(empty_database: str, release: str, daemons: Daemons) -> None:
    before = daemons.answers()
    assert [name for name, rows in before.items() if not rows] == []
    assert daemons.answers() == before
    prepared = daemons.prepared()
    assert prepared >= len(before) - 2  # COPY cannot be
    with psycopg.connect(empty_database, autocommit=True) as connection:
        migrate(connection)
    assert daemons.answers() == before
    assert daemons.prepared() == prepared
    restarted = Daemons(empty_database, statements(release))
    assert restarted.answers() == before
    restarted.close()


BREAKING: Final[dict[str, bytes]] = {
    "a privilege is gone": b"REVOKE SELECT ON flow FROM digipoort_read",
    "a name is gone": b"ALTER TABLE credential RENAME active TO enabled",
    "a prepared statement has another result": b"ALTER TABLE flow ALTER size_limit TYPE numeric",
}


@pytest.mark.parametrize("release", RELEASES[:1], indirect=True)
@pytest.mark.parametrize("statement", BREAKING.values(), ids=BREAKING)
def test_a_migration_that_takes_something_away_is_found(
    empty_database: str, daemons: Daemons, statement: bytes
) -> None:
    daemons.answers()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(statement)
    with pytest.raises(psycopg.Error):
        daemons.answers()


def test_no_schema_since_the_roles_is_left_out() -> None:
    names = [migration.name for migration in packaged_migrations()]
    assert names[1 : 1 + len(RELEASES)] == RELEASES
    assert len(RELEASES) >= 4
