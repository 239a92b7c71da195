"""What is refused before PostgreSQL sees it is what PostgreSQL would refuse, and no hash comes into its log."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from digipoort.directory import names, queries, storable, store
from digipoort.directory.objects import Credential, Mailbox, Party
from tests.unit.directory_samples import HASH, digipoort, fill

GOOD: Final = Credential("b", "AAL", HASH, ("submission",))
CERTIFICATE: Final = ":".join(["A1"] * 32)
BROKEN: Final = [
    ("credential_login_check", replace(GOOD, login="B")),
    ("credential_login_check", replace(GOOD, login="")),
    ("credential_login_check", replace(GOOD, login="b\n")),
    ("credential_login_check", replace(GOOD, login="b" * 129)),
    ("credential_password_hash_check", replace(GOOD, password="geheim")),  # noqa: S106
    ("credential_password_hash_check", replace(GOOD, password="$ ")),  # noqa: S106
    ("credential_services_check", replace(GOOD, services=())),
    ("credential_services_check", replace(GOOD, services=("submission", "imap"))),
    ("credential_pop3_needs_mailbox", replace(GOOD, services=("submission", "pop3"))),
    ("credential_period_check", replace(GOOD, valid_from=date(2027, 1, 2), valid_until=date(2027, 1, 1))),
    ("credential_networks_check", replace(GOOD, networks=tuple(f"192.0.2.{n}/32" for n in range(65)))),
    ("credential_certificate_fingerprint_check", replace(GOOD, certificate_fingerprint=CERTIFICATE.lower())),
    ("credential_certificate_fingerprint_check", replace(GOOD, certificate_fingerprint=f"{CERTIFICATE}\n")),
    ("credential_certificate_subject_check", replace(GOOD, certificate_subject="")),
    ("credential_certificate_subject_check", replace(GOOD, certificate_subject="é")),
    ("credential_certificate_subject_check", replace(GOOD, certificate_subject="a\nb")),
    ("credential_certificate_subject_check", replace(GOOD, certificate_subject="a" * 257)),
    ("credential_certificate_suffices_check", replace(GOOD, certificate_suffices=True)),
    (
        "credential_certificate_suffices_check",
        replace(GOOD, services=("pop3",), mailbox="b0b0", certificate_subject="a", certificate_suffices=True),
    ),
]
SOUND: Final = [
    GOOD,
    replace(GOOD, login="b" * 128, services=("pop3", "submission"), mailbox="b0b0"),
    replace(GOOD, valid_from=date(2027, 1, 1), valid_until=date(2027, 1, 1)),
    replace(GOOD, valid_until=date(2027, 1, 1), networks=tuple(f"192.0.2.{n}/32" for n in range(64))),
    replace(GOOD, certificate_subject="a" * 256, certificate_suffices=True),
    replace(GOOD, certificate_fingerprint=CERTIFICATE, certificate_suffices=True),
]


@pytest.mark.parametrize(("constraint", "item"), [*BROKEN, *((None, item) for item in SOUND)])
def test_what_is_refused_beforehand_is_what_postgresql_refuses(
    directory_dsn: str, constraint: str | None, item: Credential
) -> None:
    fill(directory_dsn)
    with psycopg.connect(directory_dsn) as connection:
        if constraint is None:
            store.add(connection, item)
            return
        with pytest.raises(storable.NotStorableError) as refused:
            store.add(connection, item)
        assert refused.value.constraint == constraint
        references = {
            "party_id": names.row_id(connection, Party, item.party),
            "mailbox_id": None if item.mailbox is None else names.row_id(connection, Mailbox, item.mailbox),
        }
        values = asdict(item) | references | {"password_hash": item.password, "services": list(item.services)}
        with pytest.raises(errors.CheckViolation) as caught:
            connection.execute(queries.ADD_CREDENTIAL, values | {"networks": list(item.networks)})
        assert caught.value.diag.constraint_name == constraint


def test_no_check_of_credentials_is_left_out(directory_dsn: str) -> None:
    with psycopg.connect(directory_dsn) as connection:
        rows = connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'credential'::regclass AND contype = 'c'"
        ).fetchall()
    # A column that no statement sets.
    assert {name for (name,) in rows} - {"credential_mailbox_kind_check"} == {constraint for constraint, _ in BROKEN}


def test_a_refused_command_puts_no_hash_into_postgresqls_log(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    log = Path(str(conninfo_to_dict(directory_dsn)["host"])).parent / "postgres.log"
    # Short enough for PostgreSQL to log all of it.
    known = "$2b$05$5qySVuu0Te8YsgPpfwiZCuugt1ZptXpsEO5ajaAFCjWUTl7ICqFG6"
    file = tmp_path / "hash"
    file.touch(mode=0o600)
    file.write_text(known, encoding="ascii")
    add = ("credential", "add", "b", "AAL", "--service", "submission", "--hash-file", str(file))
    assert digipoort(directory_dsn, *add).exit_code == 0
    ends_before_it_starts = ("--from", "2027-01-02", "--until", "2027-01-01")
    assert digipoort(directory_dsn, "credential", "change", "b", *ends_before_it_starts).exit_code == 1
    assert digipoort(directory_dsn, *add[:2], "c", *add[3:], *ends_before_it_starts).exit_code == 1
    assert known not in log.read_text(encoding="utf-8")
    with psycopg.connect(directory_dsn) as connection, pytest.raises(errors.CheckViolation):
        connection.execute("UPDATE credential SET services = '{}' WHERE login = 'b'")
    assert known in log.read_text(encoding="utf-8")
