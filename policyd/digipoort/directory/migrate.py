"""Brings a directory's schema to this version: numbered SQL files, each applied once, in its own transaction.

A migration is `migrations/NNNN_name.sql`; the name without the suffix is what the table `migration` records. A file
never changes after a release: a correction is a new number. The daemons go on meanwhile: what a file may do is in
docs/decisions/0016, and none waits longer than a second for a lock, behind which every request would queue.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from psycopg import errors

from digipoort.directory import queries
from digipoort.directory.session import DirectoryFaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow

# Seconds between the attempts at one migration, in which requests that queued behind it are answered.
LOCK_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_FILE_NAME: Final = re.compile(r"\d{4}_[a-z0-9_]+\.sql")


class MigrationError(Exception):
    """The schema cannot be brought to this version; the message is a sentence for the admin."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: the name that the directory records, and the SQL of its file."""

    name: str
    sql: bytes


def packaged_migrations() -> list[Migration]:
    """Return the migrations that this version brings, in the order of their numbers."""
    folder = resources.files("digipoort.directory") / "migrations"
    files = sorted((item for item in folder.iterdir() if _FILE_NAME.fullmatch(item.name)), key=lambda item: item.name)
    return [Migration(item.name.removesuffix(".sql"), item.read_bytes()) for item in files]


def migrate(
    connection: Connection[TupleRow],
    migrations: Sequence[Migration] | None = None,
    pauses: Sequence[float] = LOCK_PAUSES,
) -> list[str]:
    """Apply what is missing and return the names applied, in order; nothing to do returns an empty list.

    `connection` is an autocommit connection of the schema's owner. Each migration commits with its record, so that a
    fault leaves those before it applied. One that cannot have a lock within a second is undone and tried again after
    each of `pauses` (seconds). Raises DirectoryFaultError, a temporary one, when it never gets it, MigrationError when
    the directory records a migration that this version does not have, and psycopg.Error when a statement fails.
    """
    migrations = packaged_migrations() if migrations is None else migrations
    with connection.transaction():
        connection.execute(queries.MIGRATION_LOCK)
        connection.execute(queries.MIGRATION_TABLE)
        _refuse_newer(_applied(connection), migrations)
    return [migration.name for migration in migrations if _apply_patiently(connection, migration, pauses)]


def _applied(connection: Connection[TupleRow]) -> set[str]:
    return {name for (name,) in connection.execute(queries.MIGRATIONS_APPLIED)}


def _refuse_newer(applied: set[str], migrations: Sequence[Migration]) -> None:
    unknown = sorted(applied - {migration.name for migration in migrations})
    if unknown:
        raise MigrationError(
            f"The directory was migrated by another version of digipoort, which this version does not know: "
            f"{', '.join(unknown)}. Install that version or a later one."
        )


def _apply_patiently(connection: Connection[TupleRow], migration: Migration, pauses: Sequence[float]) -> bool:
    """Apply one migration, again after each pause while others hold its tables; tell whether it was missing."""
    for pause in (0.0, *pauses):
        time.sleep(pause)
        with contextlib.suppress(errors.LockNotAvailable, errors.DeadlockDetected):
            return _apply(connection, migration)
    raise DirectoryFaultError(
        f"{migration.name} was not applied: at {len(pauses) + 1} attempts other transactions held its tables. "
        "pg_stat_activity shows which are open for long; run digipoort migrate again when they have ended.",
        temporary=True,
    )


def _apply(connection: Connection[TupleRow], migration: Migration) -> bool:
    """Apply one migration unless it is there: asked under the lock, because another migrator may have been first."""
    with connection.transaction():
        connection.execute(queries.MIGRATION_LOCK)
        if migration.name in _applied(connection):
            return False
        # After the migrators' own lock: nobody queues behind that.
        connection.execute(queries.BOUND_MIGRATION_LOCK_WAIT)
        connection.execute(migration.sql)
        connection.execute(queries.MIGRATION_RECORD, {"name": migration.name})
    return True
