"""The settings of every program, as it reads them: a daemon's are in a file of its own, beside the admin's, if one is.

The playbook writes such files (docs/install.md); systemd hands a daemon its own, and nothing of the admin's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from digipoort.settings import (
    DEFAULT_FILE,
    FILE_VARIABLE,
    PROGRAMS,
    AdminSettings,
    SettingsError,
    load,
    read_variables,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from digipoort.settings import CommonSettings, SettingsT


def settings_file(variables: Mapping[str, str]) -> Path:
    """Return the file that these variables came from, which may be absent: then all are the environment's."""
    return Path(variables.get(FILE_VARIABLE, DEFAULT_FILE))


def settings_of(kind: type[SettingsT], variables: Mapping[str, str]) -> SettingsT:
    """Return the settings of the program of this kind; `variables` are this program's own. Raises SettingsError."""
    file = _own_file(kind, variables)
    return load(kind, variables if file is None else _alone(file))


def faults(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong with the settings for any program, each once, with the file that it stands in."""
    found: dict[str, None] = {}
    for kind in PROGRAMS.values():
        file = _own_file(kind, variables)
        told = _in_own_file(kind, file) if file is not None else _as_here(kind, variables)
        found |= dict.fromkeys(told)
    return tuple(found)


def _own_file(kind: type[CommonSettings], variables: Mapping[str, str]) -> Path | None:
    if kind is AdminSettings:
        return None
    admins = settings_file(variables)
    (name,) = [name for name, one in PROGRAMS.items() if one is kind]
    file = admins.parent / f"{name}.env"
    return file if file != admins and file.exists() else None


def _in_own_file(kind: type[CommonSettings], file: Path) -> list[str]:
    try:
        variables = _alone(file)
    except SettingsError as error:
        return error.faults
    return [f"{file}: {fault}" for fault in _faults(kind, variables)]


def _as_here(kind: type[CommonSettings], variables: Mapping[str, str]) -> list[str]:
    file = settings_file(variables)
    of_file = _faults(kind, _alone(file)) if file.exists() else []
    return [f"{file if fault in of_file else 'the environment'}: {fault}" for fault in _faults(kind, variables)]


def _alone(file: Path) -> dict[str, str]:
    return read_variables({FILE_VARIABLE: str(file)})


def _faults(kind: type[CommonSettings], variables: Mapping[str, str]) -> list[str]:
    try:
        load(kind, variables)
    except SettingsError as error:
        return error.faults
    return []
