"""Seed files: adding twice changes nothing, and every fault of a file is told in a sentence."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import psycopg
import pytest

from digipoort import passwords
from digipoort.directory import description, lookup, names, queries, seed, session
from digipoort.directory.description import DescriptionError
from digipoort.directory.objects import (
    DEFAULT_SIZE_LIMIT,
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    NewPassword,
    Party,
    Remote,
)
from digipoort.directory.seed import Seeded
from tests.unit.directory_samples import HASH, SAMPLE


def test_the_packaged_seed_has_two_agencies_and_eleven_flows() -> None:
    items = seed.packaged_seed()
    flows = [item for item in items if isinstance(item, Flow)]
    assert [item.code for item in items if isinstance(item, Party)] == ["DOUANE", "NVWA"]
    assert [flow.code for flow in flows if flow.owner == "NVWA"] == [
        "VOORAANMELDING-DIERLIJK",
        "VOORAANMELDING-PLANTAARDIG",
        "E-LOGBOEK",
    ]
    assert len(flows) == 11
    assert {flow.size_limit for flow in flows} == {DEFAULT_SIZE_LIMIT}


def test_objects_come_out_in_the_order_in_which_they_refer_to_each_other() -> None:
    text = "".join(f"[[{part}" for part in reversed(SAMPLE.split("[[")[1:]))
    assert description.parse(text, Path()) == [
        Party("MAAS", "Maas B.V.", "private"),
        Party("AAL", "Bloemen B.V.", "private"),
        Destination("agency.test", "[MX.agency.test]:2525", "secure", "mx.agency.test"),
        Mailbox("b0b0", "AAL"),
        Address("ags@gov.test", "DOUANE", "AGS", Remote("intake", "agency.test")),
        Address("bloemen@party.test", "AAL", None, "b0b0"),
        FlowConnection("bloemen@party.test", "AGS", date(2020, 1, 1), None),
        Credential("aal", "AAL", HASH, ("pop3", "submission"), "b0b0"),
    ]


def test_seeding_twice_changes_nothing(directory_dsn: str) -> None:
    items = [*seed.packaged_seed(), *description.parse(SAMPLE, Path())]
    with session.writing(directory_dsn, "tester") as connection:
        assert seed.apply(connection, items) == Seeded(added=21, present=0)
    with psycopg.connect(directory_dsn) as connection:
        connection.execute("UPDATE flow SET size_limit = 5 WHERE code = 'AGS'")
        before = connection.execute(queries.CHANGE_COUNTER).fetchone()
    with session.writing(directory_dsn, "tester") as connection:
        assert seed.apply(connection, items) == Seeded(added=0, present=21)
        assert connection.execute(queries.CHANGE_COUNTER).fetchone() == before
        assert connection.execute("SELECT size_limit FROM flow WHERE code = 'AGS'").fetchone() == (5,)


def test_all_is_added_or_nothing(directory_dsn: str) -> None:
    items: list[DirectoryObject] = [Party("X", "x", "private"), Mailbox("b0b0", "ABSENT")]
    with (
        pytest.raises(names.UnknownObjectError, match=r"^There is no party ABSENT: digipoort party add\.$"),
        session.writing(directory_dsn, "tester") as connection,
    ):
        seed.apply(connection, items)
    with session.reading(directory_dsn) as connection, lookup.listed(connection, Party, {}) as listed:
        assert list(listed.rows) == []


def test_a_password_file_is_relative_to_the_seed_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"geheim\r\nnot this line\n")
    (tmp_path / "password").chmod(0o640)
    path = tmp_path / "seed.toml"
    path.write_text(
        '[[credential]]\nlogin = "aal"\nparty = "AAL"\nservices = ["submission"]\npassword_file = "password"\n',
        encoding="utf-8",
    )
    (item,) = description.read(path)
    assert isinstance(item, Credential)
    assert item.password == NewPassword(b"geheim")
    assert passwords.verify_password(description.password_hash(item.password), b"geheim")
    assert "geheim" not in repr(item)


def test_a_password_file_that_every_user_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"geheim")
    file.chmod(0o644)
    text = CREDENTIAL + 'password_file = "password"\n'
    told = re.escape(f"{file} can be read by every user, and so is no secret: chmod o= {file}")
    with pytest.raises(DescriptionError, match=f"^.* the password in password cannot be used: {told}$"):
        description.parse(text, tmp_path)


FOREIGN = "$y$j9T$CXxsmwiB5uiWCMn/bUnAM/$Vis187C362qZJImGLhjBTXlNIwKyMbv7v2k2Q6a50G5"


def test_a_hash_of_another_system_loses_what_dovecot_put_before_it() -> None:
    (item,) = description.parse(CREDENTIAL + f'password_hash = "{{crypt}}{FOREIGN}"\n', Path())
    assert isinstance(item, Credential)
    assert item.password == FOREIGN


CREDENTIAL = '[[credential]]\nlogin = "a"\nparty = "A"\nservices = ["submission"]\n'
ADDRESS = '[[address]]\naddress = "a@b.test"\nparty = "A"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[party", "The description is not TOML: .*"),
        ("[[partij]]\n", "The description has unknown tables: partij."),
        ("[party]\n", r"Write \[\[party\]\], with two brackets: there may be several."),
        ("party = [1]\n", r"\[\[party\]\] number 1 is not a table."),
        ('[[party]]\ncode = "A"\nkind = "private"\n', r"\[\[party\]\] number 1 has no name."),
        ('[[party]]\ncode = 1\nname = "A"\nkind = "private"\n', r"\[\[party\]\] number 1: code is not a string."),
        (
            '[[party]]\ncode = "A"\nname = "A"\nkind = "private"\nactive = true\ncolour = 1\nage = 2\n',
            r"\[\[party\]\] number 1 has unknown keys: age, colour.",
        ),
        (
            '[[flow]]\ncode = "A"\nname = "A"\nowner = "A"\nsize_limit = true\n',
            r"\[\[flow\]\] number 1: size_limit is not a number.",
        ),
        (
            '[[connection]]\naddress = "a@b.test"\nflow = "A"\nvalid_from = 2020-01-01T00:00:00\n',
            r"\[\[connection\]\] number 1: valid_from is not a date.",
        ),
        (ADDRESS, r"\[\[address\]\] number 1 needs either mailbox or remote."),
        (ADDRESS + 'mailbox = "b0b0"\nremote = "a@b.test"\n', r"\[\[address\]\] number 1 needs either .*"),
        (ADDRESS + 'remote = "a"\n', r"\[\[address\]\] number 1: remote is not user@domain."),
        (CREDENTIAL, r"\[\[credential\]\] number 1 needs either password_hash or password_file."),
        (CREDENTIAL + 'password = "x"\n', r"\[\[credential\]\] number 1 needs either .*"),
        (
            CREDENTIAL + 'password_file = "absent"\n',
            r"\[\[credential\]\] number 1: the password in absent cannot be used: .*",
        ),
        (
            CREDENTIAL + 'password_hash = "geheim"\n',
            r"\[\[credential\]\] number 1: password_hash cannot be used: The scheme of the stored hash is none of .*",
        ),
        (
            CREDENTIAL + 'password_hash = "$argon2id$sample"\n',
            r"\[\[credential\]\] number 1: password_hash cannot be used: The stored argon2id hash is not well-formed.",
        ),
        (
            CREDENTIAL + f'password_hash = "{{BLF-CRYPT}}{FOREIGN}"\n',
            r"\[\[credential\]\] number 1: password_hash cannot be used: The hash is yescrypt, but its prefix .*",
        ),
    ],
)
def test_a_fault_of_the_file_has_its_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DescriptionError, match=f"^{sentence}$"):
        description.parse(text, Path())


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="cannot be read"):
        description.read(tmp_path / "absent.toml")
