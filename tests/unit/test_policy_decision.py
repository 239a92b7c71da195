"""Every branch of the two decisions about an envelope."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from digipoort import reasons
from digipoort.decision import (
    GATEWAY_HEADER_ALLOWANCE,
    Acceptance,
    AcceptanceRow,
    Submission,
    SubmissionRow,
    decide_acceptance,
    decide_submission,
    directory_key,
)

if TYPE_CHECKING:
    from digipoort.reasons import Finding, Reason

DOMAINS = frozenset({"handel.example", "overheid.example"})
SUBMISSION = Submission(b"trader", b"a@handel.example", b"ags@overheid.example", encrypted=True)
ALLOWED = SubmissionRow(login_active=True, may_submit=True, owns_sender=True)
ACCEPTANCE = Acceptance(b"a@handel.example", b"ags@overheid.example", 1000)
CONNECTED = AcceptanceRow("private", "government", "AGS", 50_000, 1, connection_valid=True)


def _reason(finding: Finding | None) -> Reason | None:
    return None if finding is None else finding.reason


@pytest.mark.parametrize(
    ("request_", "row", "reason"),
    [
        (SUBMISSION, ALLOWED, None),
        (replace(SUBMISSION, recipient=b"AGS@Overheid.Example"), ALLOWED, None),
        (replace(SUBMISSION, encrypted=False), ALLOWED, reasons.TLS_REQUIRED),
        (replace(SUBMISSION, sender=b""), ALLOWED, reasons.NULL_SENDER),
        (SUBMISSION, SubmissionRow(None, None, owns_sender=False), reasons.LOGIN_UNKNOWN),
        (SUBMISSION, replace(ALLOWED, login_active=False), reasons.LOGIN_UNKNOWN),
        (SUBMISSION, replace(ALLOWED, may_submit=False), reasons.LOGIN_MAY_NOT_SUBMIT),
        (SUBMISSION, replace(ALLOWED, owns_sender=False), reasons.SENDER_NOT_OWNED),
        (replace(SUBMISSION, recipient=b"in@physical.example"), ALLOWED, reasons.RECIPIENT_NOT_LOGICAL),
        (replace(SUBMISSION, recipient=b"x@sub.overheid.example"), ALLOWED, reasons.RECIPIENT_NOT_LOGICAL),
        (replace(SUBMISSION, recipient=b"x@overheid.example@evil.example"), ALLOWED, reasons.RECIPIENT_NOT_LOGICAL),
        (replace(SUBMISSION, recipient=b"overheid.example"), ALLOWED, reasons.RECIPIENT_NOT_LOGICAL),
        (replace(SUBMISSION, recipient=b"\xff@overheid.example"), ALLOWED, reasons.RECIPIENT_NOT_LOGICAL),
        (replace(SUBMISSION, recipient=b"a\0b@overheid.example"), ALLOWED, reasons.RECIPIENT_NOT_LOGICAL),
    ],
)
def test_submission(request_: Submission, row: SubmissionRow, reason: Reason | None) -> None:
    finding = decide_submission(request_, row, DOMAINS)
    assert _reason(finding) is reason
    assert finding is None or finding.parameters == {}


@pytest.mark.parametrize(
    ("request_", "row", "reason"),
    [
        (ACCEPTANCE, CONNECTED, None),
        (ACCEPTANCE, replace(CONNECTED, sender_kind="government", recipient_kind="private"), None),
        (replace(ACCEPTANCE, sender=b""), CONNECTED, reasons.NULL_SENDER),
        (ACCEPTANCE, replace(CONNECTED, sender_kind=None), reasons.SENDER_UNKNOWN),
        (ACCEPTANCE, AcceptanceRow(None, None, None, None, 0, connection_valid=False), reasons.SENDER_UNKNOWN),
        (ACCEPTANCE, replace(CONNECTED, recipient_kind=None), reasons.NO_SUCH_RECIPIENT),
        (ACCEPTANCE, replace(CONNECTED, recipient_kind="private"), reasons.NO_SUCH_RECIPIENT),
        (
            ACCEPTANCE,
            replace(CONNECTED, sender_kind="government", recipient_kind=None),
            reasons.NO_SUCH_RECIPIENT,
        ),
        (ACCEPTANCE, replace(CONNECTED, sender_kind="government"), reasons.BOTH_GOVERNMENT),
        (
            ACCEPTANCE,
            replace(CONNECTED, connection_periods=0, connection_valid=False),
            reasons.NOT_CONNECTED,
        ),
        (ACCEPTANCE, replace(CONNECTED, connection_valid=False), reasons.CONNECTION_NOT_VALID),
        (replace(ACCEPTANCE, size=0), replace(CONNECTED, size_limit=1), None),
        (replace(ACCEPTANCE, size=50_000 + 50_000 // 128 + GATEWAY_HEADER_ALLOWANCE), CONNECTED, None),
        (
            replace(ACCEPTANCE, size=50_001 + 50_000 // 128 + GATEWAY_HEADER_ALLOWANCE),
            CONNECTED,
            reasons.SIZE_OVER_FLOW_LIMIT,
        ),
    ],
)
def test_acceptance(request_: Acceptance, row: AcceptanceRow, reason: Reason | None) -> None:
    assert _reason(decide_acceptance(request_, row)) is reason


def test_private_sender_cannot_tell_an_unknown_recipient_from_a_private_one() -> None:
    unknown = decide_acceptance(ACCEPTANCE, AcceptanceRow("private", None, None, None, 0, connection_valid=False))
    private = decide_acceptance(ACCEPTANCE, AcceptanceRow("private", "private", None, None, 0, connection_valid=False))
    assert unknown is not None
    assert private is not None
    assert unknown.reply() == private.reply()


def test_refusals_on_a_flow_name_it() -> None:
    finding = decide_acceptance(replace(ACCEPTANCE, size=99_999), CONNECTED)
    assert finding is not None
    assert finding.parameters == {"size": "99999", "limit": "50000", "flow": "AGS"}
    finding = decide_acceptance(ACCEPTANCE, replace(CONNECTED, connection_periods=0))
    assert finding is not None
    assert finding.parameters == {"flow": "AGS"}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"A@B.Example", "a@b.example"),
        (b"", ""),
        ("é@b.example".encode(), None),
        (b"\xff", None),
        (b"a\0b", None),
    ],
)
def test_directory_key(value: bytes, key: str | None) -> None:
    assert directory_key(value) == key


def test_parameters_are_directory_keys() -> None:
    assert replace(SUBMISSION, login=b"Trader").parameters() == {"login": "trader", "sender": "a@handel.example"}
    assert replace(ACCEPTANCE, recipient=b"\xff").parameters("Europe/Amsterdam") == {
        "sender": "a@handel.example",
        "recipient": None,
        "timezone": "Europe/Amsterdam",
        "day": None,
    }
