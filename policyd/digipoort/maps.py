"""Publishes the directory to this host: the Postfix tables of the delivery and the milter's flow profiles.

All files come from one snapshot, and their order never shows Postfix or the milter a state that sends a message astray:

1. the tables behind an address (`tls_policy`, `transport`, `mailbox`) and `profiles.json`, the tables with what is
   new and, still, what is gone;
2. `virtual_alias`, which makes addresses exist (`relay_recipient_maps`) and leads them to their targets;
3. the tables of step 1 again, without what is gone, in the opposite order, if anything is gone.

Tables are looked up as virtual(5), transport(5) and TLS_README's `smtp_tls_policy_maps` say.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString

from digipoort import generations, mapfiles
from digipoort.directory import queries, session
from digipoort.interface.profile import ProfilesInvalidError
from digipoort.profiles import parse_profiles
from digipoort.resubmission import Policy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.settings import AdminSettings

PROFILES_VERSION: Final = 1
ALIAS: Final = "virtual_alias"
PROFILES: Final = "profiles.json"
# The order in which additions appear: a nexthop must never be in use before its TLS policy is in force.
TARGETS: Final = ("tls_policy", "transport", "mailbox")
_TEXTS: Final = (*TARGETS, PROFILES, ALIAS)
_COUNTER: Final = "published_counter"
_STAGING_PREFIX: Final = ".new-"
_ROWS_AT_A_TIME: Final = 2000
_LOCK_SECONDS: Final = 30.0
_LOCK_PAUSE: Final = 0.1


class PublishError(Exception):
    """The directory's contents cannot be published on this host; the message is a sentence for the admin."""


class PublishGuardError(PublishError):
    """So much of what is published would vanish that it may be a mistake."""


class PublishHeldError(PublishError):
    """An admin went back to earlier maps, and has not published since."""


class PublishBusyError(PublishError):
    """What stands in the way goes by itself: trying again later helps."""


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome: the change counter of the snapshot, how many entries each file has, and which files changed."""

    counter: int
    counts: dict[str, int]
    changed: tuple[str, ...]
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class _Route:
    """A physical domain's row of the directory."""

    domain: str
    nexthop: str
    tls_level: str
    tls_match: str | None
    transport: str

    def tls_policy(self) -> str:
        """Return the right-hand side of smtp_tls_policy_maps; levels that compare no name or fingerprint take none."""
        if self.tls_match is None or self.tls_level in {"encrypt", "dane-only"}:
            return self.tls_level
        return f"{self.tls_level} match={self.tls_match}"


def publish(
    settings: AdminSettings, *, allow_older: bool = False, force: bool = False, unless_held: bool = False
) -> Published:
    """Publish the directory that DIRECTORY_DSN shows into settings.maps_directory.

    A snapshot that is older than what was published (a replica that lags) is refused, unless `allow_older`; one in
    which more than MAPS_REMOVED_SHARE of the published addresses is missing, unless `force`. What an admin went back to
    is kept if `unless_held`. Raises PublishError, mapfiles.PostfixCommandError, OSError, and
    session.DirectoryFaultError, which leaves all as it was.
    """
    started = time.monotonic()
    folder = settings.maps_directory
    maps = mapfiles.PostfixMaps(settings.postfix_config_directory, _map_type(settings))
    with _locked(folder), _staging(folder) as staging:
        if unless_held and generations.held(folder):
            raise PublishHeldError("An admin went back to earlier maps: digipoort maps publish ends that.")
        with session.reading(settings.directory_dsn) as connection:
            counter = _counter(connection)
            if not allow_older:
                _refuse_older(folder, counter)
            counts = _write_snapshot(connection, settings, staging)
        if not force:
            _refuse_vanishing(staging, folder, settings.maps_removed_share)
        changed = _put_in_force(staging, folder, maps, counter, settings.maps_generations)
        generations.release(folder)
    return Published(counter, counts, changed, (time.monotonic() - started) * 1000)


def roll_back(settings: AdminSettings, number: int | None) -> Published:
    """Put the maps of an earlier generation in force: the one before the last when `number` is None.

    Until the next publication that an admin asks for, none is made. Raises what `publish` raises, but nothing of the
    directory's, which is not asked.
    """
    started = time.monotonic()
    folder = settings.maps_directory
    maps = mapfiles.PostfixMaps(settings.postfix_config_directory, _map_type(settings))
    with _locked(folder), _staging(folder) as staging:
        kept = generations.kept(folder)
        chosen = [one for one in kept if one.number == number] if number is not None else kept[1:2]
        if not chosen:
            numbers = ", ".join(str(one.number) for one in kept) or "none"
            raise PublishError(f"There is no such generation to go back to; kept are {numbers}.")
        counts = {}
        for name in _TEXTS:
            with (chosen[0].folder / name).open("rb") as text:
                counts[name] = mapfiles.write_text(staging / name, text)
        generations.hold(folder, chosen[0].number)
        changed = _put_in_force(staging, folder, maps, chosen[0].counter, settings.maps_generations)
    return Published(chosen[0].counter, counts, changed, (time.monotonic() - started) * 1000)


def differences(settings: AdminSettings) -> Iterator[tuple[str, str, bytes]]:
    """Yield file, `+` or `-`, and line of what a publication would add and remove; nothing is published.

    Raises what `publish` raises.
    """
    folder = settings.maps_directory
    with _locked(folder), _staging(folder) as staging:
        with session.reading(settings.directory_dsn) as connection:
            _write_snapshot(connection, settings, staging)
        for name in (*TARGETS, ALIAS):
            for mark, line in mapfiles.differences(staging / name, folder / name):
                yield name, mark, line
        if not mapfiles.same_content(staging / PROFILES, folder / PROFILES):
            yield PROFILES, "+", b"(other flows, or other addresses of flows)\n"


def published_counter(folder: Path) -> int | None:
    """Return the change of the directory that this host's maps are of, None when that is not known."""
    try:
        return int((folder / _COUNTER).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def domain_clash(domain: str, settings: AdminSettings) -> str | None:
    """Return, in a sentence, why a domain cannot be a physical one on this gateway, or None when it can.

    An entry in transport_maps overrides relay_transport: a logical domain there would go past acceptance.
    """
    if domain in settings.logical_domains:
        return f"The domain {domain} is a logical domain: it cannot be a physical one too."
    mailboxes = settings.mailbox_domain.lower()
    if domain in {mailboxes, f"receipts.{mailboxes}"}:
        return f"The domain {domain} is the domain of the mailboxes (MAILBOX_DOMAIN): it cannot be a destination's."
    return None


def _map_type(settings: AdminSettings) -> str:
    config = str(settings.postfix_config_directory)
    name = settings.map_type or mapfiles.run_postfix("postconf", "-c", config, "-h", "default_database_type")
    if name not in mapfiles.SUFFIXES:
        raise PublishError(f"Maps of the type {name} cannot be published; MAP_TYPE: {', '.join(mapfiles.SUFFIXES)}.")
    return name


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other publications of this host out; raises PublishBusyError when one takes very long."""
    until = time.monotonic() + _LOCK_SECONDS
    path = folder / ".lock"
    path.touch(mode=0o600)
    with path.open("rb") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise PublishBusyError("Another publication is under way and does not end.") from None
                time.sleep(_LOCK_PAUSE)
        yield


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside the published files, on the same file system and with the same group."""
    for left_behind in folder.glob(f"{_STAGING_PREFIX}*"):
        shutil.rmtree(left_behind)
    with tempfile.TemporaryDirectory(prefix=_STAGING_PREFIX, dir=folder) as name:
        yield Path(name)


def _counter(connection: Connection[TupleRow]) -> int:
    row = connection.execute(queries.CHANGE_COUNTER).fetchone()
    if row is None:
        raise PublishError("The directory has lost its change counter: restore it from a backup.")
    return int(row[0])


def _refuse_older(folder: Path, counter: int) -> None:
    published = published_counter(folder)
    if published is not None and counter < published:
        raise PublishBusyError(
            f"The server that answered is behind (change {counter}) what this host has published (change {published}); "
            "try again later, or give --allow-older after a restore from backup."
        )


def _refuse_vanishing(staging: Path, folder: Path, share: float) -> None:
    """Refuse to take away more addresses than an admin means to: the directory may have been emptied by mistake."""
    if not (folder / ALIAS).exists():
        return
    with (folder / ALIAS).open("rb") as stream:
        there = sum(1 for _ in stream)
    gone = mapfiles.removed_keys(staging / ALIAS, folder / ALIAS)
    if gone > share * there:
        raise PublishGuardError(
            f"{gone} of the {there} published addresses would vanish, more than MAPS_REMOVED_SHARE ({share:g}) allows; "
            "digipoort maps diff shows them, digipoort maps publish --force publishes all the same."
        )


def _put_in_force(staging: Path, folder: Path, maps: mapfiles.PostfixMaps, counter: int, most: int) -> tuple[str, ...]:
    """Switch to the staged texts, note of which change they are, and keep them as a generation if they are new."""
    changed = _switch(staging, folder, maps)
    mapfiles.write_text(staging / _COUNTER, [b"%d\n" % counter])
    mapfiles.replace_text(staging / _COUNTER, folder / _COUNTER)
    if changed:
        generations.keep(folder, _TEXTS, counter, most)
    return changed


def _write_snapshot(connection: Connection[TupleRow], settings: AdminSettings, staging: Path) -> dict[str, int]:
    """Write every file's new text into `staging` and return how many entries each has."""
    routes = [_Route(*row) for row in connection.execute(queries.ALL_DESTINATIONS)]
    for route in routes:
        clash = domain_clash(route.domain, settings)
        if clash is not None:
            raise PublishError(clash)
    profiles = _profiles(connection) | _physical_domains(routes, settings)
    encoded = _encoded(profiles)
    try:
        parse_profiles(encoded)
    except ProfilesInvalidError as error:
        raise PublishError(f"The milter could not read these flows: {error}.") from error
    mapfiles.write_text(staging / PROFILES, [encoded])
    texts: dict[str, Iterable[bytes]] = {
        "tls_policy": _tls_policies(routes),
        "transport": _transports(routes),
        "mailbox": _mailboxes(connection, settings),
        ALIAS: _aliases(connection, settings),
    }
    counts = {name: mapfiles.write_text(staging / name, lines) for name, lines in texts.items()}
    return counts | {"flows": len(profiles["flows"])}


def _tls_policies(routes: Collection[_Route]) -> list[bytes]:
    """Return a line per nexthop, which is what smtp_tls_policy_maps is searched by, [], port and all, in lower case."""
    policies: dict[str, _Route] = {}
    for route in routes:
        known = policies.setdefault(route.nexthop.lower(), route)
        if known.tls_policy() != route.tls_policy():
            raise PublishError(
                f"The destinations {known.domain} and {route.domain} have the nexthop {route.nexthop}, but different "
                "TLS settings: Postfix has one policy per nexthop."
            )
    return sorted(_line(nexthop, route.tls_policy()) for nexthop, route in policies.items())


def _transports(routes: Collection[_Route]) -> list[bytes]:
    return sorted(_line(route.domain, f"{route.transport}:{route.nexthop.lower()}") for route in routes)


def _mailboxes(connection: Connection[TupleRow], settings: AdminSettings) -> Iterator[bytes]:
    """Yield each mailbox under both its names: the one of all mail, and the one of receipts (receipts.pcre)."""
    domain = settings.mailbox_domain.lower()
    for (mailbox,) in _streamed(connection, queries.PUBLISHED_MAILBOXES):
        for name in sorted((domain, f"receipts.{domain}")):
            yield _line(f"{mailbox}@{name}", settings.mailbox_transport)


def _aliases(connection: Connection[TupleRow], settings: AdminSettings) -> Iterator[bytes]:
    for address, mailbox, remote in _streamed(connection, queries.PUBLISHED_ALIASES):
        yield _line(address, remote if mailbox is None else _mailbox_address(mailbox, settings))


def _mailbox_address(mailbox: str, settings: AdminSettings) -> str:
    return f"{mailbox}@{settings.mailbox_domain.lower()}"


def _streamed(connection: Connection[TupleRow], query: LiteralString) -> Iterator[TupleRow]:
    """Yield a statement's rows through a cursor of the server: a large directory does not fill this host's memory."""
    with connection.cursor(name="published") as cursor:
        cursor.itersize = _ROWS_AT_A_TIME
        cursor.execute(query)
        yield from cursor


def _line(key: str, value: str) -> bytes:
    return f"{key} {value}\n".encode("ascii")


def _profiles(connection: Connection[TupleRow]) -> dict[str, Any]:
    """Return the milter's flow profiles, format version 1 (digipoort.profiles reads it)."""
    flows: dict[str, dict[str, Any]] = {}
    for code, size_limit, interface, resubmission in connection.execute(queries.PUBLISHED_FLOWS):
        flows[code] = {"size_limit": size_limit, "interface": interface}
        if resubmission != Policy.TELL:
            flows[code]["resubmission"] = resubmission
    addresses: dict[str, str] = dict(connection.execute(queries.PUBLISHED_FLOW_ADDRESSES).fetchall())
    return {"version": PROFILES_VERSION, "addresses": addresses, "flows": flows}


def _physical_domains(routes: Collection[_Route], settings: AdminSettings) -> dict[str, list[str]]:
    """Return what no agency may name in a header; a domain that has logical ones below it is no secret."""
    logical = settings.logical_domains
    hidden = [route.domain for route in routes if not any(domain.endswith(f".{route.domain}") for domain in logical)]
    return {"physical_domains": sorted(hidden)} if hidden else {}


def _encoded(profiles: dict[str, Any]) -> bytes:
    return json.dumps(profiles, indent=1, sort_keys=True).encode("ascii") + b"\n"


def _switch(staging: Path, folder: Path, maps: mapfiles.PostfixMaps) -> tuple[str, ...]:
    """Put the new texts in force in the order that the module describes; return the names of the files that changed."""
    gone = [name for name in TARGETS if mapfiles.removed_keys(staging / name, folder / name)]
    changed = set()
    for name in TARGETS:
        text = staging / name
        if name in gone:
            text = staging / f"{name}.union"
            mapfiles.write_text(text, mapfiles.union(staging / name, folder / name))
        if mapfiles.replace_table(maps, text, folder / name):
            changed.add(name)
    # A removed address needs no profile while its alias is still there: the milter's answer without one is temporary.
    if mapfiles.replace_text(staging / PROFILES, folder / PROFILES):
        changed.add(PROFILES)
    if mapfiles.replace_table(maps, staging / ALIAS, folder / ALIAS):
        changed.add(ALIAS)
    for name in reversed(gone):
        mapfiles.replace_table(maps, staging / name, folder / name)
        changed.add(name)
    return tuple(sorted(changed))
