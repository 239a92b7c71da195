"""`digipoort credential` on a real directory: new passwords, successors of logins, and what restricts them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import trustme

from digipoort import access, fingerprints, passwords
from digipoort.cli import newpassword, rotation
from digipoort.cli.failures import Failure
from digipoort.directory import snapshot
from digipoort.directory.objects import Credential
from tests.unit.directory_samples import HASH, SETTINGS, digipoort, fill

FINGERPRINT: Final = ":".join(["A1"] * 32)
SUBMITS: Final = ("--service", "submission")


@pytest.fixture
def dsn(directory_dsn: str) -> str:
    """Fill a fresh directory and return its conninfo."""
    fill(directory_dsn)
    return directory_dsn


def done(dsn: str, *arguments: str, typed: str = "") -> tuple[str, list[str]]:
    """Run a command that is to succeed; return its standard output, and its lines on standard error."""
    result = digipoort(dsn, "credential", *arguments, typed=typed)
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result.stdout, result.stderr.splitlines()


def refused(dsn: str, *arguments: str, status: int = 1) -> str:
    """Run a command that is to be refused and return its last sentence."""
    result = digipoort(dsn, "credential", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    return result.stderr.splitlines()[-1].removeprefix("digipoort: ").removeprefix("Error: ")


def stored(dsn: str, login: str) -> Credential:
    with psycopg.connect(dsn) as connection:
        return snapshot.credential(connection, login)


def opens(dsn: str, login: str, password: str) -> bool:
    encoded = stored(dsn, login).password
    assert isinstance(encoded, str)
    return passwords.verify_password(encoded, password.encode())


def today(dsn: str) -> date:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT (now() AT TIME ZONE 'Europe/Amsterdam')::date").fetchone()
    assert row is not None
    return date.fromisoformat(str(row[0]))


def listed(dsn: str, *options: str) -> dict[str, dict[str, Any]]:
    return {item["login"]: item for item in json.loads(done(dsn, "list", "--json", *options)[0])}


# --- new passwords ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("add", "maas", "MAAS", *SUBMITS), ("rotate", "aal")])
def test_a_generated_password_is_alone_on_standard_output_and_opens_the_login(
    dsn: str, command: tuple[str, ...]
) -> None:
    password, said = done(dsn, *command, "--generate")
    assert len(password) == newpassword.LENGTH + 1
    assert password.endswith("\n")
    assert opens(dsn, command[1], password.strip())
    assert len(said) == 1
    assert password.strip() not in said[0]


def test_generated_passwords_have_enough_bits_and_nothing_that_a_dialog_or_a_reader_changes() -> None:
    many = {newpassword.generated() for _ in range(1000)}
    assert len(many) == 1000
    assert set("".join(many)) == set(newpassword.ALPHABET)
    assert len(set(newpassword.ALPHABET)) ** newpassword.LENGTH > 2**100
    assert newpassword.ALPHABET.isalnum()
    assert newpassword.ALPHABET.islower()
    assert not set("0o1li") & set(newpassword.ALPHABET)


def test_a_password_comes_from_standard_input_or_a_file_that_is_a_secret(dsn: str, tmp_path: Path) -> None:
    assert done(dsn, "rotate", "aal", "--password-file", "-", typed="van-stdin\nrest\n") == (
        "credential aal has a new password; the old one is refused from now on\n",
        [],
    )
    assert opens(dsn, "aal", "van-stdin")
    file = tmp_path / "password"
    file.write_text("uit bestand\r\n", encoding="utf-8")
    file.chmod(0o644)
    told = f"{file} can be read by every user, and so is no secret: chmod o= {file}"
    assert refused(dsn, "rotate", "aal", "--password-file", str(file)) == told
    assert opens(dsn, "aal", "van-stdin")
    file.chmod(0o640)
    done(dsn, "rotate", "aal", "--password-file", str(file))
    assert opens(dsn, "aal", "uit bestand")


def test_two_sources_of_a_password_are_refused(dsn: str) -> None:
    for more in (("--password-file", "-"), ("--hash-file", "-")):
        told = refused(dsn, "add", "maas", "MAAS", *SUBMITS, "--generate", *more, status=2)
        assert told == "Give only one source of the password."


def test_a_password_that_is_not_typed_alike_twice_is_not_taken_nor_told(dsn: str) -> None:
    result = digipoort(dsn, "credential", "rotate", "aal", typed="eerste\ntweede\nderde\nderde\n")
    assert "do not match" in result.stderr
    assert not any(typed in result.stdout + result.stderr for typed in ("eerste", "tweede", "derde"))
    assert opens(dsn, "aal", "derde")


def test_a_terminal_does_not_show_what_is_typed(dsn: str) -> None:
    leader, follower = pty.openpty()
    command = [str(Path(sys.executable).with_name("digipoort")), "credential", "rotate", "aal"]
    environment = {**os.environ, **SETTINGS, "DIRECTORY_DSN": dsn, "DIRECTORY_WRITE_DSN": dsn}
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment,
    ) as process:
        os.close(follower)
        screen = _shown(leader, b"Password: ")
        os.write(leader, b"van de terminal\n")
        screen += _shown(leader, b"confirmation: ")
        os.write(leader, b"van de terminal\n")
        output, _ = process.communicate(timeout=60)
    os.close(leader)
    assert process.returncode == 0
    assert b"terminal" not in screen + output
    assert opens(dsn, "aal", "van de terminal")


def _shown(terminal: int, last: bytes) -> bytes:
    """Return what a terminal shows, up to a prompt; that comes when the echo is off."""
    shown = b""
    while not shown.endswith(last):
        shown += os.read(terminal, 1000)
    return shown


def test_the_hash_of_another_system_is_stored_as_it_is(dsn: str, tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", "zout", "geheim"], capture_output=True, text=True, check=True
    )
    foreign = made.stdout.strip()
    file = tmp_path / "hash"
    file.write_text(f"{{SHA512-CRYPT}}{foreign}\n", encoding="ascii")
    file.chmod(0o600)
    done(dsn, "add", "maas", "MAAS", *SUBMITS, "--hash-file", str(file))
    assert stored(dsn, "maas").password == foreign
    assert opens(dsn, "maas", "geheim")
    for wrong in ("geheim", "$6$ü", "$6$a\x1b[2J", "$" + "x" * 1000, ""):
        file.write_text(wrong, encoding="utf-8")
        told = refused(dsn, "add", "x", "MAAS", *SUBMITS, "--hash-file", str(file))
        assert told.startswith(("The scheme of the stored hash is none of ", "The stored SHA512-CRYPT hash is not "))
        assert wrong not in told or not wrong


def test_no_password_is_asked_for_where_the_certificate_suffices(dsn: str) -> None:
    certificate = ("--certificate-fingerprint", FINGERPRINT, "--certificate-suffices")
    assert done(dsn, "add", "maas", "MAAS", *SUBMITS, *certificate) == ("added credential maas\n", [])
    maas = stored(dsn, "maas")
    assert (maas.certificate_fingerprint, maas.certificate_suffices) == (FINGERPRINT, True)
    assert str(maas.password).startswith("$argon2id$")
    # POP3 knows no certificate: such a login would be of no use without a password.
    both = ("--service", "pop3", *SUBMITS, "--mailbox", "b0b0", "--certificate-subject", "x", "--certificate-suffices")
    done(dsn, "add", "aal2", "AAL", *both, typed="geheim\ngeheim\n")
    assert opens(dsn, "aal2", "geheim")
    told = refused(dsn, "add", "maas2", "MAAS", *SUBMITS, *certificate)
    assert told == "This certificate suffices for another credential already."


def test_the_former_name_of_rotate_leads_to_it(dsn: str) -> None:
    assert refused(dsn, "password", "aal", status=2) == "No such command 'password'. Did you mean rotate?"


# --- successors ------------------------------------------------------------------------------------------------------


def test_a_successor_is_the_same_but_for_its_password_and_both_work_for_a_while(dsn: str) -> None:
    done(dsn, "change", "aal", "--network", "192.0.2.0/24", "--certificate-subject", "aal")
    done(dsn, "rotate", "aal", "--password-file", "-", typed="oud\n")
    before, day = stored(dsn, "aal"), today(dsn)
    password, said = done(dsn, "rotate", "aal", "--successor", "aal-2", "--generate")
    last = day + timedelta(days=14)
    assert said == [
        f"added credential aal-2, as aal is, from {day} until further notice",
        f"credential aal ends on {last}; until then both are accepted",
    ]
    assert stored(dsn, "aal") == replace(before, valid_until=last)
    new = stored(dsn, "aal-2")
    assert new == replace(before, login="aal-2", password=new.password, valid_from=day)
    assert opens(dsn, "aal-2", password.strip())
    assert opens(dsn, "aal", "oud")
    assert {name: item["state"] for name, item in listed(dsn).items()} == {"aal": "active", "aal-2": "active"}


def test_a_certificate_that_suffices_goes_over_to_the_successor(dsn: str) -> None:
    done(dsn, "change", "aal", "--certificate-fingerprint", FINGERPRINT, "--certificate-suffices")
    said = done(dsn, "rotate", "aal", "--successor", "aal2", "--generate")[1]
    assert said[2] == "the certificate without a password is aal2 from now on"
    old, new = stored(dsn, "aal"), stored(dsn, "aal2")
    assert (old.certificate_fingerprint, old.certificate_suffices) == (FINGERPRINT, False)
    assert (new.certificate_fingerprint, new.certificate_suffices) == (FINGERPRINT, True)


def test_a_successor_that_cannot_be_changes_nothing(dsn: str) -> None:
    done(dsn, "add", "aal2", "AAL", *SUBMITS, "--generate")
    before = stored(dsn, "aal")
    assert refused(dsn, "rotate", "aal", "--successor", "aal2", "--generate") == "This login exists already."
    assert refused(dsn, "rotate", "aal", "--successor", "aal", "--generate") == "This login exists already."
    assert refused(dsn, "rotate", "aal", "--successor", "Aal 3", "--generate").startswith("A login is 1 to 128")
    assert refused(dsn, "rotate", "bal", "--successor", "b", "--generate").startswith("There is no login bal.")
    assert stored(dsn, "aal") == before
    told = refused(dsn, "rotate", "aal", "--until", "2090-01-01", "--generate", status=2)
    assert told == "--until is for --successor; when a login ends: digipoort credential change --until."


DAY: Final = date(2026, 11, 26)
OLD: Final = Credential("oud", "AAL", HASH, ("submission",))


@pytest.mark.parametrize(
    ("ends", "asked", "last"),
    [
        (None, None, date(2026, 12, 10)),
        (None, date(2026, 11, 26), date(2026, 11, 26)),
        (date(2026, 12, 1), None, date(2026, 12, 1)),
        (date(2027, 12, 31), date(2027, 1, 31), date(2027, 1, 31)),
    ],
)
def test_what_ends_when_and_never_later_than_it_would_have(ends: date | None, asked: date | None, last: date) -> None:
    rotated = rotation.rotation(replace(OLD, valid_until=ends), "nieuw", "$new", DAY, asked)
    assert rotated.ending.valid_until == last
    assert rotated.successor == replace(OLD, login="nieuw", password="$new", valid_from=DAY, valid_until=ends)  # noqa: S106


@pytest.mark.parametrize(
    ("before", "asked", "sentence"),
    [
        (replace(OLD, active=False), None, "The credential oud is disabled: "),
        (replace(OLD, valid_from=date(2026, 11, 27)), None, "The credential oud starts on 2026-11-27: "),
        (replace(OLD, valid_until=date(2026, 11, 25)), None, "The credential oud ended on 2026-11-25: "),
        (OLD, date(2026, 11, 25), "2026-11-25 is over. "),
        (replace(OLD, valid_until=DAY), date(2026, 11, 27), "The credential oud ends on 2026-11-26 already"),
    ],
)
def test_nothing_overlaps_with_a_login_that_is_not_in_force(
    before: Credential, asked: date | None, sentence: str
) -> None:
    with pytest.raises(Failure, match=f"^{sentence}"):
        rotation.rotation(before, "nieuw", "$new", DAY, asked)


# --- restrictions ----------------------------------------------------------------------------------------------------


def test_restrictions_are_given_told_and_taken_away(dsn: str) -> None:
    networks = ("--network", "10.0.0.0/255.0.0.0", "--network", "2001:DB8:0::/48", "--network", "10.0.0.0/8")
    period = ("--from", "2026-01-01", "--until", "2090-12-31")
    certificate = ("--certificate-fingerprint", FINGERPRINT.lower().replace(":", ""), "--certificate-subject", "maas")
    done(dsn, "add", "maas", "MAAS", *SUBMITS, *period, *networks, *certificate, "--generate")
    maas = stored(dsn, "maas")
    assert maas.networks == ("10.0.0.0/8", "2001:db8::/48")
    assert (maas.valid_from, maas.valid_until) == (date(2026, 1, 1), date(2090, 12, 31))
    assert (maas.certificate_fingerprint, maas.certificate_subject) == (FINGERPRINT, "maas")
    said, _ = done(dsn, "change", "maas", "--network", "192.0.2.7", "--until", "", "--certificate-suffices")
    assert said == (
        "changed credential maas: certificate_suffices: False -> True, valid_until: 2090-12-31 -> -, "
        "networks: 10.0.0.0/8+2001:db8::/48 -> 192.0.2.7/32\n"
    )
    away = ("--network", "", "--from", "", "--certificate-fingerprint", "", "--certificate-subject", "")
    done(dsn, "change", "maas", *away, "--no-certificate-suffices")
    assert stored(dsn, "maas") == Credential("maas", "MAAS", maas.password, ("submission",))
    assert done(dsn, "change", "maas", *away)[0] == "credential maas is so already\n"
    lines = digipoort(dsn, "history", "maas").stdout.splitlines()
    assert "networks: 10.0.0.0/8+2001:db8::/48 -> 192.0.2.7/32" in lines[2]
    assert all("beheerder" in line for line in lines[1:])
    assert "argon2" not in "".join(lines)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--network 192.0.2.1/24", "'192.0.2.1/24' is no network: 192.0.2.1/24 has host bits set."),
        ("--network here", "'here' is no network: "),
        ("--network fe80::%eth0/64", "'fe80::%eth0/64' names an interface of one host (%)"),
        ("--network ::ffff:192.0.2.1", "'::ffff:192.0.2.1' is an IPv4 network in IPv6 form"),
        ("--until 31-12-2027", "'31-12-2027' does not match the format '%Y-%m-%d'."),
        (f"--certificate-fingerprint {'AB' * 20}", f"'{'AB' * 20}' is no SHA-256 fingerprint: 64 digits of 0-9"),
        (f"--certificate-fingerprint A{FINGERPRINT}", "is no SHA-256 fingerprint"),
        (f"--certificate-fingerprint {FINGERPRINT} --certificate-file x", "Give either --certificate-fingerprint or"),
    ],
)
def test_what_is_not_of_the_form_is_told(dsn: str, options: str, sentence: str) -> None:
    assert sentence in refused(dsn, "change", "aal", *options.split(), status=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--from 2027-01-02 --until 2027-01-01", "A credential ends on or after the day on which it starts."),
        (
            "--certificate-suffices",
            "A certificate suffices only for a credential that has a fingerprint or a subject, and the service "
            "submission.",
        ),
        ("--certificate-subject é", "A certificate's subject is a common name: 1 to 256 printable characters."),
        (" ".join(f"--network 10.0.{n}.0/24" for n in range(65)), "A credential has at most 64 networks."),
    ],
)
def test_what_the_directory_refuses_is_told(dsn: str, options: str, sentence: str) -> None:
    assert refused(dsn, "change", "aal", *options.split()) == sentence
    assert stored(dsn, "aal") == Credential("aal", "AAL", HASH, ("pop3", "submission"), "b0b0")


def test_a_certificates_fingerprint_is_what_openssl_computes(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "chain.pem"
    issued = trustme.CA().issue_cert("party.test")
    chain = b"".join(blob.bytes() for blob in [issued.private_key_pem, *issued.cert_chain_pems])
    file.write_bytes(b"a comment\n" + chain)
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(file), "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    )
    done(dsn, "change", "aal", "--certificate-file", str(file))
    assert stored(dsn, "aal").certificate_fingerprint == shown.stdout.strip().rpartition("=")[2]
    file.write_bytes(chain.replace(b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN CERTIFICATE-----\nAAAA"))
    told = refused(dsn, "change", "aal", "--certificate-file", str(file))
    assert told == f"{file}: The certificate in it is damaged."
    file.write_bytes(issued.private_key_pem.bytes())
    told = refused(dsn, "change", "aal", "--certificate-file", str(file))
    assert told == f"{file}: There is no certificate in PEM form in it."
    assert refused(dsn, "change", "aal", "--certificate-file", f"{file}.no").endswith("No such file or directory.")


def test_a_fingerprint_is_taken_in_any_usual_spelling() -> None:
    for spelling in (FINGERPRINT, FINGERPRINT.lower(), FINGERPRINT.replace(":", ""), f" {FINGERPRINT}\n"):
        assert fingerprints.parse_fingerprint(spelling) == FINGERPRINT
    for wrong in ("", FINGERPRINT[:-1], FINGERPRINT[:-3], FINGERPRINT.replace("A1:A1", "A1A1", 1), "G" * 64):
        with pytest.raises(ValueError, match="is no SHA-256 fingerprint"):
            fingerprints.parse_fingerprint(wrong)


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_tells_each_state_in_a_word_by_the_directorys_day(dsn: str) -> None:
    day = today(dsn)
    made = {
        "a-not-yet": ("--from", str(day + timedelta(1)), "--until", str(day + timedelta(3))),
        "b-first-day": ("--from", str(day)),
        "c-last-day": ("--until", str(day)),
        "d-expired": ("--until", str(day - timedelta(1))),
        "e-disabled": ("--until", str(day + timedelta(3))),
        "f-later": ("--until", str(day + timedelta(15))),
    }
    for login, period in made.items():
        done(dsn, "add", login, "AAL", *SUBMITS, *period, "--generate")
    done(dsn, "disable", "e-disabled")
    done(dsn, "add", "g-party", "MAAS", *SUBMITS, "--until", str(day), "--generate")
    assert digipoort(dsn, "party", "disable", "MAAS", "--yes").exit_code == 0
    assert {login: item["state"] for login, item in listed(dsn).items()} == {
        "a-not-yet": "not-yet",
        "aal": "active",
        "b-first-day": "active",
        "c-last-day": "active",
        "d-expired": "expired",
        "e-disabled": "disabled",
        "f-later": "active",
        "g-party": "party-disabled",
    }
    assert list(listed(dsn, "--expiring", "14")) == ["a-not-yet", "c-last-day"]
    assert list(listed(dsn, "--expiring", "0")) == ["c-last-day"]
    assert list(listed(dsn, "--expiring", "15", "--party", "AAL", "--limit", "5")) == [
        "a-not-yet",
        "c-last-day",
        "f-later",
    ]
    assert json.loads(done(dsn, "show", "d-expired", "--json")[0])["state"] == "expired"
    assert ("state", "expired") in [tuple(line.split()) for line in done(dsn, "show", "d-expired")[0].splitlines()]


def test_a_table_has_words_for_what_json_has_in_full(dsn: str) -> None:
    done(dsn, "change", "aal", "--certificate-fingerprint", FINGERPRINT, "--network", "192.0.2.0/24")
    heading, line = done(dsn, "list")[0].splitlines()
    assert heading.split() == [
        *("LOGIN", "PARTY", "SERVICES", "MAILBOX", "STATE", "VALID_FROM", "VALID_UNTIL", "NETWORKS", "CERTIFICATE"),
    ]
    assert line.split() == ["aal", "AAL", "pop3", "submission", "b0b0", "active", "-", "-", "192.0.2.0/24", "required"]
    item = listed(dsn)["aal"]
    assert item["certificate_fingerprint"] == FINGERPRINT
    assert (item["active"], item["certificate_suffices"], item["certificate_subject"]) == (True, False, None)
    assert FINGERPRINT in done(dsn, "show", "aal")[0]


# --- descriptions ----------------------------------------------------------------------------------------------------

DESCRIBED: Final = f"""
[[credential]]
login = "aal"
party = "AAL"
password_hash = "{HASH}"
services = ["submission"]
valid_from = 2026-01-01
valid_until = 2090-12-31
networks = ["10.0.0.0/255.0.0.0", "10.0.0.0/8", "192.0.2.7", "::102:304", "2001:0DB8::/32", "1:0:2:3:4:5:6:7"]
certificate_fingerprint = "{"a1" * 32}"
certificate_subject = "aal"
certificate_suffices = true
"""


def test_a_description_in_other_spellings_leaves_nothing_to_change(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "aal.toml"
    file.write_text(DESCRIBED, encoding="utf-8")
    first = digipoort(dsn, "apply", str(file))
    assert (first.exit_code, first.stdout.splitlines()[-1]) == (0, "0 to add, 1 to change, 0 to remove")
    assert digipoort(dsn, "plan", str(file)).stdout == "nothing to change\n"
    exported = tmp_path / "all.toml"
    assert digipoort(dsn, "export", "-o", str(exported)).exit_code == 0
    assert digipoort(dsn, "plan", str(exported), "--prune").stdout == "nothing to change\n"
    assert '"::102:304/128"' in exported.read_text(encoding="utf-8")
    assert FINGERPRINT in exported.read_text(encoding="utf-8")


def test_a_fingerprint_in_a_description_is_held_to_the_form(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "aal.toml"
    file.write_text(DESCRIBED.replace("a1" * 32, "a1" * 20), encoding="utf-8")
    result = digipoort(dsn, "plan", str(file))
    assert result.exit_code == 1
    assert "[[credential]] number 1: " in result.stderr
    assert "is no SHA-256 fingerprint" in result.stderr


def test_a_network_with_an_interface_in_it_is_none() -> None:
    with pytest.raises(ValueError, match="names an interface"):
        access.parse_network("fe80::1%eth0")
