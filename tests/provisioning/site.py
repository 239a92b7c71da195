"""One converged gateway, and what it is asked to bear: a change under traffic that no party may notice."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.provisioning import host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.provisioning.guest import Guest
    from tests.provisioning.playbook import Played
    from tests.provisioning.world import Outcome, Running, World

UNITS: Final = (*host.DAEMONS, *host.MAIL)
# What a party at work feels of a change: each submission is answered within this.
SECONDS_TO_SUBMIT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway with the world around it, how its first run went, and what runs the playbook."""

    world: World
    gateway: Guest
    package: Path
    first: Played
    converge: Callable[..., Played]
    say: Callable[[str], None]

    def play(self, what: str, *options: str, **variables: object) -> Played:
        """Run the playbook, quickly, with these variables."""
        return self.converge(self._inventory(variables), *options, what=what)

    def play_as_admins_do(self, what: str) -> Played:
        """Run the playbook with the variables that the first run had."""
        return self.converge(self._inventory({}), what=what, as_admins_do=True)

    def _inventory(self, variables: Mapping[str, object]) -> Path:
        told = {"digipoort_package_file": str(self.package), **variables}
        return self.world.inventory([self.gateway.name], variables=told)

    def change(self, what: str, **variables: object) -> set[str]:
        """Run the playbook with these variables under traffic, and return the units whose process is another one now.

        No message may be lost or doubled, nor get anything but a positive receipt, nor wait long to be taken.
        """
        before = host.started(self.gateway, UNITS)
        traffic = self.world.traffic(self.gateway)
        self.play(what, **variables)
        after = host.started(self.gateway, UNITS)
        self.unharmed(what, traffic)
        assert self.gateway.state() == "running", self.gateway.failed_units()
        return {unit for unit, now in after.items() if now != before[unit]}

    def unharmed(self, what: str, traffic: Running[list[dict[str, object]]]) -> Outcome:
        """End the traffic and judge what became of it."""
        time.sleep(2)
        outcome = self.world.settle(traffic.stop(), self.gateway)
        self.say(f"  {what}: {outcome.say()}")
        assert len(outcome.records) > 4
        assert outcome.untaken == []
        assert outcome.lost == []
        assert outcome.doubled == []
        assert not outcome.failures
        assert [one for one in outcome.records if one["ended"] - one["began"] > SECONDS_TO_SUBMIT] == []
        return outcome
