"""The directory's schema on a real PostgreSQL: migrations, constraints, the change counter, the log and its readers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from psycopg import errors

from digipoort.directory import faults, queries, session
from digipoort.directory.migrate import Migration, MigrationError, migrate, packaged_migrations
from tests.unit.directory_samples import HASH, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow


@pytest.fixture(scope="module")
def filled(postgres: str, template: str) -> Iterator[str]:
    """Yield the conninfo of a filled directory that no test of this module changes for good."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE filled TEMPLATE {template}")
    dsn = psycopg.conninfo.make_conninfo(postgres, dbname="filled")
    fill(dsn)
    yield dsn
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE filled WITH (FORCE)")


@pytest.fixture
def connection(filled: str) -> Iterator[Connection[TupleRow]]:
    """Yield a connection whose changes are undone."""
    with psycopg.connect(filled) as connection:
        yield connection
        connection.rollback()


def one(connection: Connection[TupleRow], query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_migrations_are_applied_once(empty_database: str) -> None:
    names = [migration.name for migration in packaged_migrations()]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert migrate(connection) == names
        assert migrate(connection) == []


def test_a_newer_directory_is_refused(empty_database: str) -> None:
    newer = [*packaged_migrations(), Migration("9999_future", b"SELECT 1")]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        migrate(connection, newer)
        with pytest.raises(MigrationError, match="9999_future"):
            migrate(connection)


def test_a_failing_migration_leaves_those_before_it(empty_database: str) -> None:
    steps = [Migration("0001_good", b"CREATE TABLE good ()"), Migration("0002_bad", b"CREATE TABLE bad (); SELECT 1/0")]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        with pytest.raises(errors.DivisionByZero):
            migrate(connection, steps)
        assert [name for (name,) in connection.execute(queries.MIGRATIONS_APPLIED)] == ["0001_good"]
        assert one(connection, "SELECT to_regclass('bad')") is None


def test_every_constraint_has_its_sentence(connection: Connection[TupleRow]) -> None:
    rows = connection.execute(
        """
        SELECT conname FROM pg_constraint
        WHERE contype IN ('c', 'f', 'x')
        AND connamespace = 'public'::regnamespace AND conrelid <> coalesce(to_regclass('change_counter'), 0)
        UNION SELECT conname FROM pg_constraint
        WHERE contype = 'u' AND connamespace = 'public'::regnamespace AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey) AND attname = 'id'
        )
        UNION SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indisunique AND indpred IS NOT NULL AND relnamespace = 'public'::regnamespace
        """
    )
    assert {name for (name,) in rows} == faults.SENTENCES.keys()


WRONG: list[tuple[str, LiteralString]] = [
    ("party_code_key", "INSERT INTO party (code, name, kind) VALUES ('AAL', 'x', 'private')"),
    ("code_check", "INSERT INTO party (code, name, kind) VALUES ('aal', 'x', 'private')"),
    ("code_check", "INSERT INTO party (code, name, kind) VALUES (E'AAL\\n', 'x', 'private')"),
    ("code_check", "INSERT INTO party (code, name, kind) VALUES (repeat('A', 33), 'x', 'private')"),
    ("party_name_check", "INSERT INTO party (code, name, kind) VALUES ('X', '', 'private')"),
    ("party_kind_check", "INSERT INTO party (code, name, kind) VALUES ('X', 'x', 'public')"),
    ("target_party_id_party_kind_fkey", "UPDATE party SET kind = 'government' WHERE code = 'AAL'"),
    (
        "flow_owner_id_owner_kind_fkey",
        "INSERT INTO flow (code, name, owner_id, size_limit) SELECT 'X', 'x', id, 1 FROM party WHERE code = 'AAL'",
    ),
    ("flow_size_limit_check", "UPDATE flow SET size_limit = 0"),
    ("flow_interface_check", "UPDATE flow SET interface = '[]'"),
    ("flow_resubmission_check", "UPDATE flow SET resubmission = 'warn'"),
    ("flow_code_key", "UPDATE flow SET code = 'EMCS' WHERE code = 'AGS'"),
    ("destination_domain_check", "UPDATE destination SET domain = 'Agency.test'"),
    ("destination_domain_check", "UPDATE destination SET domain = 'agency'"),
    ("destination_nexthop_check", "UPDATE destination SET nexthop = 'mx test'"),
    ("destination_tls_level_check", "UPDATE destination SET tls_level = 'may'"),
    ("destination_tls_level_check", "UPDATE destination SET tls_level = 'none'"),
    ("destination_transport_check", "UPDATE destination SET transport = 'hop'"),
    ("destination_transport_check", "UPDATE destination SET transport = 'agency-'"),
    ("destination_transport_check", "UPDATE destination SET transport = 'agency-x:y'"),
    ("destination_tls_match_check", "UPDATE destination SET tls_match = 'a b'"),
    ("destination_fingerprint_needs_match", "UPDATE destination SET tls_level = 'fingerprint', tls_match = NULL"),
    ("target_mailbox_check", "UPDATE target SET mailbox = '../x' WHERE kind = 'mailbox'"),
    ("target_mailbox_has_id", "UPDATE target SET mailbox = NULL WHERE kind = 'mailbox'"),
    ("target_remote_has_address", "UPDATE target SET local_part = NULL WHERE kind = 'remote'"),
    ("target_remote_has_address", "UPDATE target SET local_part = 'x' WHERE kind = 'mailbox'"),
    ("target_remote_has_address", "UPDATE target SET destination_id = 1 WHERE kind = 'mailbox'"),
    ("target_local_part_check", "UPDATE target SET local_part = 'a..b' WHERE kind = 'remote'"),
    (
        "target_remote_is_government",
        """INSERT INTO target (kind, party_id, party_kind, local_part, destination_id)
        SELECT 'remote', id, kind, 'x', 1 FROM party WHERE code = 'AAL'""",
    ),
    (
        "target_destination_id_local_part_key",
        """INSERT INTO target (kind, party_id, party_kind, local_part, destination_id)
        SELECT 'remote', id, kind, 'intake', 1 FROM party WHERE code = 'NVWA'""",
    ),
    ("mail_address_check", "UPDATE address SET address = 'Bloemen@party.test' WHERE flow_id IS NULL"),
    ("mail_address_check", "UPDATE address SET address = 'a@b@party.test' WHERE flow_id IS NULL"),
    ("mail_address_check", "UPDATE address SET address = '@party.test' WHERE flow_id IS NULL"),
    ("mail_address_check", "UPDATE address SET address = 'bloemen@party' WHERE flow_id IS NULL"),
    ("mail_address_check", "UPDATE address SET address = repeat('a', 65) || '@party.test' WHERE flow_id IS NULL"),
    ("mail_address_check", "UPDATE address SET address = E'bloemen@party.test\\n' WHERE flow_id IS NULL"),
    ("address_address_key", "UPDATE address SET address = 'ags@gov.test' WHERE flow_id IS NULL"),
    ("address_flow_by_kind", "UPDATE address SET flow_id = NULL WHERE flow_id IS NOT NULL"),
    ("address_flow_by_kind", "UPDATE address SET flow_id = 1 WHERE flow_id IS NULL"),
    (
        "address_flow_id_party_id_fkey",
        """UPDATE address SET flow_id = (SELECT id FROM flow WHERE code = 'E-LOGBOEK')
        WHERE flow_id IS NOT NULL""",
    ),
    (
        "address_target_id_party_id_fkey",
        """INSERT INTO address (address, party_id, party_kind, target_id)
        SELECT 'maas@party.test', party.id, party.kind, target.id FROM party, target
        WHERE party.code = 'MAAS' AND target.mailbox = 'b0b0'""",
    ),
    (
        "connection_address_id_address_kind_fkey",
        """INSERT INTO connection (address_id, flow_id, valid_from)
        SELECT id, flow_id, '2020-01-01' FROM address WHERE flow_id IS NOT NULL""",
    ),
    ("connection_address_kind_check", "UPDATE connection SET address_kind = 'government'"),
    ("connection_period_check", "UPDATE connection SET valid_until = '2019-12-31'"),
    (
        "connection_no_overlap",
        """INSERT INTO connection (address_id, flow_id, valid_from, valid_until)
        SELECT address_id, flow_id, '2019-01-01', '2020-01-01' FROM connection""",
    ),
    (
        "credential_login_key",
        """INSERT INTO credential (login, party_id, password_hash, services)
        SELECT login, party_id, '$x', '{submission}' FROM credential""",
    ),
    ("credential_login_check", "UPDATE credential SET login = 'Aal'"),
    ("credential_login_check", "UPDATE credential SET login = 'a b'"),
    ("credential_password_hash_check", "UPDATE credential SET password_hash = 'secret'"),
    ("credential_services_check", "UPDATE credential SET services = '{imap}'"),
    ("credential_services_check", "UPDATE credential SET services = '{}'"),
    ("credential_services_check", "UPDATE credential SET services = '{pop3,null}'"),
    ("credential_pop3_needs_mailbox", "UPDATE credential SET mailbox_id = NULL"),
    (
        "credential_mailbox_id_party_id_mailbox_kind_fkey",
        "UPDATE credential SET party_id = (SELECT id FROM party WHERE code = 'MAAS')",
    ),
    (
        "credential_mailbox_id_party_id_mailbox_kind_fkey",
        """INSERT INTO credential (login, party_id, password_hash, services, mailbox_id)
        SELECT 'x', party_id, '$x', '{pop3}', id FROM target WHERE kind = 'remote'""",
    ),
    ("credential_certificate_fingerprint_check", "UPDATE credential SET certificate_fingerprint = 'AB:CD'"),
    ("credential_certificate_subject_check", "UPDATE credential SET certificate_subject = ''"),
    ("credential_certificate_subject_check", "UPDATE credential SET certificate_subject = E'a\nb'"),
    ("credential_certificate_suffices_check", "UPDATE credential SET certificate_suffices = true"),
    (
        "credential_certificate_suffices_check",
        "UPDATE credential SET certificate_suffices = true, certificate_subject = 'a', services = '{pop3}'",
    ),
    (
        "credential_certificate",
        """INSERT INTO credential (login, party_id, password_hash, services, certificate_subject, certificate_suffices)
        SELECT name, party_id, '$x', '{submission}', 'a', true FROM credential, unnest(ARRAY['x', 'y']) AS name""",
    ),
    ("credential_period_check", "UPDATE credential SET valid_from = '2026-01-02', valid_until = '2026-01-01'"),
    ("credential_networks_check", "UPDATE credential SET networks = ARRAY[NULL::cidr]"),
    ("credential_networks_check", "UPDATE credential SET networks = array_fill('192.0.2.1/32'::cidr, ARRAY[65])"),
    (
        "submission_party_id_fkey",
        """INSERT INTO submission (party_id, message, digest, reference)
        VALUES (0, sha256(''), sha256(''), 'DP-20260102-0123456789ABCDEF')""",
    ),
    (
        "submission_message_check",
        """INSERT INTO submission (party_id, message, digest, reference)
        SELECT id, 'short', sha256(''), 'DP-20260102-0123456789ABCDEF' FROM party""",
    ),
    (
        "submission_digest_check",
        """INSERT INTO submission (party_id, message, digest, reference)
        SELECT id, sha256(''), '', 'DP-20260102-0123456789ABCDEF' FROM party""",
    ),
    (
        "submission_reference_check",
        """INSERT INTO submission (party_id, message, digest, reference)
        SELECT id, sha256(''), sha256(''), E'DP-20260102-0123456789ABCDEF\n' FROM party""",
    ),
]


@pytest.mark.parametrize(("constraint", "statement"), WRONG)
def test_a_wrong_state_cannot_be_stored(
    connection: Connection[TupleRow], constraint: str, statement: LiteralString
) -> None:
    with pytest.raises(errors.IntegrityError) as caught:
        connection.execute(statement)
    assert caught.value.diag.constraint_name == constraint
    assert faults.sentence(caught.value) == faults.SENTENCES[constraint]


def test_periods_that_touch_do_not_overlap(connection: Connection[TupleRow]) -> None:
    connection.execute("UPDATE connection SET valid_until = '2020-12-31'")
    connection.execute(
        """INSERT INTO connection (address_id, flow_id, valid_from)
        SELECT address_id, flow_id, '2021-01-01' FROM connection"""
    )


CHANGES: list[LiteralString] = [
    "UPDATE party SET name = 'y' WHERE code = 'MAAS'",
    "INSERT INTO party (code, name, kind) VALUES ('X', 'x', 'private')",
    "DELETE FROM party WHERE code = 'MAAS'",
    "UPDATE flow SET size_limit = 1 WHERE code = 'AGS'",
    "UPDATE destination SET tls_match = NULL",
    "UPDATE target SET mailbox = 'c0c0' WHERE kind = 'mailbox'",
    "DELETE FROM address WHERE flow_id IS NOT NULL",
    "DELETE FROM connection",
    "UPDATE credential SET active = false",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_every_write_raises_the_counter_and_is_logged(
    connection: Connection[TupleRow], statement: LiteralString
) -> None:
    before = one(connection, queries.CHANGE_COUNTER)
    logged = one(connection, "SELECT count(*) FROM change_log")
    connection.execute(queries.SET_ACTOR, {"actor": "beheerder"})
    connection.execute(statement)
    assert isinstance(before, int)
    assert isinstance(logged, int)
    counter, log_size = one(connection, queries.CHANGE_COUNTER), one(connection, "SELECT count(*) FROM change_log")
    assert isinstance(counter, int)
    assert isinstance(log_size, int)
    assert counter > before
    assert log_size == logged + 1
    assert one(connection, "SELECT actor FROM change_log ORDER BY id DESC LIMIT 1") == "beheerder"


def test_the_log_never_has_a_password_hash(connection: Connection[TupleRow]) -> None:
    connection.execute("UPDATE credential SET password_hash = '$other'")
    connection.execute("DELETE FROM credential")
    text = str(one(connection, "SELECT string_agg(change_log::text, ' ') FROM change_log"))
    assert '"login": "aal"' in text.replace('""', '"')
    assert HASH not in text
    assert "$other" not in text


def test_the_actor_of_a_write_without_one_is_the_role(connection: Connection[TupleRow]) -> None:
    connection.execute("UPDATE party SET name = 'y' WHERE code = 'MAAS'")
    assert one(connection, "SELECT actor FROM change_log ORDER BY id DESC LIMIT 1") == "postgres"


def test_two_writers_go_one_after_the_other(filled: str) -> None:
    with psycopg.connect(filled) as first, psycopg.connect(filled) as second:
        first.execute("UPDATE party SET name = 'y' WHERE code = 'MAAS'")
        second.execute("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(errors.LockNotAvailable) as caught:
            second.execute("UPDATE flow SET name = 'y' WHERE code = 'AGS'")
        first.rollback()
    assert faults.is_temporary(caught.value)
    assert "try again later" in faults.sentence(caught.value)


ADDRESS_FILTERS: dict[str, object] = dict.fromkeys(("address", "party", "flow", "mailbox", "domain", "limit"))
SUBMITTING: dict[str, object] = {
    **dict.fromkeys(("login", "fingerprint", "subject", "day")),
    "sender": "bloemen@party.test",
    "timezone": "Europe/Amsterdam",
}
READS: list[tuple[LiteralString, LiteralString, dict[str, object]]] = [
    ("SET ROLE digipoort_read", queries.SUBMISSION, SUBMITTING | {"login": "aal"}),
    (
        "SET ROLE digipoort_read",
        queries.ACCEPTANCE,
        {"sender": "bloemen@party.test", "recipient": "ags@gov.test", "day": None, "timezone": "Europe/Amsterdam"},
    ),
    ("SET ROLE digipoort_read", queries.CHANGE_COUNTER, {}),
    ("SET ROLE digipoort_read", queries.LAST_CHANGE, {}),
    ("SET ROLE digipoort_read", queries.CHANGED_SINCE, {"last": 0, "most": 9}),
    ("SET ROLE digipoort_read", queries.ALIASES_OF, {"addresses": ["ags@gov.test"], "targets": [], "most": 9}),
    ("SET ROLE digipoort_read", queries.ALL_DESTINATIONS, {}),
    ("SET ROLE digipoort_read", queries.PUBLISHED_FLOWS, {}),
    ("SET ROLE digipoort_read", queries.PUBLISHED_FLOW_ADDRESSES, {}),
    ("SET ROLE digipoort_read", queries.MAILBOXES_OF, {"mailboxes": ["b0b0"]}),
    (
        "SET ROLE digipoort_read",
        queries.LIST_CREDENTIALS,
        dict.fromkeys(("login", "party", "mailbox", "expiring", "limit", "timezone")),
    ),
    ("SET ROLE digipoort_read", queries.LIST_ADDRESSES, ADDRESS_FILTERS),
    ("SET ROLE digipoort_auth", queries.AUTHENTICATION, {"login": "aal", "timezone": "Europe/Amsterdam"}),
    ("SET ROLE digipoort_auth", queries.LOGIN, {"login": "aal"}),
    ("SET ROLE digipoort_auth", queries.MAILBOX, {"mailbox": "b0b0"}),
]


@pytest.mark.parametrize(("role", "query", "parameters"), READS)
def test_a_role_reads_what_its_program_asks(
    connection: Connection[TupleRow], role: LiteralString, query: LiteralString, parameters: dict[str, object]
) -> None:
    connection.execute(role)
    assert connection.execute(query, parameters).fetchone() is not None


@pytest.mark.parametrize(
    ("asked", "login"),
    [
        ({"fingerprint": "F", "subject": "S"}, "both"),
        ({"fingerprint": "F", "subject": "other"}, "pinned"),
        ({"fingerprint": "F"}, "pinned"),
        ({"fingerprint": "other", "subject": "S"}, "named"),
        ({"subject": "S"}, "named"),
        # A certificate that is required beside a password stands for nobody.
        ({"fingerprint": "B", "subject": "beside"}, None),
        ({"fingerprint": "other", "subject": "other"}, None),
        ({}, None),
        ({"login": "aal"}, "aal"),
    ],
)
def test_of_certificates_that_match_the_one_that_says_most_counts(
    connection: Connection[TupleRow], asked: dict[str, object], login: str | None
) -> None:
    fingerprints = {letter: ":".join(f"{ord(letter):02X}" for _ in range(32)) for letter in "FB"}
    for name, fingerprint, subject, suffices in (
        ("named", None, "S", True),
        ("pinned", "F", None, True),
        ("both", "F", "S", True),
        ("beside", "B", "beside", False),
    ):
        connection.execute(
            """INSERT INTO credential (
                login, party_id, password_hash, services,
                certificate_fingerprint, certificate_subject, certificate_suffices
            )
            SELECT %s, party_id, '$x', '{submission}', %s, %s, %s FROM credential WHERE login = 'aal'""",
            [name, fingerprint and fingerprints[fingerprint], subject, suffices],
        )
    if asked.get("fingerprint") in fingerprints:
        asked = {**asked, "fingerprint": fingerprints[str(asked["fingerprint"])]}
    row = connection.execute(queries.SUBMISSION, {**SUBMITTING, **asked}).fetchone()
    assert row is not None
    assert row[0] == login


SUBMISSION: dict[str, object] = {
    "sender": "bloemen@party.test",
    "message": b"\0" * 32,
    "digest": b"\1" * 32,
    "reference": "DP-20260102-0123456789ABCDEF",
    "window": timedelta(days=30),
    "batch": 10,
}


def test_a_role_remembers_submissions_and_writes_nothing_else(connection: Connection[TupleRow]) -> None:
    counter = one(connection, queries.CHANGE_COUNTER)
    logged = one(connection, "SELECT count(*) FROM change_log")
    connection.execute("SET ROLE digipoort_resubmission")
    kept = (SUBMISSION["reference"], SUBMISSION["digest"])
    assert connection.execute(queries.CLAIM_SUBMISSION, SUBMISSION).fetchone() == kept
    assert connection.execute(queries.RECALL_SUBMISSION, SUBMISSION).fetchone() == kept
    assert connection.execute(queries.PRUNE_SUBMISSIONS, SUBMISSION).fetchone() == (0,)
    assert connection.execute(queries.RELEASE_SUBMISSION, SUBMISSION).fetchone() == kept[:1]
    connection.execute("RESET ROLE")
    assert one(connection, queries.CHANGE_COUNTER) == counter
    assert one(connection, "SELECT count(*) FROM change_log") == logged


def test_what_is_remembered_does_not_keep_a_party(connection: Connection[TupleRow]) -> None:
    connection.execute(queries.ADD_PARTY, {"code": "WEG", "name": "Weg", "kind": "private", "active": True})
    connection.execute(
        """INSERT INTO submission (party_id, message, digest, reference)
        SELECT id, sha256(''), sha256(''), 'DP-20260102-0123456789ABCDEF' FROM party WHERE code = 'WEG'"""
    )
    connection.execute("DELETE FROM party WHERE code = 'WEG'")
    assert one(connection, "SELECT count(*) FROM submission") == 0


def test_a_directory_that_is_down_is_temporary() -> None:
    with pytest.raises(session.DirectoryFaultError) as caught, session.reading("host=/nonexistent"):
        pytest.fail("connected to nothing")
    assert caught.value.temporary


def test_the_second_server_is_tried_when_the_first_is_away(filled: str) -> None:
    values = psycopg.conninfo.conninfo_to_dict(filled)
    dsn = psycopg.conninfo.make_conninfo(filled, host=f"/nonexistent,{values['host']}")
    with session.reading(dsn) as connection:
        assert one(connection, "SELECT 1") == 1


def test_reading_sees_one_moment_and_writes_nothing(directory_dsn: str) -> None:
    with session.reading(directory_dsn) as reader:
        assert one(reader, "SELECT count(*) FROM party") == 0
        fill(directory_dsn)
        assert one(reader, "SELECT count(*) FROM party") == 0
    with pytest.raises(session.DirectoryFaultError, match="takes no changes"), session.reading(directory_dsn) as reader:
        reader.execute("DELETE FROM connection")
