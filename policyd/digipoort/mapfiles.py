"""One published file at a time: a sorted Postfix table or a JSON file, built beside the old one and renamed over it.

A table has two files: the text (`KEY SP VALUE LF`, ascending by the octets of the key; postmap(1)'s input format) and
what postmap made of it. The text is renamed last, so that whoever finds a text finds the table that was made of it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import subprocess
from dataclasses import dataclass
from filecmp import cmp
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# The group is the folder's (setgid), Postfix's on a mail host: the files hold physical addresses.
FILE_MODE: Final = 0o640
SUFFIXES: Final[dict[str, str]] = {"lmdb": ".lmdb", "hash": ".db", "btree": ".db", "cdb": ".cdb"}
_COMMAND_SECONDS: Final = 300


class PostfixCommandError(Exception):
    """A Postfix command failed; the message is a sentence with what it said."""


@dataclass(frozen=True, slots=True)
class PostfixMaps:
    """Builds tables of `map_type` (a key of SUFFIXES) for the Postfix instance that is configured in `config`."""

    config: Path
    map_type: str

    def build(self, text: Path) -> Path:
        """Make a table of a text and return the table's path: the text's, with the type's suffix."""
        table = self.table_of(text)
        table.unlink(missing_ok=True)
        run_postfix("postmap", "-c", str(self.config), f"{self.map_type}:{text}")
        table.chmod(FILE_MODE)
        return table

    def table_of(self, text: Path) -> Path:
        """Return where Postfix looks for the table of a text."""
        return text.with_name(text.name + SUFFIXES[self.map_type])


def run_postfix(program: str, *arguments: str) -> str:
    """Run a Postfix command as the calling user and return what it printed. Raises PostfixCommandError."""
    try:
        result = subprocess.run(  # noqa: S603 - a list, no shell; the arguments are settings
            [f"/usr/sbin/{program}", *arguments],
            check=True,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode("utf-8", "replace").split())
        raise PostfixCommandError(f"{program} failed: {said or f'exit status {error.returncode}'}.") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostfixCommandError(f"{program} cannot be run: {error}.") from error
    return result.stdout.decode("utf-8", "replace").strip()


def write_text(path: Path, lines: Iterable[bytes]) -> int:
    """Write lines (each with its LF) to a new file, synced to disk, and return how many there were."""
    path.unlink(missing_ok=True)
    count = 0
    with path.open("xb") as stream:
        os.fchmod(stream.fileno(), FILE_MODE)
        for line in lines:
            stream.write(line)
            count += 1
        stream.flush()
        os.fsync(stream.fileno())
    return count


def replace_text(new: Path, published: Path) -> bool:
    """Rename `new` over `published` and tell whether that changed anything; equal contents are left as they are."""
    if same_content(new, published):
        new.unlink()
        return False
    new.replace(published)
    sync(published.parent)
    return True


def replace_table(maps: PostfixMaps, new: Path, published: Path) -> bool:
    """Build the table of the text `new`, rename both into place and tell whether that changed anything.

    A table whose text is unchanged is not touched: Postfix's daemons restart themselves when a table they read changes.
    """
    target = maps.table_of(published)
    unfinished = published.with_name(f"{published.name}.unfinished")
    if target.exists() and not unfinished.exists() and same_content(new, published):
        new.unlink()
        return False
    built = maps.build(new)
    sync(built)
    # Two renames are not one: if the publication dies between them, the text does not tell what its table was made of.
    unfinished.touch()
    sync(published.parent)
    built.replace(target)
    new.replace(published)
    sync(published.parent)
    unfinished.unlink()
    return True


def same_content(one: Path, other: Path) -> bool:
    """Tell whether both files exist and hold the same octets."""
    return one.exists() and other.exists() and cmp(one, other, shallow=False)


def sync(path: Path) -> None:
    """Make a file's contents, or the renames in a folder, survive a power failure. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def union(new: Path, published: Path) -> Iterator[bytes]:
    """Yield the lines of both sorted texts in order; where both have a key, the new line counts. Memory stays flat."""
    if not published.exists():
        with new.open("rb") as fresh:
            yield from fresh
        return
    with new.open("rb") as fresh, published.open("rb") as old:
        # A stable merge: for one key the line of the first stream, the new one, comes first.
        for _, lines in itertools.groupby(heapq.merge(fresh, old, key=_key), key=_key):
            yield next(lines)


def differences(new: Path, published: Path) -> Iterator[tuple[str, bytes]]:
    """Yield `-` and an old line, or `+` and a new one, of two sorted texts, in the order of their keys."""
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(published.open("rb")) if published.exists() else iter(())
        marked = heapq.merge(
            (("-", line) for line in old),
            (("+", line) for line in stack.enter_context(new.open("rb"))),
            key=lambda pair: _key(pair[1]),
        )
        for _, pairs in itertools.groupby(marked, key=lambda pair: _key(pair[1])):
            lines = list(pairs)
            if len({line for _, line in lines}) > 1 or len(lines) == 1:
                yield from lines


def removed_keys(new: Path, published: Path) -> int:
    """Return how many keys of the published sorted text are absent from the new one."""
    if same_content(new, published):
        return 0
    with new.open("rb") as fresh:
        wanted = sum(1 for _ in fresh)
    return sum(1 for _ in union(new, published)) - wanted


def _key(line: bytes) -> bytes:
    return line.split(b" ", 1)[0]
