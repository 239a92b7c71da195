"""What a plan says: pure comparisons, without a database."""

from __future__ import annotations

from datetime import date

import pytest

from digipoort import passwords
from digipoort.directory.objects import Credential, FlowConnection, Mailbox, NewPassword, Party
from digipoort.directory.plan import Added, Changed, DescribedTwiceError, Removed, plan

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


def test_a_password_from_a_file_is_compared_with_the_stored_hash() -> None:
    stored = Credential("aal", "AAL", passwords.hash_password(b"geheim"), ("submission",))
    same = Credential("aal", "AAL", NewPassword(b"geheim"), ("submission",))
    other = Credential("aal", "AAL", NewPassword(b"anders"), ("submission",))
    damaged = Credential("aal", "AAL", "$md5$x", ("submission",))
    assert plan([stored], [same], prune=True) == []
    assert plan([stored], [other], prune=True) == [Changed(stored, other)]
    assert plan([damaged], [same], prune=True) == [Changed(damaged, same)]
    assert list(Changed(stored, other).differences()) == [("password", "(hidden)", "(another)")]


def test_the_same_object_twice_is_a_fault() -> None:
    with pytest.raises(DescribedTwiceError, match="^party AAL is described twice.$"):
        plan([], [AAL, BOX, Party("AAL", "Anders", "private")], prune=False)
