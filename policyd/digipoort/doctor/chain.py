"""This host's part of the directory chain: settings, both servers, schema, replication, rights, published maps.

A check is a function in CHECKS that takes the facts and returns findings, one line each; it asks nobody. A check that
lacks its facts, because a server gave no answer, returns none: that is told once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.directory import condition, session
from digipoort.directory.condition import ENDING_DAYS
from digipoort.directory.migrate import packaged_migrations
from digipoort.doctor import mapstate, programs
from digipoort.doctor.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from digipoort.directory.condition import Server
    from digipoort.doctor.host import Host
    from digipoort.doctor.mapstate import MapState
    from digipoort.settings import AdminSettings

CLOCK_SECONDS: Final = 5.0
LATE_SECONDS: Final = 300.0
# Debian 12's: what the statements were tried with.
MIN_POSTGRESQL: Final = 15
_SERVER_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known: of a server that gave no answer, and of maps that cannot be looked at, a sentence why."""

    setting_faults: tuple[str, ...]
    timezone: str
    known_migrations: tuple[str, ...]
    reader: Server | str
    writer: Server | str
    maps: MapState | str


def examine(host: Host) -> list[Finding]:
    """Ask both servers, and look at the published maps."""
    settings = host.settings
    writer = _server(settings.directory_write_dsn, settings.directory_timezone)
    written = None if isinstance(writer, str) else writer.counter
    return diagnose(
        Facts(
            setting_faults=programs.faults(host.variables),
            timezone=settings.directory_timezone,
            known_migrations=tuple(migration.name for migration in packaged_migrations()),
            writer=writer,
            reader=_server(settings.directory_dsn, settings.directory_timezone, written),
            maps=_maps(settings),
        )
    )


def diagnose(facts: Facts) -> list[Finding]:
    """Return the findings of all checks, in the order of CHECKS."""
    return [finding for check in CHECKS for finding in check(facts)]


def settings(facts: Facts) -> Sequence[Finding]:
    """Judge the settings of all programs, as each reads them."""
    faults = [Finding("settings", Level.FAULT, fault, "mend the settings file") for fault in facts.setting_faults]
    return faults or [Finding("settings", Level.OK, "can be used by every program")]


def reader(facts: Facts) -> Sequence[Finding]:
    """Tell which server this host reads from."""
    if isinstance(facts.reader, str):
        remedy = "PostgreSQL, network, DIRECTORY_DSN; until then all messages wait"
        return [Finding("directory", Level.FAULT, facts.reader, remedy)]
    major = facts.reader.version.partition(".")[0]
    if major.isdigit() and int(major) < MIN_POSTGRESQL:
        remedy = f"PostgreSQL {MIN_POSTGRESQL} or later"
        return [Finding("directory", Level.WARNING, f"{_described(facts.reader)}, which was never tried", remedy)]
    return [Finding("directory", Level.OK, _described(facts.reader))]


def schema(facts: Facts) -> Sequence[Finding]:
    """Compare the directory's migrations with those of this version."""
    if isinstance(facts.reader, str):
        return []
    applied = facts.reader.migrations
    if applied is None:
        found = f"the role {facts.reader.role} may not read the table migration: its version is not known"
        return [Finding("schema", Level.WARNING, found, "digipoort migrate, as the directory's owner, grants it")]
    missing = [name for name in facts.known_migrations if name not in applied]
    if missing:
        return [Finding("schema", Level.FAULT, f"lacks {', '.join(missing)}", "digipoort migrate")]
    newer = sorted(applied.difference(facts.known_migrations))
    if newer:
        # After a rollback, or before this host's turn in an upgrade: this version bears it (docs/decisions/0016).
        found = f"newer than this version, which does not know {', '.join(newer)}"
        return [Finding("schema", Level.WARNING, found, "install that version here, unless it was taken back")]
    return [Finding("schema", Level.OK, f"has all {len(applied)} migrations of this version")]


def replication(facts: Facts) -> Sequence[Finding]:
    """Judge how far the server that this host reads from is behind; an idle primary is no lag."""
    if isinstance(facts.reader, str):
        return []
    written = None if isinstance(facts.writer, str) else facts.writer.counter
    read, lag = facts.reader.counter, facts.reader.lag
    behind = 0 if written is None or read is None else max(0, written - read)
    if lag is None:
        if not behind:
            return []
        found = f"DIRECTORY_DSN leads to a primary {_changes(behind)} behind DIRECTORY_WRITE_DSN: two directories"
        return [Finding("replication", Level.FAULT, found, "make both lead to one cluster; stop the old primary")]
    changes = "" if written is None or read is None else f"{_changes(behind)} behind, "
    if not (behind or lag.behind_received or lag.paused):
        return [Finding("replication", Level.OK, f"{changes}all that was received is replayed")]
    since = "none since its start" if lag.idle_seconds is None else f"the last {lag.idle_seconds:.0f} s ago"
    found = f"{changes}last transaction replayed: {since}"
    if lag.paused:
        return [Finding("replication", Level.FAULT, f"{found}; replay is paused", "SELECT pg_wal_replay_resume()")]
    late = lag.idle_seconds is None or lag.idle_seconds > LATE_SECONDS
    remedy = "PostgreSQL's log there, pg_stat_wal_receiver; withdrawn rights still count on this host"
    return [Finding("replication", Level.FAULT if late else Level.WARNING, found, remedy)]


def writer(facts: Facts) -> Sequence[Finding]:
    """Tell whether the server for changes and for the memory of submissions takes them."""
    if isinstance(facts.writer, str):
        remedy = "PostgreSQL's primary, network, DIRECTORY_WRITE_DSN; until then messages wait (DGP-9008)"
        return [Finding("writing", Level.FAULT, facts.writer, remedy)]
    described = _described(facts.writer)
    if facts.writer.standby or facts.writer.read_only:
        found = f"{described}, takes no changes"
        remedy = "name the primary in DIRECTORY_WRITE_DSN, or all hosts with target_session_attrs=read-write"
        return [Finding("writing", Level.FAULT, found, remedy)]
    return [Finding("writing", Level.OK, described)]


def privileges(facts: Facts) -> Sequence[Finding]:
    """Tell whether the role that reads may do more than that."""
    if isinstance(facts.reader, str):
        return []
    too_many = [f"write to {', '.join(facts.reader.writable)}"] if facts.reader.writable else []
    too_many += ["read password hashes"] if facts.reader.reads_hashes else []
    if too_many:
        found = f"the role {facts.reader.role} of DIRECTORY_DSN can {' and '.join(too_many)}"
        remedy = "a login role that is a member of digipoort_read only"
        return [Finding("privileges", Level.FAULT, found, remedy)]
    return [Finding("privileges", Level.OK, f"the role {facts.reader.role} can only read, and no password hashes")]


def clock(facts: Facts) -> Sequence[Finding]:
    """Compare this host's clock with the directory server's."""
    if isinstance(facts.reader, str):
        return []
    found = f"{abs(facts.reader.clock_ahead):.1f} s between this host and {facts.reader.host}"
    if abs(facts.reader.clock_ahead) > CLOCK_SECONDS:
        return [Finding("clock", Level.WARNING, found, "time synchronisation of both")]
    return [Finding("clock", Level.OK, found)]


def timezone(facts: Facts) -> Sequence[Finding]:
    """Tell which day it is for connections; the directory server computes it."""
    if isinstance(facts.reader, str):
        return []
    if facts.reader.day is None:
        found = f"the directory server knows no time zone {facts.timezone}"
        return [Finding("time zone", Level.FAULT, found, "DIRECTORY_TIMEZONE")]
    return [Finding("time zone", Level.OK, f"it is {facts.reader.day} in {facts.timezone}")]


def credentials(facts: Facts) -> Sequence[Finding]:
    """Tell which logins end soon: their parties' programs would be refused from one day to the next."""
    if isinstance(facts.reader, str) or facts.reader.ending is None:
        return []
    ending = facts.reader.ending
    if not ending.total:
        return [Finding("credentials", Level.OK, f"none ends within {ENDING_DAYS} days")]
    named = ", ".join(f"{login} ({last})" for login, last in ending.first)
    more = ending.total - len(ending.first)
    found = f"{ending.total} end within {ENDING_DAYS} days: {named}" + (f" and {more} more" if more else "")
    remedy = "nothing where a successor is in use; else digipoort credential rotate --successor, or change --until"
    return [Finding("credentials", Level.WARNING, found, remedy)]


def maps(facts: Facts) -> Sequence[Finding]:
    """Judge the published maps, and how far they are behind the directory."""
    state = facts.maps
    if isinstance(state, str):
        return [Finding("maps", Level.FAULT, state, "MAPS_DIRECTORY, and who may read it")]
    found = []
    if state.type_fault:
        found.append(Finding("maps", Level.FAULT, state.type_fault, "MAP_TYPE, Postfix's default_database_type"))
    if state.counter is None:
        return [*found, Finding("maps", Level.FAULT, "nothing is published on this host", "digipoort maps publish")]
    if state.lacking and state.changing:
        lacking = f"not whole yet, as a publication is under way: {', '.join(state.lacking)}"
        found.append(Finding("maps", Level.WARNING, lacking, "look again when it has ended"))
    elif state.lacking:
        lacking = f"not there, or not whole: {', '.join(state.lacking)}"
        found.append(Finding("maps", Level.FAULT, lacking, "digipoort maps publish"))
    if state.held:
        held = "an admin went back to earlier maps; nothing is published by itself"
        found.append(Finding("maps", Level.WARNING, held, "digipoort maps publish ends that"))
    return [*found, _published(facts, state, state.counter)]


def _published(facts: Facts, state: MapState, counter: int) -> Finding:
    generation = "" if state.generation is None else f" (generation {state.generation})"
    published = f"change {counter}{generation} is published"
    newest = None if isinstance(facts.reader, str) else facts.reader.counter
    if newest is None or newest == counter:
        return Finding("maps", Level.OK, published if newest is None else f"{published}, the directory's last")
    if newest < counter:
        found = f"{published}; the server that this host reads is {_changes(counter - newest)} behind that"
        return Finding(
            "maps", Level.WARNING, found, "its replication; after a restore, digipoort maps publish --allow-older"
        )
    found = f"{published}, {_changes(newest - counter)} behind the directory{_ago(state)}"
    return Finding(
        "maps", Level.WARNING, found, "is digipoort-maps running? event=maps_not_published; digipoort maps publish"
    )


def _ago(state: MapState) -> str:
    return "" if state.age_seconds is None else f", the last publication was {state.age_seconds / 60:.0f} minutes ago"


def _changes(number: int) -> str:
    return f"{number} change" if number == 1 else f"{number} changes"


def _described(server: Server) -> str:
    kind = "standby" if server.standby else "primary"
    return f"{server.host}, {kind}, PostgreSQL {server.version}, {server.round_trip_ms:.1f} ms"


def _server(dsn: str, timezone: str, expected: int | None = None) -> Server | str:
    """Return a server's condition, or why it is not known."""
    try:
        with session.connected(dsn) as connection, session.bounded(connection, _SERVER_SECONDS):
            return condition.observe(connection, timezone, expected)
    except session.DirectoryFaultError as error:
        return str(error)


def _maps(settings: AdminSettings) -> MapState | str:
    try:
        return mapstate.look(settings)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"


# To add a check: write it, and name it here.
CHECKS: Final[tuple[Callable[[Facts], Sequence[Finding]], ...]] = (
    settings,
    reader,
    schema,
    replication,
    writer,
    privileges,
    clock,
    timezone,
    credentials,
    maps,
)
