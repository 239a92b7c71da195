"""`digipoort plan`, `apply` and `export` as an admin and as Ansible use them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import psycopg
import pytest

from digipoort import passwords
from digipoort.directory import snapshot
from digipoort.directory.objects import Credential
from tests.unit.directory_samples import HASH, SAMPLE, digipoort, fill

if TYPE_CHECKING:
    from pathlib import Path

OTHER_HASH = HASH.replace("m=19456", "m=65536")


def _file(folder: Path, text: str) -> str:
    path = folder / "directory.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_plan_shows_every_kind_of_change_and_changes_nothing(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    text = SAMPLE.replace("Bloemen B.V.", "Bloemen N.V.").replace(HASH, OTHER_HASH)
    text = text.replace("[[connection]]", '[[mailbox]]\nmailbox = "c0c0"\nparty = "MAAS"\n\n[[connection]]')
    shown = digipoort(directory_dsn, "plan", "--passwords", _file(tmp_path, text)).stdout.splitlines()
    assert shown == [
        "~ party AAL name: Bloemen B.V. -> Bloemen N.V.",
        "+ mailbox c0c0 party=MAAS",
        "~ credential aal password: (hidden) -> (another)",
        "1 to add, 2 to change, 0 to remove",
    ]
    assert digipoort(directory_dsn, "plan", "--passwords", _file(tmp_path, text)).stdout.splitlines() == shown


def test_an_older_description_takes_back_neither_a_rotation_nor_another_hash(
    directory_dsn: str, tmp_path: Path
) -> None:
    fill(directory_dsn)
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text("gelekt", encoding="utf-8")
    by_file = SAMPLE.replace(f'password_hash = "{HASH}"', 'password_file = "password"')
    assert digipoort(directory_dsn, "apply", "--passwords", _file(tmp_path, by_file)).exit_code == 0
    assert _verifies(directory_dsn, "gelekt")
    rotated = digipoort(directory_dsn, "credential", "rotate", "aal", "--password-file", "-", typed="nieuw\n")
    assert rotated.exit_code == 0
    for older in (SAMPLE, by_file):
        applied = digipoort(directory_dsn, "apply", _file(tmp_path, older))
        assert (applied.exit_code, applied.stdout) == (0, "nothing to change\n")
    ended = by_file.replace('services = ["pop3", ', 'valid_until = 2090-12-31\nservices = ["pop3", ')
    changed = digipoort(directory_dsn, "apply", _file(tmp_path, ended))
    assert changed.stdout.splitlines()[0] == "~ credential aal valid_until: - -> 2090-12-31"
    assert _verifies(directory_dsn, "nieuw")
    again = digipoort(directory_dsn, "apply", "--passwords", _file(tmp_path, by_file))
    assert "~ credential aal password: (hidden) -> (another)" in again.stdout
    assert _verifies(directory_dsn, "gelekt")


def _verifies(dsn: str, password: str) -> bool:
    with psycopg.connect(dsn) as connection:
        stored = snapshot.credential(connection, "aal").password
    assert isinstance(stored, str)
    return passwords.verify_password(stored, password.encode())


CERTIFICATE = """
[[credential]]
login = "{login}"
party = "AAL"
password_hash = "{hash}"
services = ["submission"]
certificate_subject = "{subject}"
certificate_suffices = {suffices}
"""


@pytest.mark.parametrize(
    "wanted",
    [
        {"aal-a": ("b", "true"), "aal-b": ("a", "true")},
        {"aal-a": ("b", "true"), "aal-b": ("b", "false")},
        {"aal-a": ("b", "true"), "aal-b": ("c", "true")},
        {"aal-0": ("b", "true"), "aal-a": ("a", "true"), "aal-b": ("a", "false")},
        {"aal-a": ("b", "true")},
    ],
)
def test_a_certificate_that_suffices_moves_to_another_login(
    directory_dsn: str, tmp_path: Path, wanted: dict[str, tuple[str, str]]
) -> None:
    fill(directory_dsn)
    before = {"aal-a": ("a", "true"), "aal-b": ("b", "true")}
    for step in (before, wanted, before):
        tables = (CERTIFICATE.format(login=n, hash=HASH, subject=c, suffices=s) for n, (c, s) in step.items())
        everything = digipoort(directory_dsn, "export").stdout.partition("[[credential]]")[0] + "".join(tables)
        applied = digipoort(directory_dsn, "apply", "--prune", "--yes", _file(tmp_path, everything))
        assert applied.exit_code == 0, applied.stderr
        with psycopg.connect(directory_dsn) as connection:
            items = [item for item in snapshot.objects(connection) if isinstance(item, Credential)]
        assert {
            item.login: (item.certificate_subject, str(item.certificate_suffices).lower()) for item in items
        } == step


def test_a_certificate_cannot_suffice_for_two_logins(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    tables = (CERTIFICATE.format(login=name, hash=HASH, subject="a", suffices="true") for name in ("aal-a", "aal-b"))
    refused = digipoort(directory_dsn, "apply", _file(tmp_path, "".join(tables)))
    assert (refused.exit_code, refused.stderr) == (
        1,
        "digipoort: This certificate suffices for another credential already.\n",
    )


def test_applying_twice_changes_nothing_the_second_time(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn, "")
    file = _file(tmp_path, SAMPLE)
    assert digipoort(directory_dsn, "apply", "--check", file).exit_code == 2
    first = digipoort(directory_dsn, "apply", file)
    assert (first.exit_code, first.stdout.splitlines()[-1]) == (0, "8 to add, 0 to change, 0 to remove"), first.stderr
    again = digipoort(directory_dsn, "apply", file)
    assert (again.exit_code, again.stdout) == (0, "nothing to change\n")
    checked = digipoort(directory_dsn, "apply", "--check", file)
    assert (checked.exit_code, checked.stdout) == (0, "nothing to change\n")
    with psycopg.connect(directory_dsn) as connection:
        actors = connection.execute("SELECT DISTINCT actor FROM change_log WHERE object = 'credential'").fetchall()
    assert actors == [("beheerder",)]


def test_what_is_exported_and_applied_elsewhere_is_the_same(
    directory_dsn: str, empty_database: str, tmp_path: Path
) -> None:
    fill(directory_dsn)
    for arguments in (
        ("party", "disable", "MAAS", "--yes"),
        ("credential", "disable", "aal"),
        ("flow", "limit", "AGS", "77"),
    ):
        assert digipoort(directory_dsn, *arguments).exit_code == 0
    exported = tmp_path / "export.toml"
    assert digipoort(directory_dsn, "export", "-o", str(exported)).exit_code == 0
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert digipoort(empty_database, "migrate").exit_code == 0
    applied = digipoort(empty_database, "apply", "--prune", str(exported))
    assert applied.exit_code == 0, applied.stderr
    assert digipoort(empty_database, "export").stdout == digipoort(directory_dsn, "export").stdout
    assert digipoort(empty_database, "apply", "--check", "--prune", str(exported)).exit_code == 0
    again = digipoort(directory_dsn, "export", "-o", str(exported))
    assert again.exit_code == 1
    assert "File exists" in again.stderr


def test_removing_asks_first(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    before = digipoort(directory_dsn, "export").stdout
    file = _file(tmp_path, before[: before.index("[[connection]]")] + before[before.index("[[credential]]") :])
    refused = digipoort(directory_dsn, "apply", "--prune", file, typed="n\n")
    assert refused.exit_code == 1
    assert digipoort(directory_dsn, "export").stdout == before
    assert digipoort(directory_dsn, "apply", file).stdout == "nothing to change\n"
    done = digipoort(directory_dsn, "apply", "--prune", "--yes", file)
    assert done.stdout == "- connection bloemen@party.test AGS 2020-01-01\n0 to add, 0 to change, 1 to remove\n"
    assert "[[connection]]" not in digipoort(directory_dsn, "export").stdout


@pytest.mark.parametrize("remove", [False, True])
def test_a_mailbox_with_mail_stays_its_party_s(directory_dsn: str, tmp_path: Path, remove: bool) -> None:  # noqa: FBT001
    fill(directory_dsn)
    mailbox = '[[mailbox]]\nmailbox = "c0c0"\nparty = "{}"\n'
    settings = {"MAIL_DIRECTORY": str(tmp_path / "mail")}
    waiting = tmp_path / "mail" / "c0c0" / "Maildir" / "new" / "1.M1.gateway"
    waiting.parent.mkdir(parents=True)
    waiting.touch()
    # As after a restore: the mail was there before the directory was.
    added = digipoort(directory_dsn, "apply", _file(tmp_path, mailbox.format("MAAS")), **settings)
    assert added.exit_code == 0, added.stderr
    before = digipoort(directory_dsn, "export").stdout
    without = before.replace(f"{mailbox.format('MAAS')}\n", "")
    assert without != before
    file = _file(tmp_path, without if remove else mailbox.format("AAL"))
    words = ("apply", "--yes", *(["--prune"] if remove else []), file)
    refused = digipoort(directory_dsn, *words, **settings)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("digipoort: Messages wait in mailbox c0c0 on this host")
    assert digipoort(directory_dsn, "export").stdout == before
    waiting.unlink()
    done = digipoort(directory_dsn, *words, **settings)
    assert done.exit_code == 0, done.stderr
    assert digipoort(directory_dsn, "export").stdout != before


def test_a_physical_address_moves_to_another_logical_one(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    text = digipoort(directory_dsn, "export").stdout.replace("ags@gov.test", "ags-nieuw@gov.test")
    done = digipoort(directory_dsn, "apply", "--prune", "--yes", _file(tmp_path, text))
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 to add, 0 to change, 1 to remove"
    assert digipoort(directory_dsn, "export").stdout == text


def test_a_fault_in_the_middle_changes_nothing(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    before = digipoort(directory_dsn, "export").stdout
    text = '[[party]]\ncode = "NIEUW"\nname = "N"\nkind = "private"\n'
    text += '[[mailbox]]\nmailbox = "HOOFD"\nparty = "NIEUW"\n'
    failed = digipoort(directory_dsn, "apply", _file(tmp_path, text))
    assert failed.exit_code == 1
    assert failed.stderr == "digipoort: A mailbox id is 4 to 32 characters, a-z and 0-9.\n"
    unknown = digipoort(directory_dsn, "apply", _file(tmp_path, '[[mailbox]]\nmailbox = "c0c0"\nparty = "NERGENS"\n'))
    assert (unknown.exit_code, unknown.stderr) == (1, "digipoort: There is no party NERGENS: digipoort party add.\n")
    assert digipoort(directory_dsn, "export").stdout == before


def test_foreign_domains_are_refused_before_anything_is_compared(directory_dsn: str, tmp_path: Path) -> None:
    text = '[[address]]\naddress = "a@elders.test"\nparty = "AAL"\nmailbox = "b0b0"\n'
    refused = digipoort(directory_dsn, "plan", _file(tmp_path, text))
    assert refused.exit_code == 1
    assert "is not a logical domain" in refused.stderr
