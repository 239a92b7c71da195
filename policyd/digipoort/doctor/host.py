"""What several parts of `digipoort doctor` need to know of this host, gathered once."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digipoort.doctor import commands, dovecotconfig, postfixconfig, programs
from digipoort.doctor.commands import User
from digipoort.doctor.postfixconfig import ConfigError, PostfixConfig
from digipoort.settings import SettingsError, SettingsT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from digipoort.doctor.dovecotconfig import DovecotConfig
    from digipoort.settings import AdminSettings


@dataclass(frozen=True, slots=True)
class Host:
    """The settings, and the configuration of Postfix and Dovecot: a sentence where it cannot be read."""

    variables: Mapping[str, str]
    settings: AdminSettings
    postfix: PostfixConfig | str
    dovecot: DovecotConfig | str
    dovecot_version: str

    @property
    def settings_file(self) -> Path:
        """The file that the settings came from, where there is one."""
        return programs.settings_file(self.variables)

    def of(self, kind: type[SettingsT]) -> SettingsT | None:
        """Return a program's settings, as it reads them; None when they cannot be used: the check `settings` tells."""
        try:
            return programs.settings_of(kind, self.variables)
        except SettingsError:
            return None

    @property
    def postfix_user(self) -> User | None:
        """Whom Postfix's processes run as: mail_owner and its first group, no other."""
        if isinstance(self.postfix, str):
            return None
        try:
            owner = pwd.getpwnam(self.postfix.main.get("mail_owner", "postfix"))
        except KeyError:
            return None
        return User(owner.pw_uid, owner.pw_gid)


def look(variables: Mapping[str, str], settings: AdminSettings) -> Host:
    """Read the configuration of this host's Postfix and Dovecot instances."""
    version = _dovecot_version()
    return Host(
        variables=variables,
        settings=settings,
        postfix=_postfix(settings.postfix_config_directory),
        dovecot=_dovecot(settings.dovecot_config, version),
        dovecot_version=version,
    )


def _postfix(folder: Path) -> PostfixConfig | str:
    try:
        return postfixconfig.read(folder)
    except ConfigError as error:
        return str(error)


def _dovecot(file: Path, version: str) -> DovecotConfig | str:
    # As itself only: Dovecot's configuration names files that only root may open, and doveconf reads them.
    if not os.access(file, os.R_OK):
        return f"{file} is not there, or may not be read"
    try:
        return dovecotconfig.read(file, version)
    except ConfigError as error:
        return str(error)


def _dovecot_version() -> str:
    words = commands.run([dovecotconfig.DOVECOT, "--version"]).output.split()
    return words[0] if words else ""
