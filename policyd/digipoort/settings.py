"""One typed settings object per program, read from a settings file and the environment, checked before anything starts.

The file is `/etc/digipoort/digipoort.env` (python-dotenv's syntax, KEY=VALUE), or what DIGIPOORT_SETTINGS names. The
environment overrides the file. A setting's key is its field's name in capitals. Every fault is reported, each in a
sentence.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import typing
import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from dotenv import dotenv_values
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from digipoort import hashcost
from digipoort.hashcost import DEFAULT_COST, HashCost
from digipoort.peers import UnknownUserError, user_ids

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_FILE: Final = Path("/etc/digipoort/digipoort.env")
FILE_VARIABLE: Final = "DIGIPOORT_SETTINGS"
UNIX_SOCKET_PATH_MAX: Final = 107

SettingsT = TypeVar("SettingsT", bound="CommonSettings")


class SettingsError(Exception):
    """The settings cannot be used. `faults` has a sentence for each reason."""

    def __init__(self, faults: list[str]) -> None:
        """Keep the sentences; the message is all of them, a line each."""
        super().__init__("\n".join(faults))
        self.faults = faults


def _setting(
    default: object = dataclasses.MISSING,
    *,
    doc: str,
    check: Callable[[Any], str | None] | None = None,
    show: Callable[[Any], str] = str,
) -> Any:  # noqa: ANN401 - as dataclasses.field itself: the field's annotation is the type
    metadata = {"doc": doc, "check": check, "show": show}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _between(low: float, high: float) -> Callable[[float], str | None]:
    def check(value: float) -> str | None:
        return None if low <= value <= high else f"must be between {low:g} and {high:g}"

    return check


def _one_of(*choices: str) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        return None if value in choices else f"must be one of {', '.join(choices)}"

    return check


def _socket_path(value: Path) -> str | None:
    if not value.is_absolute():
        return "must be an absolute path"
    if len(os.fsencode(value)) > UNIX_SOCKET_PATH_MAX:
        return f"is longer than the {UNIX_SOCKET_PATH_MAX} bytes that a UNIX socket path can hold"
    return None


def _milter_directory(value: Path) -> str | None:
    return _socket_path(value / "milter-submission.sock")


def _timezone(value: str) -> str | None:
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        # A host without tzdata knows no zone at all; PostgreSQL, which computes the day, brings its own.
        return "is no time zone" if zoneinfo.available_timezones() else None
    return None


def _users(value: tuple[str, ...]) -> str | None:
    try:
        user_ids(value)
    except UnknownUserError as error:
        return f"cannot be used: {error}".removesuffix(".")
    return None


def _absolute(value: Path) -> str | None:
    return None if value.is_absolute() else "must be an absolute path"


def _conninfo(value: str) -> str | None:
    try:
        conninfo_to_dict(value)
    except ProgrammingError:
        # What libpq says about it quotes the string, and that holds a password.
        return "is not a libpq connection string (key=value …, or postgresql://…)"
    return None


def _masked_conninfo(value: str) -> str:
    parts = conninfo_to_dict(value)
    masks = {name: "********" for name in ("password", "sslpassword") if name in parts}
    return make_conninfo(**(parts | masks))


def _dsn(doc: str, default: object = dataclasses.MISSING) -> Any:  # noqa: ANN401 - see _setting
    return _setting(default, doc=doc, check=_conninfo, show=_masked_conninfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings:
    """What every program reads."""

    syslog_socket: Path = _setting(Path("/dev/log"), doc="where log lines go, facility mail", check=_socket_path)
    log_level: str = _setting(
        "info", doc="debug, info, warning or error", check=_one_of("debug", "info", "warning", "error")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HashSettings(CommonSettings):
    """What a new password hash costs: read by the programs that make one."""

    hash_memory_kib: int = _setting(
        DEFAULT_COST.memory_kib,
        doc="KiB of memory that a new password hash takes (argon2id)",
        check=_between(hashcost.MIN_MEMORY_KIB, hashcost.MAX_MEMORY_KIB),
    )
    hash_passes: int = _setting(
        DEFAULT_COST.passes,
        doc="passes over that memory; more of them cost time only",
        check=_between(1, hashcost.MAX_PASSES),
    )
    hash_lanes: int = _setting(
        DEFAULT_COST.lanes,
        doc="lanes of a new password hash, each computed by a thread of its own",
        check=_between(1, hashcost.MAX_LANES),
    )

    @property
    def hash_cost(self) -> HashCost:
        """The three together."""
        return HashCost(self.hash_memory_kib, self.hash_passes, self.hash_lanes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicydSettings(CommonSettings):
    """The policy daemon."""

    directory_dsn: str = _dsn(
        "libpq conninfo of the directory, multi-host allowed; read only", default="dbname=digipoort"
    )
    directory_write_dsn: str = _dsn(
        "libpq conninfo of the server that remembers submissions", default="dbname=digipoort"
    )
    policyd_socket: Path = _setting(
        Path("/run/digipoort/policyd.sock"), doc="UNIX socket that Postfix's smtpd connects to", check=_socket_path
    )
    resubmission_socket: Path = _setting(
        Path("/run/digipoort/resubmission.sock"), doc="UNIX socket that the milters connect to", check=_socket_path
    )
    resubmission_window_days: int = _setting(
        30, doc="days in which a message that comes again is recognised", check=_between(1, 3650)
    )
    logical_domains: tuple[str, ...] = _setting(doc="domains of logical addresses, separated by commas or spaces")
    request_deadline: float = _setting(
        2.0, doc="seconds until a request is answered with DGP-9002", check=_between(0.1, 60)
    )
    directory_connections: int = _setting(4, doc="connections to the directory", check=_between(1, 100))
    directory_timezone: str = _setting(
        "Europe/Amsterdam", doc="whose calendar day a connection's dates mean", check=_timezone
    )
    submission_rate_recipients: int = _setting(
        600,
        doc="recipients that one login may address within SUBMISSION_RATE_SECONDS; more wait (DGP-1009). 0: no limit",
        check=_between(0, 100_000),
    )
    submission_rate_seconds: float = _setting(
        60.0, doc="seconds in which SUBMISSION_RATE_RECIPIENTS count", check=_between(1, 86_400)
    )
    drain_seconds: float = _setting(5.0, doc="seconds that requests under way get at SIGTERM", check=_between(0, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthdSettings(HashSettings):
    """The authentication daemon."""

    directory_dsn: str = _dsn(
        "libpq conninfo of the directory, multi-host allowed; read only", default="dbname=digipoort"
    )
    authd_socket: Path = _setting(
        Path("/run/digipoort/authd.sock"),
        doc="UNIX socket that Dovecot's checkpassword client or Lua script connects to",
        check=_socket_path,
    )
    request_deadline: float = _setting(2.0, doc="seconds until the directory has answered", check=_between(0.1, 60))
    rehash_dsn: str = _dsn(
        "libpq conninfo of the server that takes changes, as a login of digipoort_rehash; empty: no hash is replaced",
        default="",
    )
    authd_peers: tuple[str, ...] = _setting(
        ("dovecot", "root"),
        doc="users whose processes may ask: Dovecot's auth process, and the admin",
        check=_users,
    )
    login_deadline: float = _setting(
        8.0,
        doc="seconds until a login is answered temporary; clients wait a second longer",
        check=_between(0.1, 60),
    )
    directory_timezone: str = _setting(
        "Europe/Amsterdam", doc="whose calendar day a credential's dates mean", check=_timezone
    )
    mailbox_domain: str = _setting(
        "mailbox.invalid", doc="the domain that physical mailbox addresses have inside Postfix"
    )
    directory_connections: int = _setting(4, doc="connections to the directory", check=_between(1, 100))
    hash_workers: int = _setting(2, doc="password hashes computed at the same time", check=_between(1, 64))
    auth_free_failures_pair: int = _setting(
        5, doc="failed logins of one login from one network until its attempts wait", check=_between(1, 10_000)
    )
    auth_free_failures_network: int = _setting(
        50, doc="failed logins from one network until attempts from there wait. 0: no limit", check=_between(0, 100_000)
    )
    auth_free_failures_login: int = _setting(
        100, doc="failed logins of one login until attempts with it wait. 0: no limit", check=_between(0, 100_000)
    )
    auth_longest_wait: float = _setting(
        900.0, doc="seconds to which the wait, 1 at first, doubles with each further failure", check=_between(1, 3600)
    )
    auth_forget_seconds: float = _setting(
        3600.0, doc="seconds in which any number of failed logins is forgotten evenly", check=_between(3600, 2_592_000)
    )
    auth_network_prefix4: int = _setting(
        32, doc="bits of an IPv4 address that make a network, for limits of failed logins", check=_between(8, 32)
    )
    auth_network_prefix6: int = _setting(64, doc="the same of an IPv6 address", check=_between(16, 128))
    drain_seconds: float = _setting(5.0, doc="seconds that requests under way get at SIGTERM", check=_between(0, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class SaslSettings(CommonSettings):
    """The relay between Postfix's smtpd and Dovecot's authentication server."""

    sasl_socket: Path = _setting(
        Path("/run/digipoort/sasl.sock"), doc="UNIX socket that Postfix's smtpd connects to", check=_socket_path
    )
    dovecot_auth_socket: Path = _setting(
        Path("/run/digipoort/dovecot-auth.sock"),
        doc="UNIX socket of Dovecot's authentication server",
        check=_socket_path,
    )
    sasl_peers: tuple[str, ...] = _setting(
        ("postfix", "root"),
        doc="users, by name or number, whose processes may connect: Postfix's mail_owner",
        check=_users,
    )
    # Above the 9 seconds of authd's clients, below the 10 after which smtpd gives up by itself (AUTH_TIMEOUT).
    sasl_deadline: float = _setting(
        9.5, doc="seconds until a login that Dovecot does not answer is temporary", check=_between(0.1, 9.9)
    )
    sasl_connections: int = _setting(
        400, doc="smtpd processes that may be connected, with two file descriptors each", check=_between(1, 10_000)
    )
    drain_seconds: float = _setting(5.0, doc="seconds that logins under way get at SIGTERM", check=_between(0, 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class MilterSettings(CommonSettings):
    """The milter, all three roles."""

    milter_directory: Path = _setting(
        Path("/run/digipoort"), doc="folder of the sockets milter-ROLE.sock", check=_milter_directory
    )
    profiles_file: Path = _setting(
        Path("/var/lib/digipoort/maps/profiles.json"), doc="flow profiles that maps publish wrote", check=_absolute
    )
    resubmission_socket: Path = _setting(
        Path("/run/digipoort/resubmission.sock"),
        doc="UNIX socket of the policy daemon that is asked about earlier submissions",
        check=_socket_path,
    )
    resubmission_deadline: float = _setting(
        2.0, doc="seconds until a message waits because that was not answered, DGP-9008", check=_between(0.1, 60)
    )
    gateway_name: str = _setting("digipoort", doc="the name that receipts carry as Reporting-MTA")
    logical_domains: tuple[str, ...] = _setting(doc="domains of logical addresses, separated by commas or spaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings(HashSettings):
    """The admin CLI: the directory's writer and the publisher of maps."""

    directory_dsn: str = _dsn(
        "libpq conninfo of the directory, multi-host allowed; read only", default="dbname=digipoort"
    )
    directory_write_dsn: str = _dsn("libpq conninfo of the server that takes changes", default="dbname=digipoort")
    directory_timezone: str = _setting(
        "Europe/Amsterdam", doc="whose calendar day a connection's dates mean", check=_timezone
    )
    logical_domains: tuple[str, ...] = _setting(doc="domains of logical addresses, separated by commas or spaces")
    mailbox_domain: str = _setting(
        "mailbox.invalid", doc="the domain that physical mailbox addresses have inside Postfix"
    )
    mailbox_transport: str = _setting(
        "lmtp:unix:/run/digipoort/lmtp.sock", doc="Postfix transport:nexthop of the mailboxes"
    )
    maps_directory: Path = _setting(Path("/var/lib/digipoort/maps"), doc="where maps are published", check=_absolute)
    map_type: str = _setting(
        "",
        doc="lmdb, hash, …; empty: Postfix's default_database_type",
        check=_one_of("", "lmdb", "hash", "btree", "cdb"),
    )
    maps_removed_share: float = _setting(
        0.2, doc="the share of published addresses that may vanish at once without --force", check=_between(0, 1)
    )
    maps_generations: int = _setting(5, doc="published states that are kept", check=_between(1, 100))
    authd_socket: Path = _setting(
        Path("/run/digipoort/authd.sock"), doc="UNIX socket of the authentication daemon", check=_socket_path
    )
    postfix_config_directory: Path = _setting(
        Path("/etc/postfix-digipoort"), doc="the Postfix instance's configuration", check=_absolute
    )
    dovecot_config: Path = _setting(
        Path("/etc/dovecot-digipoort/dovecot.conf"), doc="the Dovecot instance's configuration", check=_absolute
    )
    mail_directory: Path = _setting(
        Path("/var/lib/digipoort/mail"), doc="the folder that holds every mailbox of this host", check=_absolute
    )
    postmaster_mailbox: str = _setting("gateway-postmaster", doc="the mailbox of receipts that reach nobody")
    mail_retention_days: int = _setting(
        0, doc="days after which `digipoort mailbox purge` deletes a message. 0: never", check=_between(0, 3650)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsSettings(AdminSettings):
    """The publisher daemon."""

    maps_poll_seconds: float = _setting(
        0.5, doc="seconds between two looks at the directory's change counter", check=_between(0.1, 60)
    )
    maps_full_check_seconds: float = _setting(
        600.0, doc="seconds after which all is compared, whatever the counter says", check=_between(10, 86_400)
    )


PROGRAMS: Final[dict[str, type[CommonSettings]]] = {
    "policyd": PolicydSettings,
    "milter": MilterSettings,
    "authd": AuthdSettings,
    "sasl": SaslSettings,
    "admin": AdminSettings,
    "maps": MapsSettings,
}


def read_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings file's variables, overridden by the environment's.

    The default file may be absent. Raises SettingsError when the file that DIGIPOORT_SETTINGS names cannot be read, or
    when every user can read it.
    """
    environment = os.environ if environment is None else environment
    path = Path(environment.get(FILE_VARIABLE, DEFAULT_FILE))
    variables: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            if os.fstat(stream.fileno()).st_mode & stat.S_IRWXO:
                raise SettingsError(
                    [f"The settings file {path} is open to every user but holds passwords: chmod 0640."]
                )
            # Not interpolated: a password may hold a dollar sign.
            pairs = dotenv_values(stream=stream, interpolate=False).items()
            variables = {key: value for key, value in pairs if value is not None}
    except FileNotFoundError:
        if FILE_VARIABLE in environment:
            raise SettingsError([f"The settings file {path} does not exist."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"The settings file {path} cannot be read: {error}."]) from error
    return variables | dict(environment)


def load(kind: type[SettingsT], variables: Mapping[str, str] | None = None) -> SettingsT:
    """Return the checked settings of one program.

    Raises SettingsError with one sentence per fault, so that an admin mends them in one round.
    """
    variables = read_variables() if variables is None else variables
    types = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    faults: list[str] = []
    for item in dataclasses.fields(kind):
        key = item.name.upper()
        text = variables.get(key)
        if text is None:
            if item.default is dataclasses.MISSING:
                faults.append(f"{key} is not set: {item.metadata['doc']}.")
            continue
        value, fault = _parsed(text, types[item.name], item.metadata["check"])
        if fault is None:
            values[item.name] = value
        else:
            shown = f" (it is {text!r})" if item.metadata["show"] is str else ""
            faults.append(f"{key} {fault}{shown}.")
    if faults:
        raise SettingsError(faults)
    return kind(**values)


def _parsed(text: str, kind: object, check: Callable[[Any], str | None] | None) -> tuple[object, str | None]:
    """Return a setting's value and, when it is not usable, what is wrong with it."""
    value: object
    if kind == tuple[str, ...]:
        value = tuple(text.lower().replace(",", " ").split())
        if not value:
            return None, "needs at least one value"
        return value, check(value) if check else None
    try:
        value = {int: int, float: float, Path: Path, str: str}[kind](text)  # type: ignore[index]
    except ValueError:
        return None, "is not a number"
    return value, check(value) if check else None


def effective(settings: CommonSettings) -> list[tuple[str, str, str]]:
    """Return (key, value, meaning) for every setting, secrets masked."""
    rows = []
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        shown = ", ".join(value) if isinstance(value, tuple) else item.metadata["show"](value)
        rows.append((item.name.upper(), shown, item.metadata["doc"]))
    return rows
