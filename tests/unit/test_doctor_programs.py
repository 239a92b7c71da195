"""Whose settings `digipoort doctor` judges: each program's, from the file that it reads, and the file is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from digipoort.doctor import programs
from digipoort.settings import AdminSettings, AuthdSettings, PolicydSettings, read_variables
from tests.unit.directory_samples import digipoort

if TYPE_CHECKING:
    from pathlib import Path

DOMAINS = "LOGICAL_DOMAINS=gov.test\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an admin's settings file in it."""
    _write(tmp_path / "digipoort.env", DOMAINS)
    return tmp_path


def _write(file: Path, text: str, mode: int = 0o600) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def _variables(folder: Path, **environment: str) -> dict[str, str]:
    return read_variables({"DIGIPOORT_SETTINGS": str(folder / "digipoort.env"), **environment})


def test_without_files_of_their_own_all_read_one(folder: Path) -> None:
    file = folder / "digipoort.env"
    _write(file, DOMAINS + "HASH_LANES=0\nREQUEST_DEADLINE=soon\n")
    # Of both programs that read it, once.
    assert programs.faults(_variables(folder)) == (
        f"{file}: REQUEST_DEADLINE is not a number (it is 'soon').",
        f"{file}: HASH_LANES must be between 1 and 16 (it is '0').",
    )


def test_a_fault_of_the_environment_is_not_the_files(folder: Path) -> None:
    told = programs.faults(_variables(folder, REQUEST_DEADLINE="soon"))
    assert told == ("the environment: REQUEST_DEADLINE is not a number (it is 'soon').",)


def test_a_program_with_a_file_of_its_own_reads_nothing_else(folder: Path) -> None:
    _write(folder / "digipoort.env", DOMAINS + "REQUEST_DEADLINE=soon\nAUTHD_SOCKET=/run/admins.sock\n")
    _write(folder / "authd.env", "AUTHD_SOCKET=/run/own.sock\n")
    _write(folder / "policyd.env", "DIRECTORY_CONNECTIONS=0\n")
    variables = _variables(folder, DIRECTORY_CONNECTIONS="many")
    meaning = "domains of logical addresses, separated by commas or spaces"
    assert programs.faults(variables) == (
        f"{folder}/policyd.env: LOGICAL_DOMAINS is not set: {meaning}.",
        f"{folder}/policyd.env: DIRECTORY_CONNECTIONS must be between 1 and 100 (it is '0').",
    )
    own = programs.settings_of(AuthdSettings, variables)
    assert (str(own.authd_socket), own.request_deadline, own.directory_connections) == ("/run/own.sock", 2.0, 4)
    assert str(programs.settings_of(AdminSettings, variables).authd_socket) == "/run/admins.sock"


def test_a_file_that_its_program_would_refuse(folder: Path) -> None:
    file = folder / "sasl.env"
    _write(file, "", mode=0o644)
    refusal = f"The settings file {file} is open to every user but holds passwords: chmod 0640."
    assert programs.faults(_variables(folder)) == (refusal,)


def test_an_admin_file_of_any_name_is_the_admins(folder: Path) -> None:
    """As the sandbox's admin.env; and a daemon's file, where DIGIPOORT_SETTINGS names that."""
    file = folder / "policyd.env"
    _write(file, DOMAINS)
    variables = read_variables({"DIGIPOORT_SETTINGS": str(file), "POLICYD_SOCKET": "/run/x.sock"})
    assert str(programs.settings_of(PolicydSettings, variables).policyd_socket) == "/run/x.sock"


def test_the_admins_own_faults_are_told_with_the_file(folder: Path) -> None:
    file = folder / "digipoort.env"
    _write(file, DOMAINS + "MAPS_GENERATIONS=0\n")
    ended = digipoort("host=/nonexistent", "doctor", "--json", DIGIPOORT_SETTINGS=str(file))
    (told,) = json.loads(ended.stdout)
    assert (ended.exit_code, told["check"], told["level"]) == (1, "settings", "fault")
    assert told["found"] == f"{file}: MAPS_GENERATIONS must be between 1 and 100 (it is '0')."
