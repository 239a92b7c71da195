"""Every branch of the two decisions about an envelope."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from digipoort import reasons
from digipoort.decision import (
    GATEWAY_HEADER_ALLOWANCE,
    NO_CERTIFICATE,
    Acceptance,
    AcceptanceRow,
    Certificate,
    Submission,
    SubmissionRow,
    decide_acceptance,
    decide_submission,
    directory_key,
)

if TYPE_CHECKING:
    from digipoort.reasons import Finding, Reason

DOMAINS = frozenset({"handel.example", "overheid.example"})
SHA256 = "A0:" * 31 + "0F"
SUBMISSION = Submission(
    login=b"trader",
    sender=b"a@handel.example",
    recipient=b"ags@overheid.example",
    encrypted=True,
    client=b"192.0.2.7",
)
NOBODY = SubmissionRow(
    login=None,
    login_active=None,
    begun=True,
    ended=False,
    networks=[],
    may_submit=None,
    certificate_fingerprint=None,
    certificate_subject=None,
    owns_sender=False,
)
ALLOWED = replace(NOBODY, login="trader", login_active=True, may_submit=True, owns_sender=True)
PINNED = replace(ALLOWED, certificate_fingerprint=SHA256)
NAMED = replace(ALLOWED, certificate_subject="Handel B.V.")
BOTH = replace(PINNED, certificate_subject="Handel B.V.")
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
        (SUBMISSION, NOBODY, reasons.LOGIN_UNKNOWN),
        (replace(SUBMISSION, sender=b""), NOBODY, reasons.LOGIN_UNKNOWN),
        (SUBMISSION, replace(ALLOWED, login_active=False), reasons.LOGIN_UNKNOWN),
        (SUBMISSION, replace(ALLOWED, begun=False), reasons.LOGIN_UNKNOWN),
        (SUBMISSION, replace(ALLOWED, ended=True), reasons.LOGIN_UNKNOWN),
        (SUBMISSION, replace(ALLOWED, networks=["198.51.100.0/24", "2001:db8::/32"]), reasons.LOGIN_UNKNOWN),
        (replace(SUBMISSION, client=b""), replace(ALLOWED, networks=["0.0.0.0/0"]), reasons.LOGIN_UNKNOWN),
        (replace(SUBMISSION, client=b"unknown"), replace(ALLOWED, networks=["::/0"]), reasons.LOGIN_UNKNOWN),
        (SUBMISSION, replace(ALLOWED, networks=["198.51.100.0/24", "192.0.2.0/24"]), None),
        (SUBMISSION, PINNED, reasons.CERTIFICATE_REQUIRED),
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
    ("row", "certificate", "has"),
    [
        (ALLOWED, NO_CERTIFICATE, True),
        (ALLOWED, Certificate(b"B1:" * 31 + b"0F", b"Anybody"), True),
        (PINNED, Certificate(SHA256.encode()), True),
        (PINNED, Certificate(SHA256.lower().encode(), b"Anybody"), True),
        (PINNED, NO_CERTIFICATE, False),
        (PINNED, Certificate(SHA256[:-3].encode()), False),
        (PINNED, Certificate(b"B1:" * 31 + b"0F", b"Handel B.V."), False),
        (PINNED, Certificate(b"\xff", b"\xff"), False),
        (NAMED, Certificate(b"B1:" * 31 + b"0F", b"Handel B.V."), True),
        (NAMED, Certificate(SHA256.encode()), False),
        (NAMED, Certificate(SHA256.encode(), b"handel b.v."), False),
        (NAMED, Certificate(SHA256.encode(), b"Handel B.V.\0"), False),
        (NAMED, NO_CERTIFICATE, False),
        (BOTH, Certificate(SHA256.encode(), b"Handel B.V."), True),
        (BOTH, Certificate(SHA256.encode()), False),
        (BOTH, Certificate(b"B1:" * 31 + b"0F", b"Handel B.V."), False),
    ],
)
def test_a_certificate_has_all_that_its_login_asks_for(
    row: SubmissionRow, certificate: Certificate, *, has: bool
) -> None:
    finding = decide_submission(replace(SUBMISSION, certificate=certificate), row, DOMAINS)
    assert _reason(finding) is (None if has else reasons.CERTIFICATE_REQUIRED)


def test_only_a_session_without_a_login_is_looked_up_by_its_certificate() -> None:
    shown = Certificate(SHA256.lower().encode(), b"Handel B.V.")
    keys = ("login", "fingerprint", "subject")

    def asked(request: Submission) -> list[object]:
        return [request.parameters("Europe/Amsterdam")[key] for key in keys]

    assert asked(replace(SUBMISSION, certificate=shown)) == ["trader", None, None]
    # Not even when the directory can hold no such login.
    assert asked(replace(SUBMISSION, login=b"\xff", certificate=shown)) == [None, None, None]
    assert asked(replace(SUBMISSION, login=b"", certificate=shown)) == [None, SHA256, "Handel B.V."]
    assert asked(replace(SUBMISSION, login=b"")) == [None, None, None]
    strange = Certificate(b"\xff", "Zo\u00eb".encode())
    assert asked(replace(SUBMISSION, login=b"", certificate=strange)) == [None, None, None]
    assert asked(replace(SUBMISSION, login=b"", certificate=Certificate(b"", b"a\nb"))) == [None, None, None]


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
    assert replace(SUBMISSION, login=b"Trader").parameters("Europe/Amsterdam", date(2026, 1, 2)) == {
        "login": "trader",
        "fingerprint": None,
        "subject": None,
        "sender": "a@handel.example",
        "timezone": "Europe/Amsterdam",
        "day": date(2026, 1, 2),
    }
    assert replace(ACCEPTANCE, recipient=b"\xff").parameters("Europe/Amsterdam") == {
        "sender": "a@handel.example",
        "recipient": None,
        "timezone": "Europe/Amsterdam",
        "day": None,
    }
