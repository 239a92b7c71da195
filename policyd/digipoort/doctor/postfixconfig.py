"""The configuration of the gateway's Postfix instance, as postconf reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from digipoort.doctor import commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

POSTCONF: Final = "/usr/sbin/postconf"
# Service, type, five columns, command; master(5).
_COLUMNS: Final = 8
_OPTION: Final = re.compile(r"(?P<name>\S+)/(?P<kind>[a-z-]+)/(?P<key>\w+) = ?(?P<value>.*)")


class ConfigError(Exception):
    """The configuration cannot be read; the message is what the program said."""


@dataclass(frozen=True, slots=True)
class Service:
    """A line of master.cf: what it is called, what it runs, and the settings that it has for itself."""

    name: str
    kind: str
    command: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PostfixConfig:
    """All settings of main.cf, Postfix's defaults included, and the services of master.cf."""

    main: Mapping[str, str]
    services: tuple[Service, ...]

    def value(self, service: Service, name: str) -> str:
        """Return what a setting is for a service."""
        return service.options.get(name, self.main.get(name, ""))

    def named(self, name: str, kind: str = "unix") -> Service | None:
        """Return the service of this name and type."""
        return next((one for one in self.services if (one.name, one.kind) == (name, kind)), None)

    @property
    def doors(self) -> list[Service]:
        """The services that listen for SMTP on an address."""
        return [one for one in self.services if one.kind == "inet" and one.command in {"smtpd", "postscreen"}]

    @property
    def submission(self) -> list[Service]:
        """The doors for parties: those where a client may log in."""
        return [one for one in self.doors if self.value(one, "smtpd_sasl_auth_enable") == "yes"]

    @property
    def acceptance(self) -> list[Service]:
        """The doors for the hop: those where nobody logs in."""
        return [one for one in self.doors if self.value(one, "smtpd_sasl_auth_enable") != "yes"]


def read(folder: Path) -> PostfixConfig:
    """Return the configuration in a folder. Raises ConfigError."""
    main = _pairs(_postconf(folder, "-x"))
    services = _postconf(folder, "-M")
    options: dict[tuple[str, str], dict[str, str]] = {}
    for line in _postconf(folder, "-P", "-x"):
        if found := _OPTION.fullmatch(line):
            options.setdefault((found["name"], found["kind"]), {})[found["key"]] = found["value"].strip()
    return PostfixConfig(main, tuple(_services(services, options)))


def _services(lines: Iterable[str], options: Mapping[tuple[str, str], Mapping[str, str]]) -> Iterable[Service]:
    for line in lines:
        words = line.split(maxsplit=_COLUMNS)
        if len(words) >= _COLUMNS:
            name, kind, command = words[0], words[1], words[_COLUMNS - 1]
            yield Service(name, kind, command, options.get((name, kind), {}))


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _postconf(folder: Path, *options: str) -> list[str]:
    said = commands.run([POSTCONF, "-c", folder, *options])
    if said.status != 0:
        raise ConfigError(said.first_error)
    return said.output.splitlines()
