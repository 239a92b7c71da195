"""Whatever a client asks for (NOTIFY, RET, ENVID, ORCPT), every recipient of a 250 ends in exactly one verdict.

The whole table goes in over one session and comes out of one mailbox: what is counted is everything that came.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import TYPE_CHECKING, Final

import pytest

from tests.sandbox.clients import compose

if TYPE_CHECKING:
    import smtplib

    from tests.integration.gateway import Gateway

NOTIFY: Final = ("", "NEVER", "SUCCESS", "FAILURE", "DELAY", "success,DELAY")
RETURN: Final = ("", "RET=HDRS", "RET=FULL")
ENVELOPE_ID: Final = ("", "ENVID=Zending+2B7")
# Per recipient, action and reason code: accepted; not connected; unknown; accepted (and then refused by the agency).
VERDICTS: Final = {
    "AGS_ADDRESS": ("relayed", ""),
    "EMCS_ADDRESS": ("failed", "DGP-2003"),
    "UNKNOWN": ("failed", "DGP-2001"),
    "REJECT_ADDRESS": ("relayed", ""),
}
RECIPIENTS: Final = (
    ("AGS_ADDRESS",),
    ("EMCS_ADDRESS",),
    ("UNKNOWN",),
    ("REJECT_ADDRESS",),
    ("AGS_ADDRESS", "EMCS_ADDRESS", "UNKNOWN"),
)
LATE: Final = ("failed", "DGP-4001")
_PARSER = BytesParser(EmailMessage, policy=policy.default)


@dataclass(frozen=True, slots=True)
class Case:
    """One message of the table; its number is in the subject."""

    number: int
    notify: str
    returned: str
    envelope_id: str
    recipients: tuple[str, ...]
    broken: bool

    @property
    def mark(self) -> str:
        """What the subject says."""
        return f"Tabel-{self.number:03}"

    def expected(self) -> Counter[tuple[str, str, str]]:
        """Return key of the recipient, action and reason code of everything that must come."""
        if self.broken:
            return Counter((key, *_broken(key)) for key in self.recipients)
        verdicts = Counter((key, *VERDICTS[key]) for key in self.recipients)
        return verdicts + Counter((key, *LATE) for key in self.recipients if key == "REJECT_ADDRESS")


def _broken(key: str) -> tuple[str, str]:
    """Return the verdict on a message that violates the interface: recipients that may not be addressed say that."""
    action, code = VERDICTS[key]
    return (action, code) if code else ("failed", "DGP-3001")


CASES: Final = tuple(
    Case(number, *choice)
    for number, choice in enumerate(itertools.product(NOTIFY, RETURN, ENVELOPE_ID, RECIPIENTS, (False, True)))
)


def _address(gateway: Gateway, key: str) -> str:
    return gateway.env.get(key, "bestaat-niet@overheid.digipoort.test")


def _message(gateway: Gateway, case: Case) -> bytes:
    trader = gateway.account("TRADER2")
    addresses = ", ".join(_address(gateway, key) for key in case.recipients)
    message = compose(trader.address, addresses, case.mark, f"{case.mark}\n")
    if case.broken:
        del message["Message-ID"]
    return message.as_bytes()


def _submit(gateway: Gateway, session: smtplib.SMTP, case: Case) -> None:
    trader = gateway.account("TRADER2")
    parameters = " ".join(filter(None, (f"MAIL FROM:<{trader.address}>", case.returned, case.envelope_id)))
    assert gateway.command(session, parameters).startswith("250"), case
    for key in case.recipients:
        address = _address(gateway, key)
        notify = f" NOTIFY={case.notify} ORCPT=rfc822;{address.upper()}" if case.notify else ""
        reply = gateway.command(session, f"RCPT TO:<{address}>{notify}")
        assert reply.startswith("250"), (case, reply)
    code, text = session.data(_message(gateway, case))
    assert code == 250, (case, text)


def _groups(receipt: EmailMessage) -> tuple[EmailMessage, list[EmailMessage]]:
    """Return the fields on the message and those on each recipient (RFC 3464 sections 2.2 and 2.3)."""
    _text, status, _returned = receipt.iter_parts()
    message, *recipients = status.iter_parts()
    assert isinstance(message, EmailMessage)
    return message, [group for group in recipients if isinstance(group, EmailMessage)]


def _verdicts(gateway: Gateway, receipt: EmailMessage) -> list[tuple[str, str, str]]:
    keys = {_address(gateway, key): key for key in VERDICTS}
    found = []
    for group in _groups(receipt)[1]:
        address = str(group["Final-Recipient"]).partition(";")[2].strip().lower()
        words = str(group["Diagnostic-Code"]).split()
        found.append((keys[address], str(group["Action"]), words[1] if words[1].startswith("DGP-") else ""))
    return found


def _mark(receipt: EmailMessage) -> str:
    returned = list(receipt.iter_parts())[2]
    if returned.get_content_type() == "message/rfc822":
        return str(returned.get_content()["Subject"])
    return str(_PARSER.parsebytes(bytes(returned.get_payload(decode=True)))["Subject"])


def _assert_survived(gateway: Gateway, case: Case, receipt: EmailMessage) -> None:
    """Assert what RFC 3461 says on ENVID (section 5.2.4), ORCPT (5.2.3) and RET (4.3)."""
    message, groups = _groups(receipt)
    assert message["Original-Envelope-Id"] == ("Zending+7" if case.envelope_id else None), case
    for group in groups:
        original = str(group["Original-Recipient"]).partition(";")[2].strip()
        final = str(group["Final-Recipient"]).partition(";")[2].strip()
        # A later receipt, on the delivery, knows the envelope that acceptance saw: interface.md says so.
        late = "DGP-4001" in str(group["Diagnostic-Code"])
        assert original == (final.upper() if case.notify and not late else final), case
        assert final.lower() in {_address(gateway, key) for key in case.recipients}
    returned = list(receipt.iter_parts())[2].get_content_type()
    whole = all(str(group["Action"]) == "failed" for group in groups) and case.returned != "RET=HDRS"
    assert returned == ("message/rfc822" if whole else "text/rfc822-headers"), case


@pytest.mark.timeout(240)
def test_every_recipient_of_every_250_gets_one_verdict(gateway: Gateway) -> None:
    trader = gateway.account("TRADER2")
    gateway.settle("TRADER2")
    with gateway.smtp(login=trader) as session:
        for case in CASES:
            _submit(gateway, session, case)
    gateway.wait_for(gateway.queue_is_empty, "an empty queue", 120)

    found: defaultdict[str, Counter[tuple[str, str, str]]] = defaultdict(Counter)
    by_mark = {case.mark: case for case in CASES}
    for raw in gateway.fetch(trader):
        receipt = _PARSER.parsebytes(raw)
        assert not receipt.defects
        _assert_survived(gateway, by_mark[_mark(receipt)], receipt)
        found[_mark(receipt)].update(_verdicts(gateway, receipt))

    assert {case.mark: case.expected() for case in CASES} == dict(found)


@pytest.mark.parametrize(
    ("command", "parameter"),
    [
        *(("MAIL", parameter) for parameter in ("RET=", "RET=HDRS RET=HDRS", "RET=hdr", "ENVID=", "ENVID=a ENVID=a")),
        *(("MAIL", parameter) for parameter in ("ENVID=+2", "ENVID=a+2b", "ENVID=+00", f"ENVID={'x' * 101}")),
        *(("RCPT", parameter) for parameter in ("NOTIFY=", "NOTIFY=NEVER,DELAY", "NOTIFY=SUCCESS,", "NOTIFY=ALWAYS")),
        *(("RCPT", parameter) for parameter in ("NOTIFY=NEVER NOTIFY=NEVER", "NOTIFY=SUCCESS,SUCCESS,NEVER")),
        *(("RCPT", parameter) for parameter in ("ORCPT=", "ORCPT=rfc822", "ORCPT=rfc822;", "ORCPT=;a@b.test")),
        *(("RCPT", parameter) for parameter in ("ORCPT=rfc822;a+4", "ORCPT=rfc822;a ORCPT=rfc822;a")),
        *(("RCPT", parameter) for parameter in ("ORCPT=rfc822;a+0Ab", f"ORCPT=rfc822;{'x' * 600}")),
    ],
)
@pytest.mark.parametrize("before", ["", "\v", " \f"])
def test_what_is_not_well_formed_is_refused_at_once(
    gateway: Gateway, before: str, command: str, parameter: str
) -> None:
    trader = gateway.account("TRADER2")
    with gateway.smtp(login=trader) as session:
        mail = f"MAIL FROM:<{trader.address}>"
        if command == "MAIL":
            reply = gateway.command(session, f"{before}{mail} {parameter}")
        else:
            gateway.command(session, mail)
            reply = gateway.command(session, f"{before}RCPT TO:<{gateway.env['AGS_ADDRESS']}> {parameter}")
    assert reply.startswith("501 5.5.4"), reply
    assert "DGP-1011" in reply
