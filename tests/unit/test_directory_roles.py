"""What each role of the directory may do on a real PostgreSQL: all of its privileges, and what comes of them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, LiteralString

import click
import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from digipoort.cli import main
from digipoort.directory import queries
from digipoort.directory.migrate import migrate, packaged_migrations
from tests.unit.directory_samples import digipoort, fill, maps_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import Connection
    from psycopg.rows import TupleRow

READ, AUTH, RESUBMISSION, ADMIN = "digipoort_read", "digipoort_auth", "digipoort_resubmission", "digipoort_admin"
REHASH = "digipoort_rehash"
CHANGE: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


def _columns(privilege: str, names: str) -> frozenset[str]:
    return frozenset(f"{privilege} ({name})" for name in names.split())


SELECT: Final = frozenset({"SELECT"})
# All there is: a table, a role or a privilege that is not here fails the test.
MATRIX: Final[dict[str, dict[str, frozenset[str]]]] = {
    "party": {READ: SELECT, AUTH: _columns("SELECT", "id active"), ADMIN: CHANGE},
    "flow": {READ: SELECT, ADMIN: CHANGE},
    "destination": {READ: SELECT, ADMIN: CHANGE},
    "target": {READ: SELECT, AUTH: _columns("SELECT", "id mailbox"), ADMIN: CHANGE},
    "address": {READ: SELECT, RESUBMISSION: _columns("SELECT", "address party_id"), ADMIN: CHANGE},
    "connection": {READ: SELECT, ADMIN: CHANGE},
    "credential": {
        READ: _columns(
            "SELECT",
            "id login party_id services mailbox_id active certificate_fingerprint certificate_subject "
            "certificate_suffices valid_from valid_until networks",
        ),
        AUTH: _columns(
            "SELECT", "id login party_id password_hash services mailbox_id active valid_from valid_until networks"
        ),
        ADMIN: CHANGE,
    },
    "change_counter": {READ: SELECT, ADMIN: SELECT | _columns("UPDATE", "only_row")},
    "change_log": {READ: _columns("SELECT", "id object before after"), ADMIN: SELECT},
    "submission": {RESUBMISSION: CHANGE},
    "migration": {READ: SELECT, ADMIN: SELECT},
}
ROLES: Final = (READ, AUTH, RESUBMISSION, ADMIN, REHASH, "public")
# A way round the privileges on tables, and who has it.
FUNCTIONS: Final[dict[str, list[tuple[str]]]] = {REHASH: [("replace_password_hash",)]}


COMMANDS: Final = (
    "seed",
    "seed {folder}/new.toml",
    "plan {folder}/new.toml",
    "party add VIER Vier --kind private",
    "party disable VIER --yes",
    "party change VIER --name Viere",
    "party enable VIER",
    "flow add NIEUW Nieuw --owner DOUANE",
    "flow limit NIEUW 1000",
    "flow resubmission NIEUW refuse",
    "flow interface NIEUW {folder}/interface.json",
    "flow change NIEUW --name Nieuwe",
    "destination add twee.test mx.twee.test",
    "destination change twee.test --nexthop mx2.twee.test",
    "mailbox add VIER --id d0d0d0",
    "mailbox change d0d0d0 --party MAAS",
    "address add vier@party.test VIER --new-mailbox",
    "address add nieuw@gov.test DOUANE --flow NIEUW --remote nieuw@twee.test",
    "address import {folder}/import.csv",
    "connection add vier@party.test NIEUW --from 2020-01-01",
    "connection end vier@party.test NIEUW --on 2030-01-01",
    "credential add vier VIER --service submission --password-file {folder}/password",
    "credential rotate vier --password-file {folder}/password",
    "credential rotate vier --successor vier2 --generate",
    "credential disable vier",
    "credential enable vier",
    "credential change vier --service submission",
    "connection change vier@party.test NIEUW --without-end",
    "address add vijf@party.test VIER --new-mailbox",
    "connection add vijf@party.test NIEUW",
    "address change vijf@party.test --party VIER",
    "party list",
    "flow list",
    "destination list",
    "mailbox list",
    "address list",
    "connection list",
    "credential list",
    "party show VIER",
    "flow show NIEUW",
    "destination show twee.test",
    "mailbox show d0d0d0",
    "mailbox usage",
    "mailbox purge --days 1 --dry-run",
    "address show vier@party.test",
    "connection show vier@party.test NIEUW",
    "credential show vier",
    "check vier vier@party.test nieuw@gov.test --at 2025-01-01",
    "history vier@party.test",
    "maps publish",
    "maps diff",
    "export -o {folder}/all.toml",
    "connection remove vijf@party.test NIEUW --yes",
    "credential remove vier2 --yes",
    "credential remove vier --yes",
    "address remove vijf@party.test --yes",
    "address remove vier@party.test --yes",
    "address remove nieuw@gov.test --yes",
    "destination remove twee.test --yes",
    "mailbox remove d0d0d0 --yes",
    "flow remove NIEUW --yes",
    "party add VIJF Vijf --kind private",
    "party remove VIJF --yes",
    "apply {folder}/all.toml",
    "plan {folder}/all.toml --prune",
    "apply {folder}/new.toml --prune --yes",
    "apply {folder}/all.toml",
    "apply {folder}/all.toml --prune --check",
)


@pytest.fixture(scope="module")
def shared(postgres: str, template: str) -> Iterator[str]:
    """Yield the owner's conninfo of a directory that no test changes."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE roles TEMPLATE {}").format(sql.Identifier(template)))
    yield make_conninfo(postgres, dbname="roles")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE roles WITH (FORCE)")


@pytest.fixture
def reader(shared: str) -> Iterator[Connection[TupleRow]]:
    """Yield the owner's connection to a directory, whose changes are undone."""
    with psycopg.connect(shared) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def owner(directory_dsn: str) -> Iterator[Connection[TupleRow]]:
    """Yield the owner's connection to a filled directory of the test's own."""
    fill(directory_dsn)
    with psycopg.connect(directory_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def admin_dsn(owner: Connection[TupleRow], directory_dsn: str) -> Iterator[str]:
    """Yield the conninfo of an admin's login role for the owner's directory."""
    name, password = f"beheer_{secrets.token_hex(4)}", secrets.token_urlsafe()
    owner.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE digipoort_admin").format(
            sql.Identifier(name), sql.Literal(password)
        )
    )
    yield make_conninfo(directory_dsn, user=name, password=password)
    owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def admin(admin_dsn: str) -> Iterator[Connection[TupleRow]]:
    """Yield an admin's connection."""
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        yield connection


def one(connection: Connection[TupleRow], query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_every_privilege_of_every_role_is_a_known_one(reader: Connection[TupleRow]) -> None:
    roles = {name for (name,) in reader.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'digipoort%'")}
    assert roles | {"public"} == set(ROLES)
    relations = reader.execute(
        """
        SELECT relname, ARRAY (
            SELECT attname::text FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        )
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'S')
        """
    ).fetchall()
    actual = {
        table: {role: held for role in ROLES if (held := _privileges(reader, role, table, columns))}
        for table, columns in relations
    }
    assert actual == MATRIX


def _privileges(connection: Connection[TupleRow], role: str, table: str, columns: list[str]) -> frozenset[str]:
    """Return a role's privileges on a table, those on single columns too where the table's is not held."""
    newer = ["MAINTAIN"] if connection.info.server_version >= 170000 else []
    whole = connection.execute(
        """
        SELECT privilege FROM unnest(
            ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] || %(newer)s::text[]
        ) AS privilege
        WHERE has_table_privilege(%(role)s, %(table)s, privilege)
        """,
        {"role": role, "table": table, "newer": newer},
    ).fetchall()
    single = connection.execute(
        """
        SELECT privilege || ' (' || name || ')'
        FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege, unnest(%(columns)s::text[]) AS name
        WHERE has_column_privilege(%(role)s, %(table)s, name, privilege)
        AND NOT has_table_privilege(%(role)s, %(table)s, privilege)
        """,
        {"role": role, "table": table, "columns": columns},
    ).fetchall()
    return frozenset(name for (name,) in whole + single)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_a_way_round_its_privileges_on_tables(reader: Connection[TupleRow], role: str) -> None:
    functions = reader.execute(
        """
        SELECT proname FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
        WHERE pronamespace = 'public'::regnamespace AND lanname NOT IN ('c', 'internal')
        AND has_function_privilege(%(role)s, pg_proc.oid, 'EXECUTE')
        """,
        {"role": role},
    ).fetchall()
    assert functions == FUNCTIONS.get(role, [])
    sequences = reader.execute(
        """
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND CASE WHEN relkind = 'S' THEN has_sequence_privilege(%(role)s, oid, 'USAGE, SELECT, UPDATE') END
        """,
        {"role": role},
    ).fetchall()
    assert sequences == []
    schema = reader.execute("SELECT has_schema_privilege(%(role)s, 'public', 'CREATE')", {"role": role}).fetchone()
    assert schema == (False,)


def test_the_roles_are_no_more_than_their_privileges(reader: Connection[TupleRow]) -> None:
    rows = reader.execute(
        """
        SELECT rolname FROM pg_roles WHERE rolname LIKE 'digipoort%' AND (
            rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
            OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
        )
        """
    ).fetchall()
    assert rows == []


AVOIDING: list[LiteralString] = [
    "UPDATE change_counter SET value = 1",
    "UPDATE change_counter SET value = value + 1",
    "DELETE FROM change_counter",
    "INSERT INTO change_counter (only_row, value) VALUES (false, 1)",
    "INSERT INTO change_log (actor, object) VALUES ('x', 'party')",
    "UPDATE change_log SET actor = 'x'",
    "DELETE FROM change_log",
    "TRUNCATE change_log",
    "TRUNCATE connection",
    "ALTER TABLE change_log DISABLE TRIGGER ALL",
    "ALTER TABLE party DISABLE TRIGGER logged",
    "ALTER TABLE party DISABLE TRIGGER counted",
    "ALTER TABLE party ADD COLUMN x int",
    "DROP TRIGGER logged ON party",
    "CREATE TRIGGER undo BEFORE INSERT ON party FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE undo AS ON UPDATE TO party DO INSTEAD NOTHING",
    "ALTER FUNCTION write_change_log() SECURITY INVOKER",
    "CREATE OR REPLACE FUNCTION write_change_log() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE public.later ()",
    "SET session_replication_role = replica",
    "DROP TABLE change_log",
    "DELETE FROM submission",
    "SELECT FROM submission",
    "INSERT INTO migration (name) VALUES ('9999_future')",
]


@pytest.mark.parametrize("statement", AVOIDING)
def test_an_admin_cannot_avoid_the_log(reader: Connection[TupleRow], statement: LiteralString) -> None:
    reader.execute("SET ROLE digipoort_admin")
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute(statement)


def test_an_admin_keeps_other_writers_out_without_writing_the_counter(
    admin: Connection[TupleRow], owner: Connection[TupleRow]
) -> None:
    with admin.transaction():
        counter = admin.execute(queries.LOCK_DIRECTORY).fetchone()
        owner.execute("SET lock_timeout = '50ms'")
        with pytest.raises(errors.LockNotAvailable):
            owner.execute("UPDATE party SET active = true")
    assert admin.execute(queries.CHANGE_COUNTER).fetchone() == counter
    with pytest.raises(errors.CheckViolation):
        admin.execute("UPDATE change_counter SET only_row = false")


def test_what_an_admin_changes_is_counted_and_logged_under_the_logins_name(
    admin: Connection[TupleRow], owner: Connection[TupleRow]
) -> None:
    before = one(owner, queries.CHANGE_COUNTER)
    assert isinstance(before, int)
    admin.execute("UPDATE party SET name = 'y' WHERE code = 'MAAS'")
    assert one(owner, queries.CHANGE_COUNTER) == before + 1
    logged = owner.execute("SELECT actor, after ->> 'name' FROM change_log ORDER BY id DESC LIMIT 1").fetchone()
    assert logged == (admin.info.user, "y")


def test_the_rehash_role_replaces_only_a_hash_that_it_knows(owner: Connection[TupleRow]) -> None:
    former = one(owner, "SELECT password_hash FROM credential WHERE login = 'aal'")
    owner.execute("SET ROLE digipoort_rehash")
    asked = {"login": "aal", "successor": "$argon2id$new"}
    assert owner.execute(queries.REPLACE_HASH, asked | {"former": "$x"}).fetchone() == (False,)
    assert owner.execute(queries.REPLACE_HASH, asked | {"former": former}).fetchone() == (True,)
    with pytest.raises(errors.InsufficientPrivilege):
        owner.execute("SELECT FROM credential")
    with pytest.raises(errors.InvalidParameterValue):
        owner.execute(queries.REPLACE_HASH, {"login": "aal", "former": "$argon2id$new", "successor": "$1$weak"})
    owner.execute("RESET ROLE")
    assert one(owner, "SELECT password_hash FROM credential WHERE login = 'aal'") == "$argon2id$new"
    actor = one(owner, "SELECT actor FROM change_log ORDER BY id DESC LIMIT 1")
    assert actor == "digipoort-authd"


def test_a_temporary_table_does_not_catch_the_log(admin: Connection[TupleRow], owner: Connection[TupleRow]) -> None:
    before = one(owner, queries.CHANGE_COUNTER)
    assert isinstance(before, int)
    with admin.transaction():
        admin.execute("CREATE TEMPORARY TABLE change_log (LIKE public.change_log) ON COMMIT DROP")
        admin.execute("CREATE TEMPORARY TABLE change_counter ON COMMIT DROP AS SELECT 7::bigint AS value")
        admin.execute("SET LOCAL search_path = pg_temp, public")
        admin.execute("DELETE FROM public.connection")
        assert one(admin, "SELECT count(*) FROM pg_temp.change_log") == 0
        assert one(admin, "SELECT value FROM pg_temp.change_counter") == 7
    assert one(owner, queries.CHANGE_COUNTER) == before + 1
    assert one(owner, "SELECT object FROM change_log ORDER BY id DESC LIMIT 1") == "connection"


@pytest.mark.parametrize("role", [READ, AUTH, RESUBMISSION, ADMIN])
@pytest.mark.parametrize("function", ["write_change_log", "write_truncation_log", "raise_change_counter"])
def test_nobody_makes_a_trigger_that_writes_into_the_log(
    reader: Connection[TupleRow], role: LiteralString, function: LiteralString
) -> None:
    reader.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    reader.execute("CREATE TEMPORARY TABLE party (code text)")
    with pytest.raises(errors.InsufficientPrivilege, match=function):
        reader.execute(
            sql.SQL("CREATE TRIGGER forged AFTER INSERT ON pg_temp.party EXECUTE FUNCTION public.{}()").format(
                sql.Identifier(function)
            )
        )


# They ask no directory, or are not for the admin's role: migrate is the owner's, doctor finds the role too strong.
OTHER_COMMANDS: Final = {
    "migrate", "lint", "settings", "completion", "doctor", "maps generations", "maps rollback",
    "auth status", "auth reset",
}  # fmt: skip


def _commands(group: click.Group, *names: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, *names, name)
        else:
            yield " ".join((*names, name))


def test_no_admin_command_is_left_out() -> None:
    groups = {name for name, command in main.commands.items() if isinstance(command, click.Group)}
    words = [command.split() for command in COMMANDS]
    tried = {" ".join(line[: 2 if line[0] in groups else 1]) for line in words}
    assert tried | OTHER_COMMANDS == set(_commands(main))


def test_every_admin_command_works_with_the_admins_role(admin_dsn: str, tmp_path: Path) -> None:
    files = {
        "password": "geheim en lang genoeg",
        "interface.json": '{"max_parts": 20}',
        "import.csv": "address,party,mailbox,remote,flow\nimport@party.test,MAAS,c0c0c0,,\n",
        "new.toml": '[[party]]\ncode = "DRIE"\nname = "Drie B.V."\nkind = "private"\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    settings = maps_settings(tmp_path)
    for command in COMMANDS:
        arguments = command.format(folder=tmp_path).split()
        result = digipoort(admin_dsn, *arguments, **settings)
        assert result.exit_code == 0, (command, result.stderr, result.exception)


def test_migrate_needs_the_owner(admin_dsn: str, owner: Connection[TupleRow]) -> None:
    owner.execute("DELETE FROM migration WHERE name = '0006_admin_role'")
    result = digipoort(admin_dsn, "migrate")
    assert result.exit_code == 1
    assert "The database role may not do this" in result.stderr


def test_removing_an_address_or_a_party_takes_with_it_what_hangs_on_it(
    admin: Connection[TupleRow], owner: Connection[TupleRow]
) -> None:
    owner.execute(
        """INSERT INTO submission (party_id, message, digest, reference)
        SELECT id, sha256(''), sha256(''), 'DP-20260102-0123456789ABCDEF' FROM party WHERE code = 'MAAS'"""
    )
    admin.execute(queries.REMOVE_ADDRESS, {"address": "bloemen@party.test"})
    admin.execute(queries.REMOVE_PARTY, {"party": "MAAS"})
    assert one(owner, "SELECT count(*) FROM connection") == 0
    assert one(owner, "SELECT count(*) FROM submission") == 0


def test_the_log_is_written_in_a_schema_of_another_name_too(empty_database: str) -> None:
    dsn = make_conninfo(empty_database, options='-c search_path="Post-kamer"')
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "Post-kamer"')
        connection.execute('GRANT USAGE ON SCHEMA "Post-kamer" TO digipoort_admin')
    with psycopg.connect(dsn, autocommit=True) as connection:
        migrate(connection)
    fill(dsn)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("SET ROLE digipoort_admin")
        connection.execute("""UPDATE "Post-kamer".party SET name = 'y' WHERE code = 'MAAS'""")
        assert (
            one(connection, """SELECT after ->> 'name' FROM "Post-kamer".change_log ORDER BY id DESC LIMIT 1""") == "y"
        )


def test_what_everybody_could_put_into_the_schema_is_over(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        migrate(connection, packaged_migrations()[:5])
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        migrate(connection)
        connection.execute("SET ROLE digipoort_admin")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE later ()")


@pytest.mark.usefixtures("template")  # the roles are there already: who makes them needs CREATEROLE
def test_the_owner_need_not_be_a_superuser(postgres: str, empty_database: str) -> None:
    name, password = f"eigenaar_{secrets.token_hex(4)}", secrets.token_urlsafe()
    role, database = sql.Identifier(name), sql.Identifier(str(conninfo_to_dict(empty_database)["dbname"]))
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
    dsn = make_conninfo(empty_database, user=name, password=password)
    with psycopg.connect(dsn, autocommit=True) as connection:
        migrate(connection)
    fill(dsn)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("SET ROLE digipoort_admin")
        connection.execute("DELETE FROM connection")
        assert one(connection, "SELECT object FROM change_log ORDER BY id DESC LIMIT 1") == "connection"
        connection.execute("RESET ROLE")
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))
