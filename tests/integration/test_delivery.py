"""Delivery to agencies whose servers are slow, down, wrong or hostile: what the submitter is told, and what waits."""

from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.integration.agencies import CUT_OFF, OK, Server, agency, enter, serving, silent
from tests.sandbox import layout as names
from tests.sandbox.clients import compose, read_report
from tests.sandbox.pki import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.gateway import Gateway
    from tests.sandbox.clients import Report

BUSY = "451 4.3.2 mx1.douane-intern.test is busy, try <fysiek@douane-intern.test> later"


@pytest.fixture(autouse=True)
def _quiet(gateway: Gateway) -> Iterator[None]:
    """Begin with an empty queue and mailbox; leave nothing in the queue that would wait for ever."""
    gateway.settle("TRADER")
    yield
    # Again, for it passes over what moves from one queue directory to another meanwhile (postsuper(1)).
    gateway.wait_for(lambda: gateway.postfix("postsuper", "-d", "ALL") == "" and gateway.queue_is_empty(), "no queue")


def _send(gateway: Gateway, address: str, subject: str = "Aflevering") -> None:
    trader = gateway.account("TRADER")
    gateway.send(trader, [address], compose(trader.address, address, subject, "x\n").as_bytes())


def _codes(receipts: list[Report]) -> list[tuple[str, str]]:
    """Return action and reason code of each receipt, sorted."""
    found = []
    for receipt in receipts:
        code = re.search(r"DGP-\d{4}", receipt.fields["diagnostic-code"])
        found.append((receipt.action, code[0] if code else ""))
    return sorted(found)


def _deferred(gateway: Gateway, address: str) -> bool:
    return any('"deferred"' in line and address in line for line in gateway.postfix("postqueue", "-j").splitlines())


def _waiting(gateway: Gateway, address: str) -> int:
    """Return how many messages to an agency of its own are in the queue."""
    return sum(
        f"fysiek@{address.partition('@')[0]}." in line for line in gateway.postfix("postqueue", "-j").splitlines()
    )


def _waits(gateway: Gateway, address: str) -> None:
    """Wait until the message to an address was tried and is still there; see its one positive receipt."""
    local_part = address.partition("@")[0]
    gateway.wait_for(lambda: _deferred(gateway, local_part), "it waits")
    receipts = gateway.wait_for(lambda: gateway.fetch(gateway.account("TRADER")), "the receipt")
    assert len(receipts) == 1


def _delivery_lines(gateway: Gateway, address: str) -> list[str]:
    """Return the log lines of the delivery to an agency: what an admin finds by the logical address."""
    return [line for line in gateway.log().splitlines() if f"orig_to=<{address}>" in line and "/agency/smtp" in line]


def test_a_delay_is_told_once_and_then_the_message_is_delivered(gateway: Gateway) -> None:
    server = Server(lambda attempt: BUSY if attempt < 5 else OK)
    with gateway.postfix_settings(delay_warning_time="1s"), agency(gateway, server) as address:
        _send(gateway, address)
        receipts = gateway.receipts(gateway.account("TRADER"), 2, wait=60)
    assert _codes(receipts) == [("delayed", "DGP-4003"), ("relayed", "")]
    assert len({receipt.returned["x-digipoort-reference"] for receipt in receipts}) == 1
    assert len(server.taken) == 1


def test_a_refusal_after_hours_of_trying_is_a_second_receipt(gateway: Gateway) -> None:
    server = Server(lambda attempt: BUSY if attempt < 3 else "550 5.7.1 not for <fysiek@douane-intern.test>")
    with agency(gateway, server) as address:
        _send(gateway, address)
        receipts = gateway.receipts(gateway.account("TRADER"), 2, wait=60)
    assert _codes(receipts) == [("failed", "DGP-4001"), ("relayed", "")]
    assert server.attempts == 3


def test_what_waited_too_long_is_told(gateway: Gateway) -> None:
    server = Server(lambda _attempt: BUSY)
    with agency(gateway, server) as address, gateway.postfix_settings(maximal_queue_lifetime="4s"):
        _send(gateway, address)
        receipts = gateway.receipts(gateway.account("TRADER"), 2, wait=60)
    assert _codes(receipts) == [("failed", "DGP-4002"), ("relayed", "")]
    assert not server.taken


def test_a_connection_cut_off_after_the_message_is_tried_again(gateway: Gateway) -> None:
    """The server took it and did not say so: nobody can know, and a second copy is better than none."""
    server = Server(lambda attempt: CUT_OFF if attempt == 1 else OK)
    with agency(gateway, server) as address:
        _send(gateway, address)
        receipts = gateway.receipts(gateway.account("TRADER"), 1, wait=60)
    assert _codes(receipts) == [("relayed", "")]
    assert len(server.taken) == 2
    references = {re.search(rb"X-Digipoort-Reference: (\S+)", copy)[1] for copy in server.taken}  # type: ignore[index]
    assert len(references) == 1


@pytest.mark.parametrize("fault", ["silent", "down"])
def test_one_dead_agency_does_not_hold_up_another(gateway: Gateway, fault: str) -> None:
    trader, other = gateway.account("TRADER"), gateway.env["AGS_ADDRESS"]
    with silent() as port:
        dead = enter(gateway, f"[127.0.0.1]:{port if fault == 'silent' else 9}", "encrypt")
        with gateway.smtp(login=trader) as session:
            for number in range(200):
                message = compose(trader.address, dead, f"Dood {number}", "x\n")
                session.sendmail(trader.address, [dead], message.as_bytes())
        mark = f"Levend{time.time_ns()}"
        begun = time.monotonic()
        _send(gateway, other, mark)
        gateway.agency_copy(mark)
        assert time.monotonic() - begun < 15
        # All 200 are accepted, and wait.
        reports: list[Report] = []
        for _ in range(100):
            reports += [report for mail in gateway.fetch(trader) if (report := read_report(mail))]
            if len(reports) >= 201:
                break
            time.sleep(0.2)
        assert [report.action for report in reports] == ["relayed"] * 201
        gateway.wait_for(lambda: _waiting(gateway, dead) == 200, "all 200 in the queue")


def _own_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for the agency's name that no authority we trust has signed; return it and its key."""
    certificate = trustme.CA().issue_cert(names.AGENCY_HOST)
    pem, key = folder / "own.pem", folder / "own.key"
    certificate.cert_chain_pems[0].write_to_path(pem)
    certificate.private_key_pem.write_to_path(key)
    return pem, key


@pytest.mark.parametrize(
    ("level", "match", "own"),
    [
        pytest.param("encrypt", "", True, id="encrypt takes any certificate"),
        pytest.param("verify", names.AGENCY_HOST, False, id="verify"),
        pytest.param("secure", names.AGENCY_HOST, False, id="secure"),
        pytest.param("fingerprint", "OWN", True, id="fingerprint"),
    ],
)
def test_each_level_delivers_to_whom_it_should(
    gateway: Gateway, tmp_path: Path, level: str, match: str, *, own: bool
) -> None:
    pki = gateway.layout.pki
    pem, key = _own_certificate(tmp_path) if own else (pki / "agency.pem", pki / "agency.key")
    wanted = fingerprint(pem) if match == "OWN" else match
    server = Server()
    with serving(server, pem, key) as port:
        address = enter(gateway, f"[127.0.0.1]:{port}", level, *(["--tls-match", wanted] if wanted else []))
        _send(gateway, address)
        gateway.wait_for(lambda: server.taken, "the message")
        assert _codes(gateway.receipts(gateway.account("TRADER"), 1)) == [("relayed", "")]


@pytest.mark.parametrize(
    ("tls", "own", "words"),
    [
        pytest.param(
            ("verify", "--tls-match", "mx.elders.test"), False, "Server certificate not verified", id="verify"
        ),
        pytest.param(
            ("secure", "--tls-match", "mx.elders.test"), False, "Server certificate not verified", id="secure"
        ),
        pytest.param(
            ("secure", "--tls-match", names.AGENCY_HOST), True, "Server certificate not verified", id="authority"
        ),
        pytest.param(("fingerprint", "--tls-match", "00:" * 31 + "00"), False, "Server certificate", id="fingerprint"),
        pytest.param(("dane-only",), False, "TLSA", id="no DANE"),
    ],
)
def test_a_certificate_that_does_not_match_makes_mail_wait(
    gateway: Gateway, tmp_path: Path, tls: tuple[str, ...], words: str, *, own: bool
) -> None:
    pki = gateway.layout.pki
    server = Server()
    pem, key = _own_certificate(tmp_path) if own else (pki / "agency.pem", pki / "agency.key")
    with serving(server, pem, key) as port:
        address = enter(gateway, f"[127.0.0.1]:{port}", *tls)
        _send(gateway, address)
        _waits(gateway, address)
        assert server.attempts == 0
    lines = _delivery_lines(gateway, address)
    assert all("status=deferred" in line for line in lines)
    assert words in lines[0], lines[0]


def test_an_agency_has_limits_and_a_client_certificate_of_its_own(gateway: Gateway) -> None:
    pki = gateway.layout.pki
    server = Server()
    with serving(server, pki / "agency.pem", pki / "agency.key", clients=pki / "ca.pem") as port:
        nexthop, tls = f"[127.0.0.1]:{port}", ("secure", "--tls-match", names.AGENCY_HOST)
        address = enter(gateway, nexthop, *tls, "--transport", "agency-slow")
        for number in range(3):
            _send(gateway, address, f"Langzaam {number}")
        gateway.wait_for(lambda: len(server.taken) == 3, "three messages")
        assert _codes(gateway.receipts(gateway.account("TRADER"), 3)) == [("relayed", "")] * 3
    assert min(later - earlier for earlier, later in itertools.pairwise(server.times)) > 0.9
    assert all(names.HOSTNAME in str(certificate) for certificate in server.certificates)


def test_without_the_certificate_that_an_agency_wants_mail_waits(gateway: Gateway) -> None:
    pki = gateway.layout.pki
    server = Server()
    with serving(server, pki / "agency.pem", pki / "agency.key", clients=pki / "ca.pem") as port:
        address = enter(gateway, f"[127.0.0.1]:{port}", "secure", "--tls-match", names.AGENCY_HOST)
        _send(gateway, address)
        _waits(gateway, address)
        assert server.attempts == 0


def test_nothing_leaves_in_the_clear(gateway: Gateway) -> None:
    server = Server()
    with serving(server, None) as port:
        address = enter(gateway, f"[127.0.0.1]:{port}", "encrypt")
        _send(gateway, address)
        _waits(gateway, address)
        assert server.attempts == 0
    assert "TLS is required, but was not offered" in _delivery_lines(gateway, address)[0]


@pytest.mark.parametrize("port", ["submission", "acceptance"])
def test_a_destination_that_leads_back_to_the_gateway_ends(gateway: Gateway, port: str) -> None:
    address = enter(gateway, f"[127.0.0.1]:{getattr(gateway.layout.ports, port)}", "encrypt")
    _send(gateway, address)
    receipts = gateway.receipts(gateway.account("TRADER"), 2, wait=60)
    assert _codes(receipts) == [("failed", "DGP-4001"), ("relayed", "")]


def test_an_agency_that_bounces_afterwards_is_told_to_refuse_in_the_session(gateway: Gateway) -> None:
    trader = gateway.account("TRADER")
    with gateway.smtp(login=gateway.account("AGENCY", gateway.env["AGS_ADDRESS"])) as session:
        gateway.command(session, "MAIL FROM:<>")
        reply = gateway.command(session, f"RCPT TO:<{trader.address}>")
    assert reply.startswith("550 5.7.1")
    assert "DGP-1005" in reply
