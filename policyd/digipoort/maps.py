"""Publishes the directory to this host: the Postfix tables of the delivery and the milter's flow profiles.

All files come from one snapshot, and their order never shows Postfix or the milter a state that sends a message astray:

1. the tables behind an address (`tls_policy`, `transport`, `mailbox`) and `profiles.json`, the tables with what is
   new and, still, what is gone;
2. `virtual_alias`, which makes addresses exist (`relay_recipient_maps`) and leads them to their targets;
3. the tables of step 1 again, without what is gone, in the opposite order, if anything is gone.

Few lines are changed in a table where it is, if its type can (lmdb): Postfix's daemons see that at once and go on. Else
a new table takes the old one's place, and each daemon that reads it restarts itself at its next chance.

Tables are looked up as virtual(5), transport(5) and TLS_README's `smtp_tls_policy_maps` say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort import generations, mapcontents, mapfiles
from digipoort.directory import queries, session
from digipoort.mapcontents import ALIAS, MAILBOX, PROFILES, PublishError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.settings import AdminSettings

# The order in which additions appear: a nexthop must never be in use before its TLS policy is in force.
TARGETS: Final = ("tls_policy", "transport", MAILBOX)
_TEXTS: Final = (*TARGETS, PROFILES, ALIAS)
# `CHANGE LAST GENERATION LF`: the directory's change counter, its last logged change (-1: not known), and which of the
# kept generations the maps are.
_COUNTER: Final = "published_counter"
_STAGING_PREFIX: Final = ".new-"
_LOCK_SECONDS: Final = 30.0
_READ_SECONDS: Final = 600.0
_LOCK_PAUSE: Final = 0.1
_LOCK: Final = ".lock"
# A folder that gives the profiles its own group (setgid), where it is: milters must not read the tables.
_MILTERS: Final = "milters"
_BUILDERS: Final = 2


class PublishGuardError(PublishError):
    """So much of what is published would vanish that it may be a mistake."""


class PublishHeldError(PublishError):
    """An admin went back to earlier maps, and has not published since."""


class PublishBusyError(PublishError):
    """What stands in the way goes by itself: trying again later helps."""


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome: the change counter of the snapshot, the generation, how many entries each file has, what changed."""

    counter: int
    generation: int
    counts: dict[str, int]
    changed: tuple[str, ...]
    elapsed_ms: float

    def changed_files(self) -> str:
        """Return the names of the files that changed as one word, a hyphen when none did."""
        return ",".join(self.changed) or "-"

    def told(self) -> dict[str, object]:
        """Return what a log line tells of it."""
        return {
            "elapsed_ms": self.elapsed_ms,
            "counter": self.counter,
            "generation": self.generation,
            "changed": self.changed_files(),
            **self.counts,
        }


@dataclass(frozen=True, slots=True)
class _State:
    """Which state of the directory a snapshot shows, or this host has published: change counter, last logged change."""

    counter: int
    last: int


@dataclass(frozen=True, slots=True)
class _Staged:
    """New texts: how many entries each has, and in which lines the tables are different from the published ones."""

    counts: dict[str, int]
    different: dict[str, mapfiles.Difference]


def publish(
    settings: AdminSettings,
    *,
    allow_older: bool = False,
    force: bool = False,
    unless_held: bool = False,
    changes_only: bool = False,
) -> Published:
    """Publish the directory that DIRECTORY_DSN shows into settings.maps_directory.

    A snapshot that is older than what was published (a replica that lags) is refused, unless `allow_older`; one in
    which more than MAPS_REMOVED_SHARE of the published addresses is missing, unless `force`. What an admin went back to
    is kept if `unless_held`. With `changes_only` only what was logged since the last publication is read, where that is
    known to be enough. Raises PublishError, mapfiles.PostfixCommandError, OSError, and session.DirectoryFaultError,
    which leaves all as it was.
    """
    started = time.monotonic()
    folder = settings.maps_directory
    maps = mapfiles.PostfixMaps(settings.postfix_config_directory, map_type(settings))
    with _locked(folder), _staging(folder) as staging:
        if unless_held and generations.held(folder):
            raise PublishHeldError("An admin went back to earlier maps: digipoort maps publish ends that.")
        with session.reading(settings.directory_dsn) as connection, session.bounded(connection, _READ_SECONDS):
            state = _state(connection)
            if not allow_older:
                _refuse_older(folder, state.counter)
            staged = _stage_changes(connection, settings, staging, maps) if changes_only else None
            if staged is None:
                staged = _Staged(mapcontents.write_all(connection, settings, staging), {})
        different = _compared(staging, folder, staged.different)
        if not force:
            _refuse_vanishing(folder, different[ALIAS], settings.maps_removed_share)
        changed, generation = _put_in_force(staging, settings, maps, different, state)
        generations.release(folder)
    return Published(state.counter, generation, staged.counts, changed, (time.monotonic() - started) * 1000)


def roll_back(settings: AdminSettings, number: int | None) -> Published:
    """Put the maps of an earlier generation in force: the one before the last when `number` is None.

    Until the next publication that an admin asks for, none is made. Raises what `publish` raises, but nothing of the
    directory's, which is not asked.
    """
    started = time.monotonic()
    folder = settings.maps_directory
    maps = mapfiles.PostfixMaps(settings.postfix_config_directory, map_type(settings))
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
        different = _compared(staging, folder, {})
        # Of which logged change they are is not kept: what comes after is published from the whole directory.
        state = _State(chosen[0].counter, -1)
        changed, generation = _put_in_force(staging, settings, maps, different, state)
    return Published(chosen[0].counter, generation, counts, changed, (time.monotonic() - started) * 1000)


def differences(settings: AdminSettings) -> Iterator[tuple[str, str, bytes]]:
    """Yield file, `+` or `-`, and line of what a publication would add and remove; nothing is published.

    Raises what `publish` raises.
    """
    folder = settings.maps_directory
    with _locked(folder), _staging(folder) as staging:
        with session.reading(settings.directory_dsn) as connection:
            mapcontents.write_all(connection, settings, staging)
        for name in (*TARGETS, ALIAS):
            for old, new in mapfiles.differences(staging / name, folder / name):
                for mark, line in (("-", old), ("+", new)):
                    if line:
                        yield name, mark, line
        if not mapfiles.same_content(staging / PROFILES, folder / PROFILES):
            yield PROFILES, "+", b"(other flows, or other addresses of flows)\n"


def published_counter(folder: Path) -> int | None:
    """Return the change of the directory that this host's maps are of, None when that is not known."""
    state = _published_state(folder)
    return None if state is None else state.counter


def published_age(folder: Path, now: float) -> float | None:
    """Return how many seconds before `now` this host's maps were published, None when none are."""
    try:
        return now - (folder / _COUNTER).stat().st_mtime
    except FileNotFoundError:
        return None


def ended_within(folder: Path, seconds: float) -> bool:
    """Tell whether no publication is under way, or the one that is ends within so many seconds. Raises OSError."""
    until = time.monotonic() + seconds
    while _is_locked(folder):
        if time.monotonic() > until:
            return False
        time.sleep(_LOCK_PAUSE)
    return True


def _is_locked(folder: Path) -> bool:
    try:
        # Not as _locked opens it: who only asks makes no file, and root is not led to another one.
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def map_type(settings: AdminSettings) -> str:
    """Return the type of the tables, Postfix's own unless set. Raises PublishError and mapfiles.PostfixCommandError."""
    config = str(settings.postfix_config_directory)
    name = settings.map_type or mapfiles.run_postfix("postconf", "-c", config, "-h", "default_database_type")
    if name not in mapfiles.SUFFIXES:
        raise PublishError(f"Maps of the type {name} cannot be published; MAP_TYPE: {', '.join(mapfiles.SUFFIXES)}.")
    return name


def published_generation(folder: Path) -> int | None:
    """Return which of the kept generations this host's maps are, None when that is not known."""
    match _published_numbers(folder):
        case [_, _, generation]:
            return generation
        case _:
            return None


def _published_state(folder: Path) -> _State | None:
    match _published_numbers(folder):
        case [counter]:
            return _State(counter, -1)
        case [counter, last, *_]:
            return _State(counter, last)
        case _:
            return None


def _published_numbers(folder: Path) -> list[int]:
    """Return what _COUNTER holds: fewer numbers when an earlier version wrote it, none when it is not there."""
    try:
        return [int(number) for number in (folder / _COUNTER).read_text(encoding="ascii").split()]
    except (FileNotFoundError, ValueError):
        return []


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other publications of this host out; raises PublishBusyError when one takes very long."""
    until = time.monotonic() + _LOCK_SECONDS
    path = folder / _LOCK
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


def _state(connection: Connection[TupleRow]) -> _State:
    counter = connection.execute(queries.CHANGE_COUNTER).fetchone()
    last = connection.execute(queries.LAST_CHANGE).fetchone()
    if counter is None or last is None:
        raise PublishError("The directory has lost its change counter: restore it from a backup.")
    return _State(int(counter[0]), int(last[0]))


def _stage_changes(
    connection: Connection[TupleRow], settings: AdminSettings, staging: Path, maps: mapfiles.PostfixMaps
) -> _Staged | None:
    """Write the new texts of the published ones and the change log, None where that is not known to be enough."""
    folder = settings.maps_directory
    published = _published_state(folder)
    if published is None or published.last < 0 or not all(maps.is_whole(folder / name) for name in (*TARGETS, ALIAS)):
        return None
    written = mapcontents.write_changes(connection, settings, staging, published.last)
    return None if written is None else _Staged(*written)


def _compared(staging: Path, folder: Path, known: Mapping[str, mapfiles.Difference]) -> dict[str, mapfiles.Difference]:
    """Return in which lines each table will change; those that are not staged stay as they are."""
    different = dict(known)
    for name in (*TARGETS, ALIAS):
        if not (staging / name).exists():
            different[name] = mapfiles.UNCHANGED
        elif name not in different:
            different[name] = mapfiles.compare(staging / name, folder / name)
    return different


def _refuse_older(folder: Path, counter: int) -> None:
    published = published_counter(folder)
    if published is not None and counter < published:
        raise PublishBusyError(
            f"The server that answered is behind (change {counter}) what this host has published (change {published}); "
            "try again later, or give --allow-older after a restore from backup."
        )


def _refuse_vanishing(folder: Path, different: mapfiles.Difference, share: float) -> None:
    """Refuse to take away more addresses than an admin means to: the directory may have been emptied by mistake."""
    if not different.removed:
        return
    there = mapfiles.count_lines(folder / ALIAS)
    if different.removed > share * there:
        raise PublishGuardError(
            f"{different.removed} of the {there} published addresses would vanish, more than MAPS_REMOVED_SHARE "
            f"({share:g}) allows; digipoort maps diff shows them, "
            "digipoort maps publish --force publishes all the same."
        )


def _put_in_force(
    staging: Path,
    settings: AdminSettings,
    maps: mapfiles.PostfixMaps,
    different: Mapping[str, mapfiles.Difference],
    state: _State,
) -> tuple[tuple[str, ...], int]:
    """Switch to the staged texts, keep them as a generation if they are new, and note beside them which they are.

    Return the names of the files that changed, and the generation's number.
    """
    folder = settings.maps_directory
    changed = _switch(staging, folder, maps, different)
    if changed:
        generations.keep(folder, _TEXTS, state.counter, settings.maps_generations)
    generation = generations.last_number(folder)
    mapfiles.write_text(staging / _COUNTER, [b"%d %d %d\n" % (state.counter, state.last, generation)])
    mapfiles.replace_text(staging / _COUNTER, folder / _COUNTER)
    return changed, generation


def _switch(
    staging: Path, folder: Path, maps: mapfiles.PostfixMaps, different: Mapping[str, mapfiles.Difference]
) -> tuple[str, ...]:
    """Put the new texts in force in the order that the module describes; return the names of the files that changed."""
    updates = {
        name: mapfiles.TableUpdate(maps, staging / name, folder / name, different[name])
        for name in (*TARGETS, ALIAS)
        if (staging / name).exists()
    }
    changed = {name for name, update in updates.items() if update.is_needed()}
    targets = [updates[name] for name in TARGETS if name in changed]
    # Nothing is changed before all can be; each is a process of its own.
    with ThreadPoolExecutor(_BUILDERS) as builders:
        list(builders.map(mapfiles.TableUpdate.prepare, [updates[name] for name in sorted(changed)]))
    for update in targets:
        update.add()
    # A removed address needs no profile while its alias is still there: the milter's answer without one is temporary.
    if (staging / PROFILES).exists() and _replace_profiles(staging / PROFILES, folder):
        changed.add(PROFILES)
    if ALIAS in changed:
        updates[ALIAS].add()
        updates[ALIAS].finish()
    for update in reversed(targets):
        update.finish()
    return tuple(sorted(changed))


def _replace_profiles(new: Path, folder: Path) -> bool:
    """Put the profiles in force, in the group of the folder for milters; tell whether that changed anything."""
    published, milters = folder / PROFILES, folder / _MILTERS
    if not milters.is_dir():
        return mapfiles.replace_text(new, published)
    same_group = published.exists() and published.stat().st_gid == milters.stat().st_gid
    if same_group and mapfiles.same_content(new, published):
        return False
    # A file has the group of the folder that it is made in, and keeps it; to give it away takes rights.
    with new.open("rb") as text:
        mapfiles.write_text(milters / PROFILES, text)
    (milters / PROFILES).replace(published)
    mapfiles.sync(folder)
    return True
