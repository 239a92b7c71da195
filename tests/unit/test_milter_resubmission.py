"""What resubmissions do to verdicts and receipts: who is asked what, what follows from the answer, what waits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from digipoort.interface.measures import Measures
from digipoort.interface.profile import InterfaceProfile
from digipoort.profiles import FlowProfile, Profiles
from digipoort.resubmission import History, Policy, Question, Request, Standing, Submitted, Unanswered
from digipoort_milter.acceptance import Acceptance
from digipoort_milter.outcome import Outcome, ReplaceBody
from digipoort_milter.receipt import ReceiptMessage
from digipoort_milter.repetition import sole_message_id
from tests.milter_samples import (
    DELAYED,
    DIGEST,
    EXPIRED_LATE,
    MAIN_FIELDS,
    REFERENCE,
    REFUSED_AT_HOP,
    REFUSED_LATE,
    RELAYED,
    Fate,
    logger,
    no_macro,
    notification,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

EARLIER = "DP-20251231-ZZZZZZZZZZZZZZZZ"
FIRST = History(Standing.FIRST)
REPEATED = History(Standing.REPEATED, EARLIER)
REUSED = History(Standing.REUSED, EARLIER)
BODY = b"UNA:+.? '\r\n"
HEADER = (
    ("From", b" trader@logical.example"),
    ("To", b" ags@logical.example, emcs@logical.example"),
    ("Date", b" Fri, 2 Jan 2026 00:00:00 +0000"),
)
MESSAGE_ID = ("Message-ID", b" (one)\r\n <1@trader.example> (two)")
EXPIRED_AT_HOP = Fate(action="failed", status="4.3.0", diagnostic="smtp; 451 4.3.0 DGP-9001 directory")


@dataclass(slots=True)
class Memory:
    """Stands for the policy daemon: says the same of every message, and notes what it was asked."""

    says: History | Unanswered = FIRST
    asked: list[Question] = field(default_factory=list)

    def __call__(self, questions: Sequence[Question]) -> list[History]:
        """Answer, or raise what is to be raised."""
        self.asked += questions
        if isinstance(self.says, Unanswered):
            raise self.says
        return [self.says for _ in questions]


def profiles(policy: Policy = Policy.TELL, off: frozenset[str] = frozenset()) -> Profiles:
    flow = FlowProfile("AGS", 1_000_000, InterfaceProfile(off=InterfaceProfile().off | off), policy)
    return Profiles({"ags@logical.example": flow, "emcs@logical.example": flow}, {"AGS": flow})


def judged(
    memory: Memory,
    known: Profiles | None = None,
    *added: tuple[str, bytes],
    recipients: tuple[bytes, ...] = (b"<AGS@logical.example>",),
) -> list[str]:
    """Return the codes of acceptance's verdict on a message with these fields added."""
    acceptance = Acceptance(b"<Trader@logical.example>", known or profiles(), memory, logger())
    for recipient in recipients:
        acceptance.recipient(recipient)
    digest = f" sha256={hashlib.sha256(BODY).hexdigest()}".encode()
    marks = (
        ("X-Digipoort-Reference", b" " + REFERENCE.encode()),
        ("X-Digipoort-Digest", digest),
        ("X-Digipoort-Measures", b" " + Measures(100, 100, 4, 0, 76, bare=False, nul=False).text().encode()),
    )
    for name, value in (*HEADER, *(added or (MESSAGE_ID,)), *marks):
        acceptance.header(name, value)
    acceptance.body(BODY)
    return [finding.text().partition(" The")[0] for finding in acceptance.finish(no_macro).findings]


def test_acceptance_claims_the_message_for_its_recipient() -> None:
    memory = Memory()
    assert judged(memory) == []
    submitted = Submitted(
        REFERENCE,
        b"trader@logical.example",
        b"ags@logical.example",
        b"<1@trader.example>",
        hashlib.sha256(BODY).hexdigest(),
    )
    assert memory.asked == [Question(Request.CLAIM, submitted)]


def test_each_recipient_is_a_submission_of_its_own() -> None:
    memory = Memory()
    judged(memory, recipients=(b"<ags@logical.example>", b"<emcs@logical.example>"))
    assert [question.message.recipient for question in memory.asked] == [
        b"ags@logical.example",
        b"emcs@logical.example",
    ]


@pytest.mark.parametrize(
    ("policy", "says", "code"),
    [
        (Policy.ACCEPT, REPEATED, None),
        (Policy.TELL, REPEATED, None),
        (Policy.REFUSE, REPEATED, f"DGP-3042 (earlier={EARLIER})"),
        (Policy.REFUSE, FIRST, None),
        (Policy.ACCEPT, REUSED, f"DGP-3043 (earlier={EARLIER})"),
        (Policy.TELL, REUSED, f"DGP-3043 (earlier={EARLIER})"),
        (Policy.REFUSE, REUSED, f"DGP-3043 (earlier={EARLIER})"),
    ],
)
def test_the_flows_policy_decides(policy: Policy, says: History, code: str | None) -> None:
    found = judged(Memory(says), profiles(policy))
    assert [text.partition(") ")[0] + ")" for text in found] == ([code] if code else [])


@pytest.mark.parametrize("policy", list(Policy))
def test_a_flow_may_let_identifiers_be_reused(policy: Policy) -> None:
    memory = Memory(REUSED)
    assert judged(memory, profiles(policy, frozenset({"DGP-3043"}))) == []
    assert bool(memory.asked) == (policy is not Policy.ACCEPT)


@pytest.mark.parametrize(
    ("added", "off"),
    [
        pytest.param((MESSAGE_ID, ("Bcc", b" x@y.test")), frozenset(), id="refused anyway"),
        pytest.param((("Subject", b" x"),), frozenset({"DGP-3001"}), id="no identifier"),
        pytest.param((MESSAGE_ID, MESSAGE_ID, MESSAGE_ID), frozenset({"DGP-3002"}), id="several"),
        pytest.param((("Message-ID", b" one"),), frozenset({"DGP-3020"}), id="not well-formed"),
    ],
)
def test_nobody_is_asked_about(added: tuple[tuple[str, bytes], ...], off: frozenset[str]) -> None:
    memory = Memory(REUSED)
    found = judged(memory, profiles(off=off), *added)
    assert [text[:8] for text in found] == ([] if off else ["DGP-3005"])
    assert memory.asked == []


def test_a_message_waits_for_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    found = judged(Memory(Unanswered("no socket")))
    assert [text[:8] for text in found] == ["DGP-9008"]
    unavailable = f'event=history_unavailable ref={REFERENCE} reason=DGP-9008 cause="no socket"'
    assert unavailable in caplog.messages
    assert any(line.startswith(f"event=message_deferred ref={REFERENCE}") for line in caplog.messages)


def written(memory: Memory, body: bytes, known: Profiles | None) -> Outcome:
    message = ReceiptMessage(settings(), known, memory, logger())
    for name, value in MAIN_FIELDS:
        message.header(name, value)
    message.body(body)
    return message.finish(no_macro)


def body_of(outcome: Outcome) -> str:
    (body,) = (change.content for change in outcome.changes if isinstance(change, ReplaceBody))
    return body.decode("utf-8", "replace").replace("=\r\n", "")


def test_a_positive_receipt_tells_of_the_earlier_message() -> None:
    memory = Memory(REPEATED)
    body = body_of(written(memory, notification(RELAYED), profiles()))
    submitted = Submitted(
        REFERENCE,
        b"trader@logical.example",
        b"ags@logical.example",
        b"<1@trader.example>",
        DIGEST.removeprefix("sha256="),
    )
    assert memory.asked == [Question(Request.RECALL, submitted)]
    assert f"DGP-4006: Hetzelfde bericht is al eerder ontvangen, als {EARLIER};" in body
    assert f"DGP-4006: The same message was received before, as {EARLIER};" in body
    assert f"Diagnostic-Code: x-digipoort; DGP-4006 (earlier={EARLIER})" in body.replace("\r\n ", " ")
    assert "Action: relayed\r\nStatus: 2.0.0" in body


@pytest.mark.parametrize("says", [FIRST, REUSED])
def test_any_other_positive_receipt_says_nothing_of_it(says: History) -> None:
    body = body_of(written(Memory(says), notification(RELAYED), profiles()))
    assert "DGP-" not in body
    assert "Diagnostic-Code: x-digipoort; message accepted" in body


@pytest.mark.parametrize(
    ("fate", "policy", "asked"),
    [
        (RELAYED, Policy.TELL, [Request.RECALL]),
        (RELAYED, Policy.ACCEPT, []),
        (RELAYED, Policy.REFUSE, []),
        (DELAYED, Policy.TELL, []),
        (REFUSED_AT_HOP, Policy.TELL, []),
        (REFUSED_LATE, Policy.TELL, [Request.RELEASE]),
        (REFUSED_LATE, Policy.ACCEPT, [Request.RELEASE]),
        (EXPIRED_LATE, Policy.REFUSE, [Request.RELEASE]),
        (EXPIRED_AT_HOP, Policy.REFUSE, [Request.RELEASE]),
    ],
)
def test_what_a_receipt_asks_follows_from_its_verdict(fate: Fate, policy: Policy, asked: list[Request]) -> None:
    memory = Memory(REPEATED)
    outcome = written(memory, notification(fate), profiles(policy))
    assert [question.request for question in memory.asked] == asked
    assert outcome.findings == ()
    assert ("DGP-4006" in body_of(outcome)) == (asked == [Request.RECALL])


def test_recipients_are_told_apart() -> None:
    class Second(Memory):
        def __call__(self, questions: Sequence[Question]) -> list[History]:
            return [REPEATED if b"emcs" in one.message.recipient else FIRST for one in questions]

    other = Fate(final="emcs@logical.example", original="emcs@logical.example")
    body = body_of(written(Second(), notification(RELAYED, other), profiles()))
    before, after = body.split("Final-Recipient: rfc822; emcs@logical.example")
    assert "Diagnostic-Code: x-digipoort; message accepted" in before
    assert "DGP-4006" in after


@pytest.mark.parametrize("fate", [RELAYED, REFUSED_LATE])
def test_a_receipt_waits_for_an_answer(fate: Fate, caplog: pytest.LogCaptureFixture) -> None:
    outcome = written(Memory(Unanswered("DGP-9001")), notification(fate), profiles())
    assert [finding.reason.code for finding in outcome.findings] == ["DGP-9008"]
    assert outcome.changes == ()
    assert f"event=history_unavailable ref={REFERENCE} reason=DGP-9008 cause=DGP-9001" in caplog.messages
    assert not any("receipt_" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("body", "known"),
    [
        pytest.param(notification(RELAYED), None, id="no profiles"),
        pytest.param(notification(RELAYED), Profiles({}, {}), id="flow unknown"),
        pytest.param(notification(RELAYED).replace(b"Message-ID: <1@trader.example>", b"X: y"), profiles(), id="no id"),
        pytest.param(notification(RELAYED).replace(DIGEST.encode(), b"none"), profiles(), id="no digest"),
        pytest.param(notification(RELAYED).replace(REFERENCE.encode(), b"none"), profiles(), id="no reference"),
        pytest.param(b"nothing", profiles(), id="not understood"),
    ],
)
def test_a_receipt_that_cannot_ask_goes_as_it_is(body: bytes, known: Profiles | None) -> None:
    memory = Memory(Unanswered("must not be asked"))
    outcome = written(memory, body, known)
    assert (outcome.findings, memory.asked) == ((), [])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([b" <1@x>"], b"<1@x>"),
        ([b" (c) <1@x>\r\n (d)"], b"<1@x>"),
        ([b" <1@x>", b" <1@x>"], None),
        ([b" 1@x"], None),
        ([b" <1@x> (open"], None),
    ],
)
def test_the_identifier_is_what_the_check_reads(values: list[bytes], expected: bytes | None) -> None:
    assert sole_message_id(values) == expected


def test_fields_of_a_message_are_looked_up_in_any_case() -> None:
    memory = Memory()
    judged(memory, None, ("MESSAGE-id", b" <1@x>"))
    assert memory.asked[0].message.message_id == b"<1@x>"
