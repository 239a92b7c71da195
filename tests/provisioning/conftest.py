"""Guests for tests: one world per release and run, made when a test first asks, gone at the end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.provisioning import lab as labs
from tests.provisioning import playbook, world
from tests.provisioning.releases import RELEASES
from tests.provisioning.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.provisioning.lab import Lab

# `make test` tries one release; `make provision-test` names both.
_WANTED = os.environ.get("PROVISION_RELEASES", "trixie").split()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have what asks for a release run on each that is wanted."""
    if "release" in metafunc.fixturenames:
        assert set(_WANTED) <= set(RELEASES), f"PROVISION_RELEASES may have {RELEASES}"
        metafunc.parametrize("release", _WANTED, scope="session")


@pytest.fixture(scope="session")
def _possible() -> None:
    if why := labs.impossible():
        pytest.skip(f"no guests on this machine: {why}")


@pytest.fixture(scope="session")
def package(_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Debian package of this checkout."""
    return world.package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def lab(_possible: None, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Yield a lab without guests."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    with labs.lab(f"{name}-{os.getpid()}") as made:
        yield made


@pytest.fixture(scope="session")
def site(
    release: str, package: Path, converge: Callable[..., playbook.Played], say: Callable[[str], None]
) -> Iterator[Site]:
    """Yield a gateway, `gw1`, that was a bare Debian a few minutes ago, with parties in its directory."""
    with labs.lab(f"{release}-{os.getpid()}") as made:
        people = world.people(made, release, "gw1")
        gateway = people.guest("gw1")
        people.identify(gateway)
        inventory = people.inventory(["gw1"], variables={"digipoort_package_file": str(package)})
        first = converge(inventory, what=f"{release}: first run on a bare Debian", as_admins_do=True)
        people.enter_parties(gateway)
        yield Site(people, gateway, package, first, converge, say)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what prints a line that pytest does not capture: figures that the documentation keeps."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        assert capture is not None
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    return line


@pytest.fixture(scope="session")
def converge(say: Callable[[str], None]) -> Callable[..., playbook.Played]:
    """Return what runs the site playbook, fails the test when it fails, and says how long it took."""

    def run(inventory: Path, *options: str, what: str, status: int = 0, as_admins_do: bool = False) -> playbook.Played:
        played = playbook.play(world.SITE, inventory, *options, as_admins_do=as_admins_do)
        assert played.status == status, f"{what}: status {played.status}\n{played.output[-20_000:]}"
        say(f"{what}: {played.seconds:.0f} s, changed={played.changed}")
        return played

    return run
