"""The questions about earlier submissions: what one end writes the other reads, and nothing else is understood."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digipoort.framing import RequestMalformed
from digipoort.resubmission import (
    History,
    Question,
    Request,
    Standing,
    Submitted,
    Unanswered,
    format_answer,
    format_question,
    format_unanswered,
    parse_answer,
    parse_question,
)
from digipoort_policyd.resubmission import message_key, standing

EARLIER = "DP-20260101-0000000000000000"
DIGEST = "0f" * 32
MESSAGE = Submitted("DP-20260102-0123456789ABCDEF", b"a@party.test", b"ags@gov.test", b"<1@party.test>", DIGEST)
ASKED = (
    b"request=claim\nreference=DP-20260102-0123456789ABCDEF\nsender=a@party.test\nrecipient=ags@gov.test\n"
    b"message_id=<1@party.test>\ndigest=" + DIGEST.encode() + b"\n\n"
)
PRINTABLE = st.binary(min_size=1, max_size=60).map(lambda octets: bytes(33 + octet % 94 for octet in octets))


def test_a_question_has_the_documented_form() -> None:
    assert format_question(Question(Request.CLAIM, MESSAGE)) == ASKED


@given(st.sampled_from(Request), PRINTABLE, PRINTABLE, PRINTABLE)
def test_a_question_is_read_as_it_was_asked(request: Request, sender: bytes, recipient: bytes, name: bytes) -> None:
    question = Question(request, Submitted(EARLIER, sender, recipient, name, DIGEST))
    assert parse_question(format_question(question)) == question


@pytest.mark.parametrize("value", [b"", b"a b", b"a\nrequest=release", b"a\0", b"\xff"])
def test_a_value_cannot_be_another_attribute(value: bytes) -> None:
    with pytest.raises(ValueError, match="printable"):
        format_question(Question(Request.CLAIM, replace(MESSAGE, message_id=value)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"request=claim", b"request=forget"),
        (b"request=claim\n", b""),
        (b"request=claim", b"request\xff"),
        (b"sender=a@party.test", b"sender="),
        (b"recipient=ags@gov.test\n", b""),
        (b"<1@party.test>", b"<1@party.test> <2@party.test>"),
        (b"=DP-", b"=DX-"),
        (b"digest=0f", b"digest=0F"),
        (b"digest=0f", b"digest="),
        (b"sender=a", b"sender=\0a"),
    ],
)
def test_what_no_milter_would_ask_is_malformed(old: bytes, new: bytes) -> None:
    assert ASKED.count(old) == 1
    with pytest.raises(RequestMalformed):
        parse_question(ASKED.replace(old, new))


@given(st.binary(max_size=200))
def test_any_octets_are_a_question_or_malformed(block: bytes) -> None:
    try:
        question = parse_question(block + b"\n\n")
    except RequestMalformed:
        return
    assert format_question(question)


@pytest.mark.parametrize(
    "history", [History(Standing.FIRST), History(Standing.REPEATED, EARLIER), History(Standing.REUSED, EARLIER)]
)
def test_an_answer_is_read_as_it_was_given(history: History) -> None:
    assert parse_answer(format_answer(history)) == history


@pytest.mark.parametrize(
    "block",
    [
        format_unanswered("DGP-9001"),
        b"\n\n",
        b"standing=\n\n",
        b"standing=unknown\n\n",
        b"standing=repeated\n\n",
        b"standing=reused\nearlier=DP-1\n\n",
        b"standing=first\n\0\n\n",
        b"reason=DGP-9001\nstanding=first\n\n",
    ],
)
def test_anything_else_is_no_answer(block: bytes) -> None:
    with pytest.raises(Unanswered):
        parse_answer(block)


def test_no_answer_tells_why() -> None:
    with pytest.raises(Unanswered, match="^DGP-9001$"):
        parse_answer(format_unanswered("DGP-9001"))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (None, History(Standing.FIRST)),
        ((MESSAGE.reference, bytes.fromhex(DIGEST)), History(Standing.FIRST)),
        ((MESSAGE.reference, b"\0" * 32), History(Standing.FIRST)),
        ((EARLIER, bytes.fromhex(DIGEST)), History(Standing.REPEATED, EARLIER)),
        ((EARLIER, b"\0" * 32), History(Standing.REUSED, EARLIER)),
    ],
)
def test_what_is_kept_decides(kept: tuple[str, bytes] | None, expected: History) -> None:
    assert standing(MESSAGE, kept) == expected


def test_a_key_is_the_messages_name_for_one_recipient() -> None:
    key = message_key(MESSAGE)
    assert key == hashlib.sha256(b"<1@party.test>\0ags@gov.test").digest()
    assert message_key(replace(MESSAGE, recipient=b"AGS@gov.test")) == key
    assert message_key(replace(MESSAGE, message_id=b"<1@PARTY.test>")) != key
    assert message_key(replace(MESSAGE, recipient=b"emcs@gov.test")) != key
