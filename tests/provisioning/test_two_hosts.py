"""Two hosts that serve mail already, one of each release, become gateways with one directory, and stop being it.

Their own Postfix and Dovecot notice neither; a gateway reboots, or crashes, under load, and so does the directory.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.provisioning import host, ownmail, pki
from tests.provisioning import world as worlds
from tests.provisioning.world import TRADER, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.provisioning.guest import Guest
    from tests.provisioning.lab import Lab
    from tests.provisioning.ownmail import OwnMail
    from tests.provisioning.playbook import Played
    from tests.provisioning.world import World

pytestmark = pytest.mark.timeout(2400)
# What a boot changes: processes, and units that ran at the first boot only.
_BOOTED: Final = ("processes: ", "active: - ")
_LOGINS: Final = ("policyd", "resubmission", "authd", "rehash", "publisher", "administrator")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Two mail hosts, a bare one for the directory, and how they all were before."""

    world: World
    first: OwnMail
    second: OwnMail
    before: dict[str, host.Service]
    variables: dict[str, Any]

    @property
    def both(self) -> tuple[OwnMail, OwnMail]:
        """Return the mail hosts."""
        return self.first, self.second

    def inventory(self, **variables: object) -> Path:
        """Write the inventory, with more variables."""
        return self.world.inventory(["gw1", "gw2"], directory=["db"], variables={**self.variables, **variables})

    def now(self) -> dict[str, host.Service]:
        """Look at what each of them serves now."""
        bare = host.service(self.world.guest("db"), (), ())
        return {"db": bare, **{own.guest.name: own.now() for own in self.both}}


@dataclass(frozen=True, slots=True)
class Fleet:
    """The same hosts as gateways."""

    hosts: Hosts
    installed: dict[str, host.Service]
    uses: list[str]

    @property
    def gateways(self) -> tuple[Guest, Guest]:
        """Return the gateway hosts."""
        return self.hosts.first.guest, self.hosts.second.guest


@pytest.fixture(scope="module")
def hosts(lab: Lab, package: Path) -> Hosts:
    world = worlds.World(lab, pki.authority(), worlds.passwords())
    lab.up("gw1", release="bookworm")
    lab.up("gw2", "db", "client", "agency", release="trixie")
    worlds.prepare(world)
    first, second = (ownmail.prepare(world, world.guest(name)) for name in ("gw1", "gw2"))
    database = world.guest("db")
    for own in (first, second):
        world.identify(own.guest)
    variables = {
        "digipoort_package_file": str(package),
        "digipoort_directory_host": database.hostname,
        "digipoort_directory_listen_addresses": [database.address],
        "digipoort_directory_clients": [f"{own.guest.address}/32" for own in (first, second)],
        "digipoort_directory_passwords": {login: secrets.token_urlsafe(24) for login in _LOGINS},
    }
    made = Hosts(world, first, second, {}, variables)
    made.before.update(made.now())
    return made


@pytest.fixture(scope="module")
def fleet(hosts: Hosts, converge: Callable[..., Played]) -> Fleet:
    uses = [own.use() for own in hosts.both]
    converge(hosts.inventory(), what="two mail hosts become gateways with a directory on a third")
    found = Fleet(hosts, hosts.now(), [use.unharmed() for use in uses])
    hosts.world.enter_parties(hosts.first.guest)
    return found


def test_a_port_that_is_taken_stops_the_run_before_anything_changes(
    hosts: Hosts, converge: Callable[..., Played]
) -> None:
    played = converge(hosts.inventory(digipoort_submission_port=25), what="a run for a port that is taken", status=2)

    assert "0.0.0.0:25" in played.output
    assert "postfix" in played.output
    now = hosts.now()
    assert [line for name, before in hosts.before.items() for line in host.changes(before, now[name])] == []


def test_their_own_mail_flows_on_beside_the_gateway(fleet: Fleet, say: Callable[[str], None]) -> None:
    hosts, installed = fleet.hosts, fleet.installed
    # What the packages left for the host's next reload would show now.
    for own in hosts.both:
        own.reload()
    reloaded = hosts.now()

    for own, use in zip(hosts.both, fleet.uses, strict=True):
        name = own.guest.name
        say(f"  {own.guest.release}: meanwhile {use}")
        _print("since the gateway came", host.changes(hosts.before[name], installed[name]), say)
        _print("after a reload of its own mail, in addition", host.changes(installed[name], reloaded[name]), say)
        assert ownmail.others(host.changes(hosts.before[name], installed[name])) == []
        assert ownmail.others(host.changes(hosts.before[name], reloaded[name])) == []


def test_a_gateway_that_reboots_under_load_loses_nothing(fleet: Fleet, say: Callable[[str], None]) -> None:
    world, (first, second) = fleet.hosts.world, fleet.gateways
    traffic = world.traffic(first, second, every=0.4, senders=3)
    wait_for(lambda: world.uidls(second, TRADER), "receipt of the second gateway")
    first.reboot(dies_with_us=True)
    _unharmed(fleet, traffic.stop(), say, "reboot of one gateway")


def test_a_gateway_that_crashes_under_load_loses_nothing(fleet: Fleet, lab: Lab, say: Callable[[str], None]) -> None:
    world, (first, second) = fleet.hosts.world, fleet.gateways
    traffic = world.traffic(first, second, every=0.4, senders=3)
    wait_for(lambda: world.uidls(first, TRADER), "receipt of the first gateway")
    second.crash()
    lab.up("gw2", release="trixie")
    # What the hop had handed over and not yet crossed off is handed over again: SMTP promises no better.
    _unharmed(fleet, traffic.stop(), say, "crash of one gateway", once=False)


def test_a_directory_that_reboots_makes_mail_wait(fleet: Fleet, say: Callable[[str], None]) -> None:
    world, (first, second) = fleet.hosts.world, fleet.gateways
    traffic = world.traffic(first, second, every=0.4, senders=3)
    world.guest("db").reboot(dies_with_us=True)
    _unharmed(fleet, traffic.stop(), say, "reboot of the directory")


def test_nothing_is_left_when_they_stop_being_gateways(
    fleet: Fleet, converge: Callable[..., Played], say: Callable[[str], None]
) -> None:
    hosts = fleet.hosts
    # Their own processes are others since the reboots, and must stay these.
    running = hosts.now()
    uses = [own.use() for own in hosts.both]
    converge(hosts.inventory(digipoort_state="absent"), what="removal")
    removed = hosts.now()
    again = converge(hosts.inventory(digipoort_state="absent"), what="second removal")

    for own, use in zip(hosts.both, uses, strict=True):
        say(f"  {own.guest.release}: meanwhile {use.unharmed()}")
    for name, before in hosts.before.items():
        changed = [line for line in host.changes(before, removed[name]) if not line.startswith(_BOOTED)]
        _print(f"{name}, since before all", changed, say)
        assert ownmail.left(changed) == []
        assert removed[name].processes == running[name].processes
        assert "digipoort" not in hosts.world.guest(name).run(
            "ls", "-R", "/etc/systemd/system", "/usr/lib/systemd/system"
        )
    assert again.changed == 0, again.output


def test_nothing_shows_after_the_next_boot_either(hosts: Hosts) -> None:
    for own in hosts.both:
        own.guest.reboot(dies_with_us=True)
        found, before = own.now(), hosts.before[own.guest.name]
        assert (found.ports, found.settings, found.files) == (before.ports, before.settings, before.files)
        assert ownmail.left(host.changes(before, found), "enabled") == []
        _use_a_little(own)


def _use_a_little(own: OwnMail) -> None:
    delivered = len(own.delivered())
    use = own.use()
    wait_for(lambda: len(own.delivered()) > delivered + 1, "own mail")
    use.unharmed()


def _unharmed(
    fleet: Fleet, records: list[dict[str, object]], say: Callable[[str], None], what: str, *, once: bool = True
) -> None:
    outcome = fleet.hosts.world.settle(records, *fleet.gateways)
    say(f"  {what}: {outcome.say()}")
    assert outcome.untaken == []
    assert {record["taken"] for record in records} == {gateway.hostname for gateway in fleet.gateways}
    assert outcome.lost == []
    assert not once or outcome.doubled == []
    assert not outcome.failures
    for gateway in fleet.gateways:
        assert gateway.state() == "running", gateway.failed_units()


def _print(moment: str, lines: list[str], say: Callable[[str], None]) -> None:
    say(f"  {moment}:")
    for line in lines or ["nothing"]:
        say("    " + " ".join(line.split()))
