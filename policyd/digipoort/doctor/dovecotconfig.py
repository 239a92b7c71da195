"""The configuration of the gateway's Dovecot instance, as doveconf reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.doctor import commands
from digipoort.doctor.postfixconfig import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

DOVECONF: Final = "/usr/bin/doveconf"
DOVECOT: Final = "/usr/sbin/dovecot"


@dataclass(frozen=True, slots=True)
class DovecotConfig:
    """What the examination needs of it."""

    listen: tuple[str, ...]
    pop3_port: int
    pop3s_port: int
    certificate: str
    key: str
    auth_user: str
    auth_groups: tuple[str, ...]
    mail_uid: int


def read(file: Path, version: str) -> DovecotConfig:
    """Return the configuration in a file, for this version of Dovecot. Raises ConfigError."""
    older = version.startswith("2.3")
    certificate, key = ("ssl_cert", "ssl_key") if older else ("ssl_server/cert_file", "ssl_server/key_file")
    try:
        return DovecotConfig(
            listen=tuple(_value(file, "listen").replace(",", " ").split()),
            pop3_port=int(_value(file, "service/pop3-login/inet_listener/pop3/port")),
            pop3s_port=int(_value(file, "service/pop3-login/inet_listener/pop3s/port")),
            certificate=_value(file, certificate).removeprefix("<"),
            key=_value(file, key).removeprefix("<"),
            auth_user=_value(file, "default_internal_user"),
            auth_groups=tuple(_value(file, "service/auth/extra_groups").replace(",", " ").split()),
            mail_uid=int(_value(file, "first_valid_uid")),
        )
    except ValueError as error:
        raise ConfigError(f"{file}: a port or a user is no number") from error


def _value(file: Path, name: str) -> str:
    said = commands.run([DOVECONF, "-c", file, "-h", name])
    if said.status != 0:
        raise ConfigError(said.first_error)
    return said.output.strip()
