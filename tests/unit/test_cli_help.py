"""What the admin's program says of itself, and what a shell completes in it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import click
import pytest
from click.shell_completion import ShellComplete

from digipoort.cli import main
from digipoort.cli.completion import MAX_NAMES
from digipoort.directory.objects import KINDS
from tests.unit.directory_samples import SETTINGS, digipoort, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS: Final = {"add", "change", "list", "remove", "show"}


def leaves(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command that is no group."""
    if not isinstance(command, click.MultiCommand):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, *path, name)


COMMANDS: Final = list(leaves(main))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_of_itself(command: tuple[str, ...]) -> None:
    result = digipoort("host=/nonexistent", *command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"digipoort {' '.join(command)}" in result.stdout.partition("Example")[2]


def test_every_kind_can_do_the_same() -> None:
    for kind in KINDS.values():
        assert {words[1] for words in COMMANDS if words[0] == kind} >= VERBS
