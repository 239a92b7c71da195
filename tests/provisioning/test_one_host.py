"""One gateway host from a bare Debian: it converges, stays as it is, serves parties over the network, and is sealed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.provisioning import agency, host
from tests.provisioning.site import UNITS
from tests.provisioning.world import DECLARATIONS, INSPECTION, TRADER, wait_for
from tests.sandbox.clients import body_of, compose, read_report, reference_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.provisioning.site import Site
    from tests.sandbox.clients import Report

pytestmark = pytest.mark.timeout(2400)
EXPOSURE: Final = 1.5


# How long it takes is printed; what else the machine does would decide about a limit.
def test_it_converges_and_nothing_has_failed(site: Site) -> None:
    assert site.first.changed > 0
    assert site.gateway.state() == "running", site.gateway.failed_units()


def test_a_second_run_changes_nothing(site: Site, release: str) -> None:
    before = host.started(site.gateway, UNITS)

    again = site.play_as_admins_do(f"{release}: second run")

    assert again.changed == 0, again.output
    assert host.started(site.gateway, UNITS) == before


def test_a_declaration_goes_the_whole_road_over_the_network(site: Site) -> None:
    message = compose(TRADER, DECLARATIONS, "Aangifte", "Zie bijlage.\n")
    message.add_attachment(b"UNB+UNOC:3'\r\n" * 300, maintype="application", subtype="edifact", filename="a.edi")
    raw = message.as_bytes()

    site.world.submit(site.gateway, TRADER, DECLARATIONS, raw)
    (receipt,) = wait_for(lambda: site.world.receipts(site.gateway, TRADER), "receipt")

    assert receipt.action == "relayed"
    assert receipt.fields["final-recipient"] == f"rfc822; {DECLARATIONS}"
    assert receipt.returned["x-digipoort-digest"] == f"sha256={hashlib.sha256(body_of(raw)).hexdigest()}"
    reference = receipt.returned["x-digipoort-reference"]
    (copy,) = wait_for(lambda: _copies(site, reference), "copy at the agency")
    assert body_of(copy) == body_of(raw)


def test_the_agency_answers_into_the_traders_mailbox(site: Site) -> None:
    raw = compose(DECLARATIONS, TRADER, "Antwoord", "CUSRES\n").as_bytes()

    site.world.submit(site.gateway, DECLARATIONS, TRADER, raw, guest="agency")
    (answer,) = wait_for(lambda: site.world.collect(site.gateway, TRADER), "answer")

    assert read_report(answer) is None
    assert body_of(answer) == body_of(raw)
    (receipt,) = wait_for(lambda: _copies(site, reference_of(answer)), "receipt at the agency")
    report = read_report(receipt)
    assert report is not None
    assert report.action == "relayed"


def test_a_refusal_is_a_negative_receipt_that_discloses_nothing(site: Site) -> None:
    site.world.submit(site.gateway, TRADER, INSPECTION, compose(TRADER, INSPECTION, "Geweigerd", "x\n").as_bytes())
    found: list[Report] = []

    def both() -> bool:
        found.extend(site.world.receipts(site.gateway, TRADER))
        return len(found) == 2

    wait_for(both, "two receipts")
    assert sorted(report.action for report in found) == ["failed", "relayed"]
    assert not any(agency.REFUSED.encode() in report.raw for report in found)
    assert not any(agency.PHYSICAL_DOMAIN.encode() in report.raw for report in found)


def test_each_daemon_is_sealed(site: Site, say: Callable[[str], None]) -> None:
    ours = host.exposure(site.gateway, host.DAEMONS)
    mail = host.exposure(site.gateway, host.MAIL)
    for unit, level in (ours | mail).items():
        say(f"  exposure {level:4.1f}  {unit}")

    assert set(ours) == set(host.DAEMONS)
    assert set(mail) == set(host.MAIL)
    assert {unit: level for unit, level in ours.items() if level > EXPOSURE} == {}


def test_only_the_ports_that_are_configured_are_open(site: Site, say: Callable[[str], None]) -> None:
    ports = host.ports(site.gateway)
    for line in ports:
        say(f"  port     {line}")

    reachable = {line.split()[0].rpartition(":")[2] for line in ports if not line.startswith(("127.", "[::1]"))}
    assert reachable == {"587", "465", "110", "995"}
    assert any(line.startswith("127.0.0.1:10587 ") for line in ports)


def test_files_are_for_those_who_need_them(site: Site, say: Callable[[str], None]) -> None:
    lines = host.modes(
        site.gateway, "/etc/digipoort", "/etc/postfix-digipoort", "/etc/dovecot-digipoort", "/run/digipoort",
        "/run/digipoort-milter", "/var/lib/digipoort",
    )  # fmt: skip
    for line in lines:
        say(f"  mode     {line}")

    assert lines
    assert [line for line in lines if line[8] == "w"] == [], "writable for everybody"
    private = [line for line in lines if line.endswith((".env", ".key"))]
    assert private
    assert [line for line in private if not line.startswith("-rw------- root:root")] == []
    assert [line for line in lines if line[0] == "s" and line[7:10] != "---"] == [], "sockets open to everybody"


def test_a_socket_is_for_those_who_have_a_question_there(site: Site) -> None:
    """Whoever takes over a milter, which reads hostile messages, can neither deliver nor ask in Postfix's name."""
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('in')"

    def may(user: str, path: str) -> bool:
        return site.gateway.run(*_as(user), "python3", "-c", connect, path, check=False).strip() == "in"

    users = ("postfix", "digipoort-milter", "digipoort-mail", "digipoort-authd", "digipoort-sasl", "nobody")
    sockets = ("policyd", "resubmission", "sasl", "lmtp", "dovecot-auth")
    assert {one: {user for user in users if may(user, f"/run/digipoort/{one}.sock")} for one in sockets} == {
        "policyd": {"postfix"},
        "resubmission": {"digipoort-milter"},
        "sasl": {"postfix"},
        "lmtp": {"postfix", "digipoort-mail"},
        "dovecot-auth": {"digipoort-sasl"},
    }


def test_physical_addresses_are_for_postfix_and_no_milter(site: Site) -> None:
    def may_read(user: str, name: str) -> bool:
        return bool(site.gateway.run(*_as(user), "cat", f"/var/lib/digipoort/maps/{name}", check=False))

    names = ("profiles.json", "virtual_alias", "transport", "mailbox")
    users = ("postfix", "digipoort-milter", "digipoort-policyd", "nobody")
    assert {name: {user for user in users if may_read(user, name)} for name in names} == {
        "profiles.json": {"digipoort-milter"},
        "virtual_alias": {"postfix"},
        "transport": {"postfix"},
        "mailbox": {"postfix"},
    }


def _as(user: str) -> tuple[str, ...]:
    # As systemd, Postfix and Dovecot start them: none has a group of another.
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")


def test_an_upgrade_of_debians_packages_reaches_the_gateway(site: Site) -> None:
    units = (*host.DAEMONS, *host.MAIL)
    before = host.started(site.gateway, units)

    install = ("apt-get", "install", "--yes", "--no-install-recommends", "--reinstall", "dovecot-core", "postfix")
    site.gateway.run("env", "DEBIAN_FRONTEND=noninteractive", *install, patience=300)

    def anew() -> set[str]:
        now = host.started(site.gateway, units)
        return {unit for unit in units if now[unit] != before[unit]}

    wait_for(lambda: anew() == set(host.MAIL), "start of Postfix and Dovecot, and of nothing else")
    site.world.submit(site.gateway, TRADER, DECLARATIONS, compose(TRADER, DECLARATIONS, "Nieuw", "x\n").as_bytes())
    (receipt,) = wait_for(lambda: site.world.receipts(site.gateway, TRADER), "receipt")
    assert receipt.action == "relayed"
    assert "what runs is what is installed" in site.gateway.run("digipoort", "doctor", "code")


def test_the_admins_doctor_finds_the_host_well(site: Site) -> None:
    def look() -> list[dict[str, str]]:
        told: list[dict[str, str]] = json.loads(site.gateway.run("digipoort", "doctor", "--json"))
        assert {"units", "certificate", "pop3s"} <= {one["check"] for one in told}
        # The guest has its clock from the machine that it runs on.
        return [one for one in told if one["level"] != "ok" and one["check"] != "time service"]

    # What was changed a moment ago is published within seconds.
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not look(), "good health", 20)
    assert look() == []


def test_a_boot_brings_everything_back(site: Site) -> None:
    site.gateway.reboot(dies_with_us=True)

    site.world.submit(site.gateway, TRADER, DECLARATIONS, compose(TRADER, DECLARATIONS, "Na", "x\n").as_bytes())
    (receipt,) = wait_for(lambda: site.world.receipts(site.gateway, TRADER), "receipt")
    assert receipt.action == "relayed"
    assert site.gateway.state() == "running", site.gateway.failed_units()


def _copies(site: Site, reference: str) -> list[bytes]:
    return [mail for mail in agency.received(site.world.guest("agency")) if reference.encode() in mail]
