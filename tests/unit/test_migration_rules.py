"""Migrations let daemons of the version before them go on; and what finds those that would not."""

from __future__ import annotations

import pytest

from digipoort.directory.migrate import Migration, packaged_migrations
from tests.migration_rules import FIRST_HELD_TO_THEM, faults

HELD = [migration for migration in packaged_migrations() if migration.name >= FIRST_HELD_TO_THEM]


@pytest.mark.parametrize("migration", HELD, ids=lambda migration: migration.name)
def test_a_migration_lets_the_version_before_it_go_on(migration: Migration) -> None:
    assert faults(migration.sql.decode()) == []


DROPS = "drops what an earlier version may use"
LEAVES = "adds a column that an earlier version leaves without its value"
READS = "reads a large table to check it, under a lock"
VALIDATES = "validates a constraint under the lock that adds it"


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("DROP TABLE connection;", DROPS),
        ("ALTER TABLE flow DROP COLUMN interface;", DROPS),
        ("alter table flow\n    drop interface;", DROPS),
        ("ALTER TABLE flow ALTER COLUMN interface DROP DEFAULT;", DROPS),
        ("DROP ROLE digipoort_read;", DROPS),
        ("DO $$ BEGIN EXECUTE format('DROP INDEX %I', 'address_party'); END $$;", DROPS),
        ("ALTER TABLE flow RENAME COLUMN code TO name;", "renames"),
        ("ALTER TABLE flow RENAME TO stream;", "renames"),
        ("ALTER ROLE digipoort_read RENAME TO reader;", "renames"),
        ("ALTER TABLE flow ALTER COLUMN size_limit TYPE integer;", "changes a type"),
        ("ALTER TABLE flow ALTER size_limit SET DATA TYPE integer;", "changes a type"),
        ("ALTER TABLE target ALTER COLUMN mailbox SET NOT NULL;", "sets a column NOT NULL"),
        ("REVOKE SELECT ON flow FROM digipoort_read;", "revokes"),
        ("/* why */ REVOKE -- really\n ALL ON flow FROM PUBLIC;", "revokes"),
        ("ALTER TABLE flow ADD COLUMN colour text NOT NULL;", LEAVES),
        ("ALTER TABLE flow ADD COLUMN colour text NOT NULL CHECK (colour IS NOT NULL);", LEAVES),
        ("ALTER TABLE flow ADD colour text NOT NULL, ADD COLUMN size text DEFAULT 'x';", LEAVES),
        ("ALTER TABLE address ADD COLUMN colour text CHECK (colour <> '');", READS),
        ("ALTER TABLE address ADD CONSTRAINT one CHECK (flow_id IS NOT NULL);", READS),
        ("ALTER TABLE ONLY submission ADD UNIQUE (reference);", READS),
        ("ALTER TABLE target ADD FOREIGN KEY (party_id) REFERENCES party (id);", READS),
        ("ALTER DOMAIN code ADD CHECK (VALUE <> 'X');", READS),
        ("DO $$ BEGIN EXECUTE format('ALTER TABLE %I ADD CHECK (id > 0)', 'party'); END $$;", READS),
        (
            "ALTER TABLE target ADD CONSTRAINT c CHECK (id > 0) NOT VALID; ALTER TABLE target VALIDATE CONSTRAINT c;",
            VALIDATES,
        ),
        ("REVOKE EXECUTE ON FUNCTION write_change_log() FROM PUBLIC;", "revokes"),
        ("CREATE FUNCTION f() …; REVOKE EXECUTE ON FUNCTION g() FROM PUBLIC;", "revokes"),
        ("-- contract: whatever\nREVOKE ALL ON flow FROM PUBLIC;", "revokes"),
        ("-- first\n-- contract: nothing since 0.1.0 uses it\nREVOKE ALL ON flow FROM PUBLIC;", "revokes"),
    ],
)
def test_what_an_earlier_version_would_not_survive_is_found(sql: str, fault: str) -> None:
    assert faults(sql) == [fault]


@pytest.mark.parametrize(
    "sql",
    [
        "-- contract: nothing since 0.1.0 uses the table connection\nDROP TABLE connection;",
        "-- DROP TABLE connection;\nSELECT 1;",
        "/* RENAME\n REVOKE */ SELECT 1;",
        "ALTER TABLE address ADD COLUMN colour text NOT NULL DEFAULT 'none';",
        "ALTER TABLE flow ADD COLUMN colour text NOT NULL DEFAULT 'none' CHECK (colour IN ('none', 'red'));",
        "ALTER TABLE flow ADD CONSTRAINT one CHECK (owner_id IS NOT NULL);",
        "ALTER TABLE address ADD CONSTRAINT one CHECK (flow_id IS NOT NULL) NOT VALID;",
        "ALTER TABLE address VALIDATE CONSTRAINT one;",
        "ALTER TABLE address ADD CONSTRAINT one UNIQUE USING INDEX ready;",
        "ALTER TABLE target ALTER COLUMN mailbox DROP NOT NULL;",
        "ALTER TABLE destination DROP CONSTRAINT destination_transport_check;",
        "CREATE TABLE colour (name text NOT NULL UNIQUE); ALTER TABLE colour ADD CHECK (name <> '');",
        "CREATE TEMPORARY TABLE aside (id bigint) ON COMMIT DROP;",
        "GRANT SELECT ON flow TO digipoort_read;",
        "CREATE FUNCTION f() RETURNS int; DO $$ BEGIN REVOKE EXECUTE ON FUNCTION %s.f() FROM PUBLIC; END $$;",
    ],
)
def test_what_an_earlier_version_does_not_notice_is_allowed(sql: str) -> None:
    assert faults(sql) == []
