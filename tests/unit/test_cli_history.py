"""`digipoort history`: what the log of a real PostgreSQL tells of an object, and what it does not tell."""

from __future__ import annotations

import json

import psycopg

from tests.unit.directory_samples import digipoort, fill


def test_an_addresss_life(directory_dsn: str) -> None:
    fill(directory_dsn)
    digipoort(directory_dsn, "connection", "end", "bloemen@party.test", "AGS", "--on", "2027-01-31")
    with psycopg.connect(directory_dsn) as connection:
        # By another road: whoever writes, the database logs it.
        connection.execute("DELETE FROM connection")
        connection.execute("DELETE FROM address WHERE address = 'bloemen@party.test'")
    shown = digipoort(directory_dsn, "history", "bloemen@party.test").stdout.splitlines()
    assert shown[0].split() == ["AT", "WHO", "WHAT", "CHANGE"]
    connected = "flow=AGS address=bloemen@party.test valid_from=2020-01-01"
    assert [line.split(maxsplit=4)[2:] for line in shown[1:]] == [
        ["tester", "address", "added address=bloemen@party.test party=AAL target=b0b0"],
        ["tester", "connection", f"added {connected}"],
        ["beheerder", "connection", "valid_until: - -> 2027-01-31"],
        ["postgres", "connection", f"removed {connected} valid_until=2027-01-31"],
        ["postgres", "address", "removed address=bloemen@party.test party=AAL target=b0b0"],
    ]


def test_a_password_is_told_and_never_shown(directory_dsn: str) -> None:
    fill(directory_dsn)
    digipoort(directory_dsn, "credential", "rotate", "aal", typed="geheim\ngeheim\n")
    digipoort(directory_dsn, "credential", "disable", "aal")
    shown = digipoort(directory_dsn, "history", "aal").stdout
    lines = [line.split(maxsplit=4)[4] for line in shown.splitlines()[1:]]
    added = "added login=aal active=True party=AAL services=pop3+submission mailbox=b0b0 certificate_suffices=False"
    assert lines == [added, "password", "active: True -> False"]
    assert "argon2" not in shown
    entries = json.loads(digipoort(directory_dsn, "history", "aal", "--json").stdout)
    assert [entry["who"] for entry in entries] == ["tester", "beheerder", "beheerder"]
    assert entries[2]["before"]["active"] is True


def test_a_name_that_never_was(directory_dsn: str) -> None:
    missing = digipoort(directory_dsn, "history", "niemand")
    assert (missing.exit_code, missing.stderr) == (
        1,
        "digipoort: Nothing in the directory has, or had, the name niemand.\n",
    )
    fill(directory_dsn)
    near = digipoort(directory_dsn, "history", "bleomen@party.test")
    assert near.stderr.endswith("the name bleomen@party.test. Did you mean bloemen@party.test?\n")
