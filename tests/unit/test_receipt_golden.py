"""Every kind of receipt, as it is kept, and as parsers read it that others wrote: stdlib email and flufl.bounce."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Final

import pytest
from flufl.bounce import all_failures

from tests.golden.kinds import FOLDER, path_of, receipts

AGS: Final = b"ags@logical.example"
EMCS: Final = b"emcs@logical.example"
# Addresses that flufl.bounce takes for failed for now, and for good. It lists who was refused, not who was served.
FAILURES: Final[dict[str, tuple[set[bytes], set[bytes]]]] = {
    "positive": (set(), set()),
    "positive-received-before": (set(), set()),
    "positive-several-recipients": (set(), set()),
    "negative": (set(), {AGS}),
    "negative-several-findings": (set(), {AGS}),
    "negative-several-recipients": (set(), {AGS, EMCS}),
    "negative-unexplained": (set(), {AGS}),
    "negative-never-judged": (set(), {AGS}),
    "negative-headers-only": (set(), {AGS}),
    "delivery-refused": (set(), {AGS}),
    "delivery-expired": (set(), {AGS}),
    "delay": ({AGS}, set()),
    "minimal-negative": (set(), set()),
    "minimal": (set(), set()),
}
ACTIONS: Final = {"positive": "relayed", "negative": "failed", "delivery": "failed", "delay": "delayed"}


@pytest.mark.parametrize("name", FAILURES)
def test_a_receipt_is_what_it_was(name: str) -> None:
    assert receipts()[name] == path_of(name).read_bytes(), "python -m tests.golden, and read what changed"


def test_every_kind_is_kept_and_nothing_else() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.eml")) == sorted(receipts()) == sorted(FAILURES)


@pytest.mark.parametrize("name", FAILURES)
def test_flufl_bounce_tells_who_failed(name: str) -> None:
    temporary, permanent = all_failures(email.message_from_bytes(path_of(name).read_bytes()))
    assert (set(temporary), set(permanent)) == FAILURES[name]


@pytest.mark.parametrize("name", sorted(name for name in FAILURES if not name.startswith("minimal")))
def test_the_standard_library_reads_every_part(name: str) -> None:
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(path_of(name).read_bytes())
    text, status, returned = message.iter_parts()
    fields, *recipients = status.iter_parts()

    assert not any(part.defects for part in message.walk())
    assert (message.get_content_type(), message.get_param("report-type")) == ("multipart/report", "delivery-status")
    assert text.get_content().startswith(str(message["Subject"]).split()[0].upper())
    assert str(fields["Reporting-MTA"]) == "dns; gateway.example"
    assert {str(group["Action"]) for group in recipients} == {ACTIONS[name.partition("-")[0]]}
    for group in recipients:
        assert str(group["Final-Recipient"]).startswith("rfc822; ")
        assert str(group["Diagnostic-Code"]).startswith("x-digipoort; ")
        assert str(group["Status"]).startswith({"relayed": "2.", "failed": "5.", "delayed": "4."}[str(group["Action"])])
    assert returned.get_content_type() in {"message/rfc822", "text/rfc822-headers"}


@pytest.mark.parametrize("name", ["minimal", "minimal-negative"])
def test_a_minimal_receipt_is_plain_text(name: str) -> None:
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(path_of(name).read_bytes())
    assert not message.defects
    assert message.get_content_type() == "text/plain"
    assert "beheerder" in message.get_content()


@pytest.mark.parametrize("name", FAILURES)
def test_no_line_is_longer_than_the_interface_lets_a_party_send(name: str) -> None:
    assert max(map(len, path_of(name).read_bytes().split(b"\r\n"))) <= 998
