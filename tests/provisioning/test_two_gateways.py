"""Two gateway hosts, one of each release, with one directory: a host reboots, or crashes, under load."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.provisioning import pki
from tests.provisioning import world as worlds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.provisioning.guest import Guest
    from tests.provisioning.lab import Lab
    from tests.provisioning.playbook import Played
    from tests.provisioning.world import World

pytestmark = pytest.mark.timeout(2400)
_LOGINS: Final = ("policyd", "resubmission", "authd", "rehash", "publisher", "administrator")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Two gateways and the world around them."""

    world: World
    first: Guest
    second: Guest


@pytest.fixture(scope="module")
def fleet(lab: Lab, package: Path, converge: Callable[..., Played]) -> Fleet:
    world = worlds.World(lab, pki.authority(), worlds.passwords())
    lab.up("gw1", release="bookworm")
    lab.up("gw2", "db", "client", "agency", release="trixie")
    worlds.prepare(world)
    first, second, database = (world.guest(name) for name in ("gw1", "gw2", "db"))
    for gateway in (first, second):
        world.identify(gateway)
    variables = {
        "digipoort_package_file": str(package),
        "digipoort_directory_host": database.hostname,
        "digipoort_directory_listen_addresses": [database.address],
        "digipoort_directory_clients": [f"{gateway.address}/32" for gateway in (first, second)],
        "digipoort_directory_passwords": {login: secrets.token_urlsafe(24) for login in _LOGINS},
    }
    inventory = world.inventory(["gw1", "gw2"], directory=["db"], variables=variables)
    converge(inventory, what="two gateways and a directory")
    world.enter_parties(first)
    return Fleet(world, first, second)


def test_a_gateway_that_reboots_under_load_loses_nothing(fleet: Fleet, say: Callable[[str], None]) -> None:
    traffic = fleet.world.traffic(fleet.first, fleet.second, every=0.4, senders=3)
    worlds.wait_for(lambda: fleet.world.uidls(fleet.second, worlds.TRADER), "receipt of the second gateway")
    fleet.first.reboot(dies_with_us=True)
    _unharmed(fleet, traffic.stop(), say, "reboot of one gateway")


def test_a_gateway_that_crashes_under_load_loses_nothing(fleet: Fleet, lab: Lab, say: Callable[[str], None]) -> None:
    traffic = fleet.world.traffic(fleet.first, fleet.second, every=0.4, senders=3)
    worlds.wait_for(lambda: fleet.world.uidls(fleet.first, worlds.TRADER), "receipt of the first gateway")
    fleet.second.crash()
    lab.up("gw2", release="trixie")
    # What the hop had handed over and not yet crossed off is handed over again: SMTP promises no better.
    _unharmed(fleet, traffic.stop(), say, "crash of one gateway", once=False)


def test_a_directory_that_reboots_makes_mail_wait(fleet: Fleet, say: Callable[[str], None]) -> None:
    traffic = fleet.world.traffic(fleet.first, fleet.second, every=0.4, senders=3)
    fleet.world.guest("db").reboot(dies_with_us=True)
    _unharmed(fleet, traffic.stop(), say, "reboot of the directory")


def _unharmed(
    fleet: Fleet, records: list[dict[str, object]], say: Callable[[str], None], what: str, *, once: bool = True
) -> None:
    outcome = fleet.world.settle(records, fleet.first, fleet.second)
    say(f"  {what}: {outcome.say()}")
    assert outcome.untaken == []
    assert {record["taken"] for record in records} == {fleet.first.hostname, fleet.second.hostname}
    assert outcome.lost == []
    assert not once or outcome.doubled == []
    assert not outcome.failures
    for gateway in (fleet.first, fleet.second):
        assert gateway.state() == "running", gateway.failed_units()
