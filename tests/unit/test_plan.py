"""What a plan says: pure comparisons, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from digipoort import passwords
from digipoort.directory.objects import Credential, FlowConnection, Mailbox, NewPassword, Party
from digipoort.directory.plan import Added, Changed, DescribedTwiceError, Removed, plan
from tests.unit.directory_samples import HASH

AAL = Party("AAL", "Bloemen B.V.", "private")
MAAS = Party("MAAS", "Maas B.V.", "private")
BOX = Mailbox("b0b0", "AAL")


def test_what_is_new_changed_and_not_mentioned() -> None:
    renamed = Party("AAL", "Bloemen N.V.", "private")
    changes = plan([AAL, MAAS, BOX], [Mailbox("c0c0", "AAL"), renamed], prune=False)
    assert changes == [Changed(AAL, renamed), Added(Mailbox("c0c0", "AAL"))]
    assert list(Changed(AAL, renamed).differences()) == [("name", "Bloemen B.V.", "Bloemen N.V.")]


def test_pruning_removes_what_is_not_described() -> None:
    assert plan([AAL, MAAS, BOX], [AAL], prune=True) == [Removed(MAAS), Removed(BOX)]
    assert plan([AAL, MAAS, BOX], [BOX, MAAS, AAL], prune=True) == []


def test_a_connections_first_day_is_part_of_its_name() -> None:
    old = FlowConnection("a@p.test", "AGS", date(2026, 1, 1))
    ended = FlowConnection("a@p.test", "AGS", date(2026, 1, 1), date(2026, 6, 30))
    later = FlowConnection("a@p.test", "AGS", date(2026, 7, 1))
    assert plan([old], [later, ended], prune=True) == [Changed(old, ended), Added(later)]


STORED = Credential("aal", "AAL", passwords.hash_password(b"geheim"), ("submission",))


@pytest.mark.parametrize("described", [HASH, NewPassword(b"geheim"), NewPassword(b"anders")])
def test_a_credential_that_exists_keeps_its_password(described: str | NewPassword) -> None:
    wanted = replace(STORED, password=described)
    assert plan([STORED], [wanted], prune=True) == []
    assert plan([], [wanted], prune=True) == [Added(wanted)]
    ended = replace(STORED, valid_until=date(2026, 12, 31))
    assert plan([STORED], [replace(ended, password=described)], prune=True) == [Changed(STORED, ended)]


def test_passwords_of_a_description_replace_others_only_where_that_is_asked_for() -> None:
    hashed, other = replace(STORED, password=HASH), replace(STORED, password=NewPassword(b"anders"))
    assert plan([STORED], [STORED], prune=True, passwords=True) == []
    assert plan([STORED], [hashed], prune=True, passwords=True) == [Changed(STORED, hashed)]
    assert plan([STORED], [other], prune=True, passwords=True) == [Changed(STORED, other)]
    assert list(Changed(STORED, other).differences()) == [("password", "(hidden)", "(another)")]


def test_the_same_password_in_a_file_keeps_the_stored_hash() -> None:
    same = replace(STORED, password=NewPassword(b"geheim"))
    assert plan([STORED], [same], prune=True, passwords=True) == []
    ended = replace(same, active=False)
    assert plan([STORED], [ended], prune=True, passwords=True) == [Changed(STORED, replace(STORED, active=False))]
    damaged = replace(STORED, password="$md5$x")  # noqa: S106
    assert plan([damaged], [same], prune=True, passwords=True) == [Changed(damaged, same)]


def test_the_same_object_twice_is_a_fault() -> None:
    with pytest.raises(DescribedTwiceError, match="^party AAL is described twice.$"):
        plan([], [AAL, BOX, Party("AAL", "Anders", "private")], prune=False)
