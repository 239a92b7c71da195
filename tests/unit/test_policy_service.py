"""Every way through a request ends in a reply and one log line, whatever the directory does."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from digipoort import log
from digipoort.directory import queries
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.settings import PolicydSettings
from digipoort_policyd.service import PolicyService

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

DEADLINE = 0.05
SUBMISSION = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=submission\nsender=A@handel.example\n"
    b"recipient=ags@overheid.example\nsasl_username=trader\nencryption_protocol=TLSv1.3\ninstance=1.2.3\n"
    b"client_address=192.0.2.7\nqueue_id=4ABC\nsize=10\n\n"
)
ACCEPTANCE = SUBMISSION.replace(b"=submission", b"=acceptance")
ROWS: dict[str, tuple[Any, ...]] = {
    queries.SUBMISSION: ("trader", True, True, False, [], True, None, None, True),
    queries.ACCEPTANCE: ("private", "government", "AGS", 1000, 1, True),
}


async def _known(query: str, _parameters: Mapping[str, object]) -> tuple[Any, ...]:
    return ROWS[query]


def _answers(
    fetch: Callable[[str, Mapping[str, object]], Awaitable[tuple[Any, ...] | None]], *blocks: bytes, limit: int = 0
) -> bytes:
    settings = PolicydSettings(
        logical_domains=("overheid.example",), request_deadline=DEADLINE, submission_rate_recipients=limit
    )
    service = PolicyService(fetch, log.wrap(logging.getLogger("policy-test")), settings)

    async def run() -> bytes:
        return b"".join([await service.answer(block) for block in blocks])

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "policy-test")


@pytest.mark.parametrize("block", [SUBMISSION, ACCEPTANCE])
def test_allowed(block: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert _answers(_known, block) == b"action=DUNNO\n\n"
    (line,) = caplog.messages
    context = "submission" if block == SUBMISSION else "acceptance"
    assert re.fullmatch(
        rf"event=recipient_allowed queue_id=4ABC elapsed_ms=\d+\.\d\d context={context} instance=1\.2\.3 login=trader "
        r"sender=A@handel\.example recipient=ags@overheid\.example client=192\.0\.2\.7",
        line,
    )


def test_parameters_reach_the_statement() -> None:
    seen = []

    async def fetch(query: str, parameters: Mapping[str, object]) -> tuple[Any, ...]:
        seen.append(dict(parameters))
        return ROWS[query]

    _answers(fetch, SUBMISSION, ACCEPTANCE)
    assert seen == [
        {
            "login": "trader",
            "fingerprint": None,
            "subject": None,
            "sender": "a@handel.example",
            "timezone": "Europe/Amsterdam",
            "day": None,
        },
        {
            "sender": "a@handel.example",
            "recipient": "ags@overheid.example",
            "timezone": "Europe/Amsterdam",
            "day": None,
        },
    ]


def test_refused(caplog: pytest.LogCaptureFixture) -> None:
    reply = _answers(_known, SUBMISSION.replace(b"@overheid", b"@physical"))
    assert reply.startswith(b"action=550 5.7.1 DGP-1006 ")
    assert "event=recipient_refused queue_id=4ABC reason=DGP-1006 " in caplog.text


def test_a_login_that_is_too_fast_is_deferred(caplog: pytest.LogCaptureFixture) -> None:
    same_login = SUBMISSION.replace(b"=trader", b"=Trader")
    replies = _answers(_known, SUBMISSION, same_login, SUBMISSION, limit=2).split(b"\n\n")
    assert replies[:2] == [b"action=DUNNO"] * 2
    assert replies[2].startswith(b"action=450 4.7.1 DGP-1009 ")
    assert "event=recipient_deferred queue_id=4ABC reason=DGP-1009 " in caplog.text


def test_only_what_stage_1_would_allow_counts() -> None:
    refused = SUBMISSION.replace(b"@overheid", b"@physical")
    replies = _answers(_known, refused, ACCEPTANCE, ACCEPTANCE, SUBMISSION, SUBMISSION, refused, limit=1)
    codes = re.findall(rb"DUNNO|DGP-\d{4}", replies)
    assert codes == [b"DGP-1006", b"DUNNO", b"DUNNO", b"DUNNO", b"DGP-1009", b"DGP-1006"]


CERTIFICATE = SUBMISSION.replace(b"username=trader", b"username=").replace(
    b"size=10", b"ccert_fingerprint=ab:cd\nccert_subject=Handel+20B.V."
)
DOOR = CERTIFICATE.replace(b"=submission", b"=certificate")
SHOWN = 'certificate=ab:cd subject="Handel B.V."'


async def _nobody(_query: str, _parameters: Mapping[str, object]) -> tuple[Any, ...]:
    return (None, None, True, False, [], None, None, None, False)


def test_a_certificate_is_logged_and_counted_as_its_login(caplog: pytest.LogCaptureFixture) -> None:
    replies = _answers(_known, CERTIFICATE, SUBMISSION, CERTIFICATE, limit=2)
    assert re.findall(rb"DUNNO|DGP-\d{4}", replies) == [b"DUNNO", b"DUNNO", b"DGP-1009"]
    first, second, third = caplog.messages
    assert " login=trader " in first
    assert first.endswith(SHOWN)
    assert "certificate=" not in second
    assert "event=recipient_deferred queue_id=4ABC reason=DGP-1009 " in third
    assert "cause=" not in third


def test_the_hops_certificate_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert _answers(_known, CERTIFICATE.replace(b"=submission", b"=acceptance")) == b"action=DUNNO\n\n"
    assert "certificate=" not in caplog.text


def test_the_door_opens_for_a_certificate_that_stands_for_a_login(caplog: pytest.LogCaptureFixture) -> None:
    assert _answers(_known, DOOR, DOOR, limit=1) == b"action=OK\n\n" * 2
    # What may pass is another question, and that one has a line and counts.
    assert caplog.messages == []


@pytest.mark.parametrize("block", [DOOR, DOOR.replace(b"encryption_protocol=TLSv1.3", b"encryption_protocol=")])
def test_the_door_stays_shut(block: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown certificate, and one without TLS, which cannot be."""
    assert _answers(_nobody if block == DOOR else _known, block) == b"action=DUNNO\n\n"
    assert caplog.text.count("event=certificate_unknown ") == 1
    assert SHOWN in caplog.text


def test_the_door_waits_for_the_directory(caplog: pytest.LogCaptureFixture) -> None:
    async def down(_query: str, _parameters: Mapping[str, object]) -> tuple[Any, ...]:
        raise DirectoryUnavailable("connection refused")

    assert _answers(down, DOOR).startswith(b"action=451 4.3.0 DGP-9001 ")
    assert "event=recipient_deferred queue_id=4ABC reason=DGP-9001 " in caplog.text
    assert " context=certificate " in caplog.text


@pytest.mark.parametrize(
    ("row", "code", "cause"),
    [
        ((None, None, True, False, [], None, None, None, False), "1002", "unknown-login"),
        (("trader", True, True, True, [], True, None, None, True), "1002", "expired"),
        (("trader", True, True, False, ["198.51.100.0/24"], True, None, None, True), "1002", "network-denied"),
        (("trader", True, True, False, [], True, "AA", None, True), "1016", "certificate-denied"),
    ],
)
def test_the_log_tells_why_a_login_is_refused(
    row: tuple[Any, ...], code: str, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fetch(_query: str, _parameters: Mapping[str, object]) -> tuple[Any, ...]:
        return row

    reply = _answers(fetch, SUBMISSION).decode()
    assert f" DGP-{code} " in reply
    assert cause not in reply
    assert caplog.messages[0].startswith(f"event=recipient_refused queue_id=4ABC reason=DGP-{code} ")
    assert caplog.messages[0].endswith(f" cause={cause}")


def test_malformed(caplog: pytest.LogCaptureFixture) -> None:
    assert _answers(_known, SUBMISSION.replace(b"=submission", b"=")).startswith(b"action=451 4.3.5 DGP-9003 ")
    assert "event=request_malformed reason=DGP-9003 " in caplog.text


def test_deadline(caplog: pytest.LogCaptureFixture) -> None:
    async def hang(_query: str, _parameters: Mapping[str, object]) -> None:
        await asyncio.Event().wait()

    assert _answers(hang, SUBMISSION).startswith(b"action=451 4.3.0 DGP-9002 ")
    assert "event=recipient_deferred queue_id=4ABC reason=DGP-9002 elapsed_ms=5" in caplog.text


@pytest.mark.parametrize("fault", [RuntimeError("broken"), LookupError(), AssertionError("x")])
def test_internal_fault(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_query: str, _parameters: Mapping[str, object]) -> None:
        raise fault

    assert _answers(fail, SUBMISSION).startswith(b"action=451 4.3.0 DGP-9007 ")
    assert "event=internal_error reason=DGP-9007 " in caplog.text
    assert len(caplog.messages) == 2
    assert not any("\n" in message for message in caplog.messages)


@pytest.mark.parametrize("row", [None, (True,), (1, 2, 3, 4)])
def test_a_row_of_the_wrong_shape_is_an_internal_fault(row: tuple[Any, ...] | None) -> None:
    async def fetch(_query: str, _parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        return row

    assert _answers(fetch, SUBMISSION).startswith(b"action=451 4.3.0 DGP-9007 ")


def test_an_outage_is_logged_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([True, False, False, True, True])

    async def flaky(query: str, _parameters: Mapping[str, object]) -> tuple[Any, ...]:
        if not next(outcomes):
            raise DirectoryUnavailable("connection refused")
        return ROWS[query]

    replies = _answers(flaky, *[SUBMISSION] * 5).split(b"\n\n")
    assert [reply[:26] for reply in replies[1:3]] == [b"action=451 4.3.0 DGP-9001 "] * 2
    events = [message.split()[0].removeprefix("event=") for message in caplog.messages]
    assert events == [
        "recipient_allowed",
        "directory_unavailable",
        "recipient_deferred",
        "recipient_deferred",
        "directory_restored",
        "recipient_allowed",
        "recipient_allowed",
    ]
    assert 'detail="connection refused"' in caplog.text
