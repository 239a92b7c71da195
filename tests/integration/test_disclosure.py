"""Runs last: nothing that a party saw in the run names a physical address, a host behind the gateway or a login."""

from __future__ import annotations

import base64
import quopri
import time
from typing import TYPE_CHECKING, Final

from tests.sandbox import layout
from tests.sandbox.clients import compose, read_report
from tests.sandbox.parties import PHYSICAL

if TYPE_CHECKING:
    from tests.integration.gateway import Gateway


# What the agency's own servers write on its mail.
_TRACE: Final = b"".join(
    field % {b"domain": layout.PHYSICAL_DOMAIN.encode(), b"host": layout.AGENCY_HOST.encode()}
    for field in (
        b"Return-Path: <svc@%(domain)b>\r\n",
        b"Delivered-To: svc@%(domain)b\r\n",
        b"X-Original-To: svc@%(domain)b\r\n",
        b"Received: from app01.%(domain)b (app01.%(domain)b [192.0.2.7])\r\n"
        b"\tby %(host)b (Postfix) with ESMTPS id 4Zx;\r\n\tTue, 24 Nov 2026 08:00:00 +0100 (CET)\r\n",
        b"received : by %(host)b; Tue, 24 Nov 2026 08:00:00 +0100\r\n",
        b"Authentication-Results: %(host)b; dkim=pass header.d=%(domain)b\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=%(domain)b; s=x; bh=x; h=From; b=x\r\n",
        b"ARC-Seal: i=1; a=rsa-sha256; d=%(domain)b; s=x; b=x\r\n",
        b"Received: by gateway.digipoort.test with ESMTPSA id 4Zw; Mon, 23 Nov 2026 08:00:00 +0100 (CET)\r\n",
        b"X-Originating-IP: [192.0.2.8]\r\n",
    )
)


def _forms(content: bytes) -> bytes:
    """Return the content as it stands and as a mail program would decode it."""
    decoded = [content, quopri.decodestring(content)]
    for line in content.split(b"\n"):
        try:
            decoded.append(base64.b64decode(line.strip(), validate=True))
        except ValueError:
            continue
    return b"\n".join(decoded).lower()


def _refused_by_the_agency(gateway: Gateway) -> None:
    """Have a message refused after acceptance, by a server whose reply names the physical address and its own name."""
    trader, agency = gateway.account("TRADER2"), gateway.env["REJECT_ADDRESS"]
    gateway.send(trader, [agency], compose(trader.address, agency, "Geweigerd", "x\n").as_bytes())
    assert {report.action for report in gateway.receipts(trader, 2)} == {"relayed", "failed"}


def _answered_by_the_agency(gateway: Gateway) -> None:
    """Have the agency's own server submit, and say its name."""
    agency, trader = gateway.account("AGENCY", gateway.env["AGS_ADDRESS"]), gateway.account("TRADER2")
    session = gateway.smtp(login=agency)
    session.ehlo(layout.AGENCY_HOST)
    raw = _TRACE + compose(agency.address, trader.address, "Antwoord", "x\n").as_bytes()
    session.sendmail(agency.address, [trader.address], raw)
    session.quit()
    answer = gateway.wait_for(lambda: gateway.fetch(trader), "the agency's answer")
    head = answer[0].partition(b"\n\n")[0].lower()
    # Two of this way, and the one of the way before.
    assert (head.count(b"received: by gateway."), head.count(b"received")) == (3, 3)
    assert head.count(b"return-path:") == 1  # Dovecot's own, of the logical address


def _naming_its_own_host(gateway: Gateway) -> None:
    """Have the agency's server name itself where the gateway takes nothing off."""
    agency, trader = gateway.account("AGENCY", gateway.env["AGS_ADDRESS"]), gateway.account("TRADER2")
    for number, field in enumerate((f"X-Server: {layout.AGENCY_HOST}", f"X-Route: a,{layout.PHYSICAL_DOMAIN.upper()}")):
        mark = f"Naam{time.time_ns()}-{number}"
        raw = f"{field}\r\n".encode() + compose(agency.address, trader.address, mark, "x\n").as_bytes()
        gateway.send(agency, [trader.address], raw)
        report = read_report(gateway.agency_copy(mark))
        assert report is not None
        assert report.action == "failed"
        assert f"DGP-3045 (header={field.partition(':')[0]})" in report.fields["diagnostic-code"]
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    assert gateway.fetch(trader) == []


def test_no_party_saw_anything_physical(gateway: Gateway) -> None:
    env, ports = gateway.env, gateway.layout.ports
    secrets = [
        env["PHYSICAL_DOMAIN"], layout.AGENCY_HOST, layout.MAILBOX_DOMAIN, *PHYSICAL.values(),
        env["TRADER_LOGIN"], env["TRADER2_LOGIN"], env["AGENCY_LOGIN"],
        str(layout.CHECKOUT), str(gateway.layout.root), f":{ports.acceptance}", f":{ports.agency}",
        "remote-mta", "x-postfix",
    ]  # fmt: skip
    _refused_by_the_agency(gateway)
    _answered_by_the_agency(gateway)
    _naming_its_own_host(gateway)
    assert (
        f"<{PHYSICAL['REJECT_ADDRESS']}@{layout.PHYSICAL_DOMAIN}>: no such user at {layout.AGENCY_HOST}"
        in gateway.log()
    )
    for path in sorted(gateway.seen.iterdir()):
        content = _forms(path.read_bytes())
        for secret in secrets:
            assert secret.lower().encode() not in content, (secret, path.read_bytes())
