"""A real PostgreSQL for the unit tests of what is SQL: one cluster per run, one fresh database per test that asks."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from digipoort.directory.migrate import migrate
from tests.postgres import private_cluster, private_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import Pair


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Yield the superuser's conninfo of a cluster that lives as long as the test run."""
    with private_cluster() as conninfo:
        yield conninfo


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """Migrate one database and return its name: the others are copied from it, which is quicker."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    with psycopg.connect(make_conninfo(postgres, dbname="migrated"), autocommit=True) as connection:
        migrate(connection)
    return "migrated"


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """Yield the conninfo of a fresh database that holds nothing yet."""
    yield from _fresh_database(postgres, "template0")


@pytest.fixture
def directory_dsn(postgres: str, template: str) -> Iterator[str]:
    """Yield the conninfo of a fresh, migrated, empty directory."""
    yield from _fresh_database(postgres, template)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Yield a primary and its standby with a migrated, empty directory in the database `postgres`, for one test."""
    with private_pair() as made:
        with psycopg.connect(made.dsn(made.primary), autocommit=True) as connection:
            migrate(connection)
        made.replay()
        yield made


def _fresh_database(postgres: str, template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield make_conninfo(postgres, dbname=name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
