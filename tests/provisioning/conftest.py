"""Guests for tests: one world per release and run, made when a test first asks, gone at the end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.provisioning import lab as labs
from tests.provisioning import pki, playbook, world
from tests.provisioning.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.provisioning.lab import Lab
    from tests.provisioning.world import World

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
def package(_possible: None) -> Path:
    """Return the Debian package of this checkout."""
    return world.package()


@pytest.fixture(scope="module")
def lab(_possible: None, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Yield a lab without guests."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    with labs.lab(f"{name}-{os.getpid()}") as made:
        yield made


@pytest.fixture(scope="module")
def people(lab: Lab) -> Callable[[str, Sequence[str]], World]:
    """Return what boots the guests of a release that are named, and `client` and `agency`, ready to be used."""

    def make(release: str, names: Sequence[str]) -> World:
        made = world.World(lab, pki.authority(), world.passwords())
        lab.up(*names, "client", "agency", release=release)
        world.prepare(made)
        return made

    return make


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

    def run(inventory: Path, *options: str, what: str, status: int = 0) -> playbook.Played:
        played = playbook.play(str(world.SITE), "-i", str(inventory), *options)
        assert played.status == status, f"{what}: status {played.status}\n{played.output[-20_000:]}"
        say(f"{what}: {played.seconds:.0f} s, changed={played.changed}")
        return played

    return run
