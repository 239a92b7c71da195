"""What the admin's program says of itself, and what a shell completes in it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import psycopg
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
    if not isinstance(command, click.Group):
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
    lines = [
        line.removeprefix("  Example").lstrip("s: ") for line in result.stdout.partition("\n  Example")[2].splitlines()
    ]
    assert any(line.startswith(f"digipoort {' '.join(command)}") for line in lines), result.stdout
    assert "\\b" not in result.stdout


def test_every_kind_can_do_the_same() -> None:
    for kind in KINDS.values():
        assert {words[1] for words in COMMANDS if words[0] == kind} >= VERBS


@pytest.fixture
def dsn(directory_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Fill a fresh directory, let the program's settings name it, and return its conninfo."""
    fill(directory_dsn)
    for name, value in {**SETTINGS, "DIRECTORY_DSN": directory_dsn, "DIRECTORY_WRITE_DSN": directory_dsn}.items():
        monkeypatch.setenv(name, value)
    return directory_dsn


def completed(line: str) -> list[str]:
    """Return what the last word of a line may become."""
    *words, incomplete = line.split(" ")
    shell = ShellComplete(main, {}, "digipoort", "_DIGIPOORT_COMPLETE")
    return [item.value for item in shell.get_completions(words, incomplete)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cred", ["credential"]),
        ("mailbox s", ["show"]),
        ("party show ", ["AAL", "DOUANE", "MAAS", "NVWA"]),
        ("party disable m", ["MAAS"]),
        ("flow limit AG", ["AGS"]),
        ("flow add X x --owner D", ["DOUANE"]),
        ("destination change a", ["agency.test"]),
        ("mailbox remove ", ["b0b0"]),
        ("address add x@party.test AA", ["AAL"]),
        ("address list --flow AG", ["AGS"]),
        ("connection add blo", ["bloemen@party.test"]),
        ("connection end bloemen@party.test EM", ["EMCS"]),
        ("credential rotate ", ["aal"]),
        ("credential change aal --mailbox ", ["b0b0"]),
        ("check aal bloemen@party.test ag", ["ags@gov.test"]),
        ("lint x.eml --flow EM", ["EMCS"]),
        ("flow resubmission AGS re", ["refuse"]),
        ("party show nobody", []),
    ],
)
def test_names_are_completed_from_the_directory(dsn: str, line: str, words: list[str]) -> None:
    assert dsn
    assert completed(line) == words


def test_a_completion_is_bounded(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO party (code, name, kind) SELECT 'P' || n, 'p', 'private' FROM generate_series(1, 999) n"
        )
    assert len(completed("party show P")) == MAX_NAMES
    assert completed("party show P99") == ["P99", *(f"P99{digit}" for digit in range(10))]


def test_a_directory_that_does_not_answer_completes_nothing_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes the connection and never says a word: the worst that a server can do to who waits.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("DIRECTORY_DSN", f"host=127.0.0.1 port={port} sslmode=disable")
        monkeypatch.setenv("LOGICAL_DOMAINS", "gov.test")
        began = time.monotonic()
        assert completed("party show ") == []
        assert time.monotonic() - began < 4
    monkeypatch.setenv("LOGICAL_DOMAINS", "")
    assert completed("party show ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str) -> None:
    result = digipoort("host=/nonexistent", "completion", shell)
    assert result.exit_code == 0, result.stderr
    assert f"_DIGIPOORT_COMPLETE={shell}_complete" in result.stdout


def test_bash_reads_the_script_and_completes(dsn: str) -> None:
    assert dsn
    script = digipoort("host=/nonexistent", "completion", "bash").stdout
    program = Path(sys.executable).with_name("digipoort")
    typed = "COMP_WORDS=(digipoort party show A); COMP_CWORD=3"
    asked = f'{script}\n{typed}; _digipoort_completion {program}; echo "${{COMPREPLY[@]}}"'
    shell = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False, timeout=30)
    assert (shell.stdout, shell.stderr) == ("AAL\n", "")
