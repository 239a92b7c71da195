"""Every kind of object in the admin's program: add, change, remove, list and show; what is asked, and what is told."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from digipoort.cli import asking
from digipoort.directory import lookup, names, session
from digipoort.directory.objects import Address, Party
from tests.unit.directory_samples import HASH, SETTINGS, digipoort, fill

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def dsn(directory_dsn: str) -> str:
    """Fill a fresh directory and return its conninfo."""
    fill(directory_dsn)
    return directory_dsn


def done(dsn: str, *arguments: str) -> str:
    """Run a command that is to succeed and return what it says."""
    result = digipoort(dsn, *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(dsn: str, *arguments: str) -> str:
    """Run a command that is to be refused and return its sentence."""
    result = digipoort(dsn, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr.removeprefix("digipoort: ").strip()


def shown(dsn: str, *arguments: str) -> dict[str, Any]:
    """Return what `show --json` tells of an object."""
    return dict(json.loads(done(dsn, *arguments, "--json")))


@pytest.mark.parametrize(
    ("command", "said", "show", "values"),
    [
        (
            "party change AAL --name Bollen",
            "changed party AAL: name: Bloemen B.V. -> Bollen",
            "party show AAL",
            {"code": "AAL", "name": "Bollen", "kind": "private", "active": True},
        ),
        (
            "flow change AGS --size-limit 77 --resubmission refuse",
            "changed flow AGS: size_limit: 10485760 -> 77, resubmission: tell -> refuse; hosts learn it by digipoort "
            "maps publish",
            "flow show AGS",
            {"owner": "DOUANE", "size_limit": 77, "resubmission": "refuse"},
        ),
        (
            "destination change agency.test --tls-match --transport agency-slow",
            "changed destination agency.test: tls_match: mx.agency.test -> -, transport: smtp -> agency-slow; hosts "
            "learn it by digipoort maps publish",
            "destination show agency.test",
            {"nexthop": "[MX.agency.test]:2525", "tls_match": "", "transport": "agency-slow"},
        ),
        (
            "address change ags@gov.test --remote Intake2@agency.test",
            "changed address ags@gov.test: target: intake@agency.test -> intake2@agency.test; hosts learn it by "
            "digipoort maps publish",
            "address show ags@gov.test",
            {"party": "DOUANE", "flow": "AGS", "target": "intake2@agency.test"},
        ),
        (
            "connection change bloemen@party.test AGS --until 2090-12-31",
            "changed connection bloemen@party.test AGS 2020-01-01: valid_until: - -> 2090-12-31",
            "connection show bloemen@party.test AGS",
            {"valid_from": "2020-01-01", "valid_until": "2090-12-31"},
        ),
        (
            "credential change aal --service submission --mailbox",
            "changed credential aal: services: pop3+submission -> submission, mailbox: b0b0 -> -",
            "credential show aal",
            {"party": "AAL", "services": "submission", "mailbox": "", "active": True},
        ),
    ],
)
def test_only_what_an_option_tells_is_changed(
    dsn: str, command: str, said: str, show: str, values: dict[str, object]
) -> None:
    arguments = command.split()
    # An option without a word behind it takes the value away.
    for option in ("--tls-match", "--mailbox"):
        if option in arguments:
            arguments.insert(arguments.index(option) + 1, "")
    assert done(dsn, *arguments) == f"{said}\n"
    assert values.items() <= shown(dsn, *show.split()).items()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT password_hash FROM credential").fetchone() == (HASH,)
        # No physical address stays behind that no logical one leads to.
        assert connection.execute("SELECT count(*) FROM target WHERE kind = 'remote'").fetchone() == (1,)
    assert "is so already" in done(dsn, *arguments)


def test_a_mailbox_is_added_given_away_and_removed(dsn: str) -> None:
    new = done(dsn, "mailbox", "add", "AAL").split()[-1]
    assert len(new) == 16
    assert done(dsn, "mailbox", "add", "MAAS", "--id", "c0c0") == "added mailbox c0c0\n"
    assert done(dsn, "mailbox", "list", "--party", "MAAS") == "MAILBOX  PARTY\nc0c0     MAAS\n"
    assert done(dsn, "mailbox", "change", "c0c0", "--party", "AAL") == "changed mailbox c0c0: party: MAAS -> AAL\n"
    in_use = "The mailbox b0b0 is still in use: address bloemen@party.test; login aal."
    assert refused(dsn, "mailbox", "change", "b0b0", "--party", "MAAS") == in_use
    assert done(dsn, "mailbox", "show", "b0b0").splitlines() == [
        "mailbox          b0b0",
        "party            AAL",
        "used by address  bloemen@party.test",
        "used by login    aal",
    ]
    assert refused(dsn, "mailbox", "remove", "b0b0", "--yes") == in_use
    assert done(dsn, "mailbox", "remove", "c0c0", "--yes") == "removed mailbox c0c0\n"
    assert [item["mailbox"] for item in json.loads(done(dsn, "mailbox", "list", "--json"))] == sorted(["b0b0", new])


def test_all_goes_from_the_leaves_on(dsn: str) -> None:
    assert refused(dsn, "party", "remove", "AAL", "--yes") == (
        "The party AAL is still in use: mailbox b0b0; address bloemen@party.test; login aal."
    )
    assert refused(dsn, "flow", "remove", "AGS", "--yes") == (
        "The flow AGS is still in use: address ags@gov.test; connection bloemen@party.test 2020-01-01 -."
    )
    assert refused(dsn, "destination", "remove", "agency.test", "--yes") == (
        "The destination agency.test is still in use: address ags@gov.test intake@agency.test."
    )
    for removal in (
        "connection remove bloemen@party.test AGS",
        "credential remove aal",
        "address remove bloemen@party.test",
        "mailbox remove b0b0",
        "party remove AAL",
        "address remove ags@gov.test",
        "flow remove AGS",
        "destination remove agency.test",
    ):
        assert done(dsn, *removal.split(), "--yes").startswith("removed ")
        assert refused(dsn, *removal.split(), "--yes").startswith("There is no ")


def test_an_address_takes_its_connections_with_it(dsn: str) -> None:
    question = refused(dsn, "address", "remove", "bloemen@party.test")
    assert question.startswith(
        "Remove address bloemen@party.test and its connections (connection AGS 2020-01-01 -)? Nothing is changed"
    )
    done(dsn, "address", "remove", "bloemen@party.test", "--yes")
    assert json.loads(done(dsn, "connection", "list", "--json")) == []


def test_what_was_not_asked_about_is_not_removed(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect_meanwhile(_question: str, **_options: bool) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "INSERT INTO connection (address_id, flow_id, valid_from) "
                "SELECT address.id, flow.id, '2030-01-01' FROM address, flow "
                "WHERE address.address = 'bloemen@party.test' AND flow.code = 'EMCS'"
            )

    monkeypatch.setattr(asking, "confirm", connect_meanwhile)
    result = digipoort(dsn, "address", "remove", "bloemen@party.test")
    assert (result.exit_code, result.stdout) == (os.EX_TEMPFAIL, "")
    assert "was changed meanwhile" in result.stderr
    assert len(json.loads(done(dsn, "connection", "list", "--json"))) == 2


def test_which_of_several_connections(dsn: str) -> None:
    pair = ("bloemen@party.test", "AGS")
    done(dsn, "connection", "change", *pair, "--until", "2020-12-31", "--yes")
    done(dsn, "connection", "add", *pair, "--from", "2030-01-01")
    several = "bloemen@party.test is connected to AGS more than once; say --from: 2020-01-01, 2030-01-01."
    for verb in (["show"], ["remove", "--yes"], ["change", "--without-end"]):
        assert refused(dsn, "connection", *verb, *pair) == several
    done(dsn, "connection", "remove", *pair, "--from", "2030-01-01", "--yes")
    done(dsn, "connection", "change", *pair, "--without-end")
    assert shown(dsn, "connection", "show", *pair)["valid_until"] is None
    assert refused(dsn, "connection", "show", *pair, "--from", "2021-01-01") == (
        "There is no connection of bloemen@party.test to AGS from 2021-01-01."
    )


@pytest.mark.parametrize(
    "command",
    [
        "party change AAL",
        "connection change bloemen@party.test AGS",
        "connection change bloemen@party.test AGS --until 2090-01-01 --without-end",
        "address change ags@gov.test --mailbox b0b0 --remote a@agency.test",
    ],
)
def test_a_change_without_a_clear_wish_is_wrong_usage(dsn: str, command: str) -> None:
    assert digipoort(dsn, *command.split()).exit_code == 2


def test_a_change_that_a_constraint_refuses_says_why(dsn: str) -> None:
    assert refused(dsn, "credential", "change", "aal", "--mailbox", "") == (
        "A credential with the service pop3 needs a mailbox."
    )
    assert refused(dsn, "party", "change", "AAL", "--kind", "government").endswith("or is still in use.")
    assert shown(dsn, "party", "show", "AAL")["kind"] == "private"


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("party list --kind government", ["DOUANE", "NVWA"]),
        ("flow list --party NVWA --limit 1", ["E-LOGBOEK"]),
        ("address list --party AAL", ["bloemen@party.test"]),
        ("address list --flow AGS", ["ags@gov.test"]),
        ("address list --mailbox b0b0", ["bloemen@party.test"]),
        ("address list --domain agency.test", ["ags@gov.test"]),
        ("address list --party MAAS", []),
        ("connection list --party AAL --flow AGS", ["bloemen@party.test"]),
        ("connection list --flow EMCS", []),
        ("credential list --party AAL --mailbox b0b0", ["aal"]),
        ("credential list --party MAAS", []),
    ],
)
def test_a_list_is_filtered(dsn: str, command: str, first: list[str]) -> None:
    lines = done(dsn, *command.split()).splitlines()
    assert [line.split()[0] for line in lines[1:]] == first
    assert len(json.loads(done(dsn, *command.split(), "--json"))) == len(first)


def test_a_filter_that_names_nothing_is_refused(dsn: str) -> None:
    assert refused(dsn, "address", "list", "--party", "MASS").endswith("Did you mean MAAS?")


def many_addresses(dsn: str, number: int) -> None:
    """Give the party AAL very many addresses."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            INSERT INTO address (address, party_id, party_kind, target_id)
            SELECT 'a' || number || '@party.test', party.id, party.kind, target.id
            FROM generate_series(1, %s) AS number, party JOIN target ON target.party_id = party.id
            WHERE party.code = 'AAL'
            """,
            [number],
        )


def test_what_refers_is_told_up_to_a_number(dsn: str) -> None:
    many_addresses(dsn, 500)
    told = shown(dsn, "party", "show", "AAL")["referred_to_by"]["address"]
    assert (told["total"], len(told["first"])) == (501, lookup.MAX_REFERENCES)
    lines = [line for line in done(dsn, "party", "show", "AAL").splitlines() if line.startswith("used by address")]
    assert (len(lines), lines[-1].split(maxsplit=3)[-1]) == (21, "and 481 more")
    assert refused(dsn, "party", "remove", "AAL").count("@party.test") == 20


def test_a_list_streams(dsn: str) -> None:
    many_addresses(dsn, 50_000)
    with session.reading(dsn) as connection, lookup.listed(connection, Address, {}) as listed:
        tracemalloc.start()
        assert sum(1 for _ in listed.rows) == 50_002
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4_000_000
    lines = done(dsn, "address", "list").splitlines()
    assert len({*lines}) == 50_003
    assert len(json.loads(done(dsn, "address", "list", "--json"))) == 50_002


def test_no_hash_is_ever_shown(dsn: str) -> None:
    for command in ("credential show aal", "credential show aal --json", "credential list --json", "party show AAL"):
        assert HASH not in done(dsn, *command.split())
    assert HASH not in done(dsn, "credential", "change", "aal", "--service", "pop3")


@pytest.mark.parametrize(
    ("command", "near"),
    [
        ("party show aal", "AAL"),
        ("party enable MASA", "MAAS"),
        ("flow limit AGSS 5", "AGS"),
        ("flow add X x --owner DUANE", "DOUANE"),
        ("destination show agncy.test", "agency.test"),
        ("mailbox show b0bo", "b0b0"),
        ("address add x@party.test AAL --mailbox b0b", "b0b0"),
        ("address show bleomen@party.test", "bloemen@party.test"),
        ("address remove bloemen@praty.test", "bloemen@party.test"),
        ("connection add blomen@party.test AGS", "bloemen@party.test"),
        ("connection show bloemen@party.test AGSS", "AGS"),
        ("credential disable all", "aal"),
        ("credential change all --mailbox b0b0", "aal"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(dsn: str, command: str, near: str) -> None:
    assert refused(dsn, *command.split()).endswith(f"Did you mean {near}?")


def test_the_nearest_of_very_many_are_found_without_reading_them(dsn: str) -> None:
    many_addresses(dsn, 50_000)
    with session.reading(dsn) as connection:
        assert "a49999@party.test" in names.nearest(connection, Address, "a499999@party.test")
        assert names.nearest(connection, Address, "volstrekt-anders@party.test") == []
        assert lookup.shown(connection, Address, {"address": "a7@party.test"}).values["party"] == "AAL"
        read = connection.execute(
            """
            SELECT pg_stat_get_xact_numscans(oid), pg_stat_get_xact_tuples_fetched(oid)
            FROM pg_class WHERE relname = 'address'
            """
        ).fetchone()
    assert read is not None
    scans, fetched = read
    assert (scans, fetched < 2000) == (0, True)


@pytest.mark.parametrize(
    ("command", "near"),
    [
        ("adress list", "address"),
        ("party lst", "list"),
        ("flow delete AGS", "remove"),
        ("credential create x", "add"),
        ("maps publsh", "publish"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(dsn: str, command: str, near: str) -> None:
    result = digipoort(dsn, *command.split())
    assert result.exit_code == 2
    assert f"Did you mean {near}" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "party disable AAL",
        "connection end bloemen@party.test AGS --on 2020-06-30",
        "connection change bloemen@party.test AGS --until 2020-06-30",
        "credential remove aal",
    ],
)
def test_without_a_terminal_nothing_is_taken_for_a_yes(dsn: str, command: str) -> None:
    before = done(dsn, "export")
    result = digipoort(dsn, *command.split(), typed="y\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Nothing is changed: this asks on a terminal, or is told so with --yes." in result.stderr
    assert done(dsn, "export") == before
    assert digipoort(dsn, *command.split(), "--yes").exit_code == 0
    assert done(dsn, "export") != before


def on_a_terminal(dsn: str, arguments: Sequence[str], typed: str) -> subprocess.CompletedProcess[str]:
    """Run the program with a terminal as its standard input."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        return subprocess.run(
            [sys.executable, "-m", "digipoort.cli", *arguments],
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, **SETTINGS, "DIRECTORY_DSN": dsn, "DIRECTORY_WRITE_DSN": dsn},
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_it_asks(dsn: str) -> None:
    command = ["party", "disable", "AAL"]
    no = on_a_terminal(dsn, command, "n\n")
    assert no.returncode == 1
    assert "Refuse all logins and messages of party AAL (Bloemen B.V.)? [y/N]" in no.stderr
    assert shown(dsn, "party", "show", "AAL")["active"] is True
    yes = on_a_terminal(dsn, command, "y\n")
    assert (yes.returncode, yes.stdout.strip()) == (0, "party AAL is disabled")
    assert shown(dsn, "party", "show", "AAL")["active"] is False


def test_a_reader_who_may_not_see_hashes_can_list_and_show(dsn: str) -> None:
    reading = f"{dsn} options='-c role=digipoort_read'"
    for command in ("credential list", "credential show aal", "party show AAL", "mailbox show b0b0"):
        assert digipoort(reading, *command.split()).exit_code == 0, command
    with session.reading(reading) as connection:
        assert names.nearest(connection, Party, "AAAL") == ["AAL"]
