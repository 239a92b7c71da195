"""Receipts: what Postfix writes goes in, what a submitter may know comes out."""

from __future__ import annotations

import email.policy
from dataclasses import replace
from email.message import EmailMessage
from email.parser import BytesParser
from typing import TYPE_CHECKING

import Milter
import pytest

from digipoort.interface.fields import HeaderField
from digipoort.interface.profile import InterfaceProfile
from digipoort.profiles import FlowProfile, Profiles
from digipoort_milter import receipt
from tests.golden.rebuilding import applied, octets, rebuild
from tests.milter_samples import (
    CONTENT_TYPE,
    DELAYED,
    EXPIRED_LATE,
    MAIN_FIELDS,
    PHYSICAL,
    REFERENCE,
    REFUSED_AT_HOP,
    REFUSED_LATE,
    RELAYED,
    RETURNED_BODY,
    SUBMITTED_HEADER,
    Context,
    Fate,
    logger,
    notification,
    settings,
)

if TYPE_CHECKING:
    from digipoort_milter.outcome import Outcome


def parsed(outcome: Outcome) -> EmailMessage:
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(octets(outcome))
    assert not message.defects
    return message


def text_of(message: EmailMessage) -> str:
    part = message if not message.is_multipart() else next(message.iter_parts())
    content = part.get_content()
    assert isinstance(content, str)
    return content


def status_of(outcome: Outcome) -> str:
    """Return the delivery status as written."""
    part = applied(outcome)[1].split(b"Content-Type: message/delivery-status")[1]
    return part.split(b"\r\n\r\n", 1)[1].split(b"\r\n--receipt-")[0].decode("ascii")


def disclosed(outcome: Outcome) -> list[bytes]:
    fields, body = applied(outcome)
    # Received is Postfix's own and stands on all mail; no milter can remove it.
    everything = b"\n".join([body, *(field.value for field in fields if field.name != "Received")]).lower()
    return [secret for secret in PHYSICAL if secret in everything]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("fate", [RELAYED, REFUSED_AT_HOP, REFUSED_LATE, EXPIRED_LATE, DELAYED])
def test_nothing_physical_is_disclosed(fate: Fate, *, full: bool) -> None:
    outcome = rebuild(notification(fate, full=full))
    assert disclosed(outcome) == []
    assert parsed(outcome).get_content_type() == "multipart/report"


@pytest.mark.parametrize("fate", [RELAYED, REFUSED_AT_HOP, REFUSED_LATE, EXPIRED_LATE, DELAYED])
def test_a_receipt_that_passes_again_says_the_same(fate: Fate) -> None:
    fields, body = applied(rebuild(notification(fate)))
    again_fields, again = applied(rebuild(body, fields), fields)
    boundary = body.partition(b"\r\n")[0]
    assert again.replace(again.partition(b"\r\n")[0], boundary) == body
    without_boundary = [field for field in fields if field.name != "Content-Type"]
    assert [field for field in again_fields if field.name != "Content-Type"] == without_boundary


def test_positive_receipt() -> None:
    outcome = rebuild(notification(RELAYED, full=False))
    message = parsed(outcome)
    assert message["Subject"] == f"Positieve ontvangstbevestiging / accepted: {REFERENCE}"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["X-Digipoort-Reference"] == REFERENCE
    assert message["X-Postfix-Queue-ID"] is None
    assert message.get_param("report-type") == "delivery-status"
    text = text_of(message)
    for expected in (
        f"Kenmerk: {REFERENCE}",
        "Uw kenmerk (ENVID): E+1",
        "0f" * 32,
        "Ontvanger: ags@logical.example",
        "Het bericht is aangenomen",
        "The message was accepted",
        "Opgesteld: 2026-01-02 00:00:00",
    ):
        assert expected in text
    assert text.index("POSITIEVE") < text.index("POSITIVE RECEIPT")
    assert status_of(outcome) == (
        "Reporting-MTA: dns; gateway.example\r\n"
        "Original-Envelope-Id: E+1\r\n"
        "Arrival-Date: Fri, 02 Jan 2026 00:00:00 +0000\r\n"
        "\r\n"
        "Original-Recipient: rfc822;ags@logical.example\r\n"
        "Final-Recipient: rfc822; ags@logical.example\r\n"
        "Action: relayed\r\n"
        "Status: 2.0.0\r\n"
        "Diagnostic-Code: x-digipoort; message accepted\r\n"
    )


def test_refusal_at_the_hop_carries_the_findings_in_two_languages() -> None:
    outcome = rebuild(notification(REFUSED_AT_HOP))
    text = text_of(parsed(outcome))
    for expected in (
        "NEGATIEVE ONTVANGSTBEVESTIGING",
        "DGP-3001: De verplichte header Date ontbreekt.",
        "DGP-3013: A line is longer than 998 octets.",
        "Wat te doen: Herstel het bericht",
    ):
        assert expected in text
    status = status_of(outcome)
    assert "Action: failed\r\nStatus: 5.6.0\r\nDiagnostic-Code: x-digipoort; DGP-3001 (header=Date)" in status


@pytest.mark.parametrize(
    ("fate", "code", "status"),
    [
        (REFUSED_LATE, "DGP-4001", "5.1.1"),
        (EXPIRED_LATE, "DGP-4002", "5.4.7"),
        (replace(REFUSED_LATE, status="5.4.7"), "DGP-4002", "5.4.7"),
        (replace(REFUSED_LATE, diagnostic="X-Postfix; mail transport: message expired"), "DGP-4002", "5.4.7"),
        (DELAYED, "DGP-4003", "4.4.1"),
        (Fate(action="failed", status="5.4.6", diagnostic="X-Postfix; mail loops back"), "DGP-4004", "5.0.0"),
        (Fate(action="failed", status="4.7.1", diagnostic="smtp; 451 Service unavailable"), "DGP-4005", "5.4.7"),
        (
            Fate(action="failed", status="4.3.0", diagnostic="smtp; 451 4.3.0 DGP-9001 The directory is"),
            "DGP-4005",
            "5.4.7",
        ),
        (Fate(action="delayed", status="4.3.0", diagnostic="smtp; 451 4.3.0 DGP-9001"), "DGP-4003", "4.3.0"),
    ],
)
def test_reasons_without_a_finding_of_ours(fate: Fate, code: str, status: str) -> None:
    written = status_of(rebuild(notification(fate)))
    assert f"Status: {status}\r\nDiagnostic-Code: x-digipoort; {code} " in written


def test_a_remote_servers_words_are_never_taken_for_ours() -> None:
    assert "DGP-2003" not in status_of(rebuild(notification(REFUSED_LATE)))


@pytest.mark.parametrize("action", ["delivered", "expanded", "Relayed"])
def test_other_successes_count_as_relayed(action: str) -> None:
    assert "Action: relayed" in status_of(rebuild(notification(replace(RELAYED, action=action))))


def test_several_recipients_and_the_gravest_verdict() -> None:
    outcome = rebuild(notification(RELAYED, REFUSED_AT_HOP, DELAYED))
    assert str(parsed(outcome)["Subject"]).startswith("Negatieve")
    assert status_of(outcome).count("Final-Recipient:") == 3
    assert str(parsed(rebuild(notification(RELAYED, DELAYED)))["Subject"]).startswith("Vertraging / delayed")


def test_the_submitters_message_comes_back_as_submitted() -> None:
    body = applied(rebuild(notification(REFUSED_LATE)))[1]
    assert b"\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n" in body
    assert b"\r\n\r\n" + SUBMITTED_HEADER + b"\r\n" + RETURNED_BODY + b"\r\n--receipt-" in body


def test_only_headers_come_back_when_only_headers_were_returned() -> None:
    body = applied(rebuild(notification(REFUSED_LATE, full=False)))[1]
    assert b"\r\nContent-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n" in body
    assert b"\r\n\r\n" + SUBMITTED_HEADER + b"\r\n--receipt-" in body
    assert RETURNED_BODY not in body


def test_a_client_given_original_recipient_elsewhere_is_dropped() -> None:
    written = status_of(rebuild(notification(replace(RELAYED, original="x@phys.example"))))
    assert "Original-Recipient" not in written
    assert "Final-Recipient: rfc822; ags@logical.example" in written


@pytest.mark.parametrize(
    ("fate", "verdict"),
    [
        (replace(REFUSED_LATE, original=None), "Negatieve"),
        (replace(REFUSED_LATE, original="physicaluser@phys.example"), "Negatieve"),
        (replace(DELAYED, original="a@b@logical.example"), "Vertraging"),
        (replace(RELAYED, final="x@phys.example", original=None), "Positieve"),
        (replace(RELAYED, status="mx7.phys.example"), "Positieve"),
        (replace(RELAYED, action="mx7.phys.example"), "Ontvangstbericht"),
    ],
)
def test_what_is_not_provably_safe_is_told_without_details(fate: Fate, verdict: str) -> None:
    outcome = rebuild(notification(fate))
    message = parsed(outcome)
    assert disclosed(outcome) == []
    assert message.get_content_type() == "text/plain"
    assert message["Subject"].startswith(verdict)
    assert REFERENCE in message["Subject"]
    assert message["X-Digipoort-Reference"] == REFERENCE
    assert "ags@" not in text_of(message)
    assert "Contact the administrator" in text_of(message)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no parts at mx7.phys.example",
        notification(RELAYED)[:-80],
        notification(),
        notification(RELAYED).replace(b"message/delivery-status", b"text/plain"),
        notification(RELAYED).replace(b"Content-Type: message/rfc822", b"Content-Type: image/png"),
        notification(*[RELAYED] * 1001, full=False),
        notification(RELAYED) + b"x" * receipt.MAX_NOTIFICATION_OCTETS,
    ],
)
def test_what_is_not_understood_is_told_without_details(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    outcome = rebuild(body)
    assert disclosed(outcome) == []
    assert parsed(outcome).get_content_type() == "text/plain"
    assert caplog.records[-1].levelname == "WARNING"
    assert caplog.records[-1].getMessage().startswith("event=receipt_minimal")


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (HeaderField("Content-Type", b" text/plain"), HeaderField("X-Route", b" mx7.phys.example")),
        (*MAIN_FIELDS, HeaderField("Content-Type", CONTENT_TYPE)),
    ],
)
def test_mail_that_is_no_notification(fields: tuple[HeaderField, ...]) -> None:
    after, body = applied(rebuild(notification(RELAYED), fields), fields)
    names = [field.name.lower() for field in after]
    assert names.count("content-type") == 1
    assert "x-route" not in names
    assert b"phys.example" not in body


def test_a_minimal_receipt_that_passes_again_keeps_its_reference() -> None:
    fields, body = applied(rebuild(notification(replace(REFUSED_LATE, original=None))))
    again, _ = applied(rebuild(body, fields), fields)
    assert HeaderField("X-Digipoort-Reference", b" " + REFERENCE.encode()) in again


@pytest.mark.parametrize("envelope_id", ["x" * 101, "caf\u00e9", "tab\there"])
def test_an_envelope_id_that_is_none_is_left_out(envelope_id: str) -> None:
    outcome = rebuild(notification(RELAYED, envelope_id=envelope_id))
    written = status_of(outcome)
    assert written.isascii()
    assert "\t" not in written
    assert ("Original-Envelope-Id" in written) == (envelope_id == "tab\there")  # white space is folded to one space


def test_dates_that_are_none_are_left_out() -> None:
    body = notification(RELAYED).replace(b"Fri,  2 Jan 2026", b"mx7.phys.example")
    fields = tuple(field for field in MAIN_FIELDS if field.name != "Date")
    outcome = rebuild(body, fields)
    assert b"Arrival-Date" not in applied(outcome, fields)[1]


def test_log_line(caplog: pytest.LogCaptureFixture) -> None:
    rebuild(notification(REFUSED_AT_HOP))
    line = caplog.records[-1].getMessage()
    assert line.startswith(f"event=receipt_written ref={REFERENCE}")
    assert "reason=DGP-3001,DGP-3013" in line
    assert "action=refused recipients=1" in line


def test_a_fault_while_writing_still_discloses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("phys.example")

    monkeypatch.setattr(receipt, "write_report", fail)
    outcome = rebuild(notification(REFUSED_LATE))
    assert disclosed(outcome) == []
    assert parsed(outcome).get_content_type() == "text/plain"


def session() -> tuple[receipt.ReceiptSession, Context]:
    made = receipt.session_factory(settings(), logger())()
    context = Context()
    made._setctx(context)  # noqa: SLF001 - as pymilter's own negotiate callback does
    made.negotiate([0x1FF, 0x1FFFFF, 0, 0])
    return made, context


def feed(made: receipt.ReceiptSession, body: bytes) -> int:
    for name, value in MAIN_FIELDS:
        made.header_bytes(name, value)
    made.body(body)
    return made.eom()


@pytest.mark.parametrize("sender", [b"", b"<>"])
def test_session_rebuilds_mail_without_sender(sender: bytes) -> None:
    made, context = session()
    assert made.envfrom_bytes(sender) == Milter.CONTINUE
    assert feed(made, notification(RELAYED)) == Milter.ACCEPT
    assert context.body.startswith(b"--receipt-")
    assert ("X-Digipoort-Reference", " " + REFERENCE) in context.added


def test_session_sends_large_bodies_in_chunks() -> None:
    made, context = session()
    made.envfrom_bytes(b"")
    filler = b"0123456789\r\n" * 20_000
    assert feed(made, notification(REFUSED_LATE).replace(RETURNED_BODY, filler)) == Milter.ACCEPT
    assert filler in context.body


def test_session_leaves_other_mail_alone() -> None:
    made, context = session()
    assert made.envfrom_bytes(b"<trader@logical.example>") == Milter.ACCEPT
    assert (context.body, context.added, context.changed) == (b"", [], [])


def test_session_shares_nothing_between_messages() -> None:
    made, context = session()
    made.envfrom_bytes(b"")
    made.header_bytes("X-Digipoort-Reference", b" " + REFERENCE.encode())
    made.body(b"left behind")
    made.abort()
    made.envfrom_bytes(b"")
    feed(made, b"nothing")
    assert REFERENCE.encode() not in context.body
    assert not any(name == "X-Digipoort-Reference" for name, _ in context.added)


def test_a_header_beyond_bounds_and_a_failing_last_resort_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    made, context = session()
    made.envfrom_bytes(b"")
    for _ in range(201):
        made.header_bytes("X", b" y")
    assert made.eom() == Milter.TEMPFAIL

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(receipt, "write_minimal", fail)
    made.envfrom_bytes(b"")
    assert feed(made, b"nothing") == Milter.TEMPFAIL
    assert context.body == b""


def test_subject_and_text_name_the_flow() -> None:
    flow = FlowProfile("AGS", 1000, InterfaceProfile())
    profiles = Profiles({"ags@logical.example": flow}, {"AGS": flow})
    message = parsed(rebuild(notification(RELAYED), profiles=profiles))
    assert message["Subject"] == f"Positieve ontvangstbevestiging / accepted: AGS {REFERENCE}"
    assert "Berichtstroom: AGS" in text_of(message).splitlines()
    assert "Message flow: AGS" in text_of(message).splitlines()


def test_without_a_known_flow_the_subject_ends_in_the_reference() -> None:
    message = parsed(rebuild(notification(RELAYED), profiles=Profiles({}, {})))
    assert message["Subject"] == f"Positieve ontvangstbevestiging / accepted: {REFERENCE}"
    assert "Berichtstroom" not in text_of(message)
