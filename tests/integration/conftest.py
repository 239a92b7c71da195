"""One sandbox for the whole test run, and the accounts of its parties."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.gateway import Gateway
from tests.sandbox import stacks
from tests.sandbox.clients import read_env
from tests.sandbox.layout import CHECKOUT, POINTER, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator


def _sandbox(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "tests.sandbox", *arguments], check=True, cwd=CHECKOUT)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Start the sandbox, unless `make up` did; stop it afterwards if it was ours."""
    found = Layout.existing() is not None
    if not found:
        _sandbox("up")
    layout = Layout.existing()
    assert layout is not None
    yield Gateway(read_env(POINTER / "env"), layout, tmp_path_factory.mktemp("seen"))
    if not found:
        _sandbox("down")


@pytest.fixture(scope="module")
def stack(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[str]:
    """Let the sandbox run another combination of Postfix, Dovecot and the way to authd, for the tests that name one."""
    gateway.control("switch", request.param)
    yield request.param
    gateway.control("switch", stacks.DEFAULT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the search for disclosures run last: it reads what every other test has seen."""
    items.sort(key=lambda item: Path(item.fspath).name == "test_disclosure.py")
