"""One published file at a time: a sorted Postfix table or a JSON file, changed in place or built beside and renamed.

A table has two files: the text (`KEY SP VALUE LF`, ascending by the octets of the key; postmap(1)'s input format) and
what postmap made of it. The text is renamed last, so that whoever finds a text finds the table that was made of it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import subprocess
from dataclasses import dataclass
from filecmp import cmp
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# The group is the folder's (setgid), Postfix's on a mail host: the files hold physical addresses.
FILE_MODE: Final = 0o640
SUFFIXES: Final[dict[str, str]] = {"lmdb": ".lmdb", "hash": ".db", "btree": ".db", "cdb": ".cdb"}
# The types whose readers see a change without opening the table again, and none that is half done (lmdb_table(5)).
_IN_PLACE: Final = frozenset({"lmdb"})
# A new table is quicker for more: each line is a transaction of its own.
MOST_IN_PLACE: Final = 500
_COMMAND_SECONDS: Final = 300
_BLOCK: Final = 1 << 20
_MARK_IN_PLACE: Final = b"in place\n"


class PostfixCommandError(Exception):
    """A Postfix command failed; the message is a sentence with what it said."""


@dataclass(frozen=True, slots=True)
class Difference:
    """In what a new text is different from the published one: lines to put in, keys that are gone, and their number.

    `put` and `gone` are complete only when there is a published text, and both numbers are at most MOST_IN_PLACE.
    """

    put: tuple[bytes, ...]
    gone: tuple[bytes, ...]
    put_count: int
    removed: int


UNCHANGED: Final = Difference((), (), 0, 0)


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

    def put(self, text: Path, lines: Iterable[bytes]) -> None:
        """Put lines into the table of a text, over those of the same keys, one after the other."""
        run_postfix("postmap", "-c", str(self.config), "-r", "-i", f"{self.map_type}:{text}", stdin=b"".join(lines))

    def take(self, text: Path, keys: Iterable[bytes]) -> None:
        """Take keys out of the table of a text, one after the other."""
        stdin = b"".join(key + b"\n" for key in keys)
        run_postfix("postmap", "-c", str(self.config), "-d", "-", f"{self.map_type}:{text}", stdin=stdin)

    def is_whole(self, text: Path) -> bool:
        """Tell whether a text is published, and its table is made of it."""
        return text.exists() and self.table_of(text).exists() and not _mark(text).exists()

    def can_change(self, text: Path, difference: Difference) -> bool:
        """Tell whether the table of a published text can take a difference where it is."""
        few = max(difference.put_count, difference.removed) <= MOST_IN_PLACE
        return few and self.map_type in _IN_PLACE and self.is_whole(text)

    def table_of(self, text: Path) -> Path:
        """Return where Postfix looks for the table of a text."""
        return text.with_name(text.name + SUFFIXES[self.map_type])


def run_postfix(program: str, *arguments: str, stdin: bytes = b"") -> str:
    """Run a Postfix command as the calling user and return what it printed. Raises PostfixCommandError."""
    try:
        result = subprocess.run(  # noqa: S603 - a list, no shell; the arguments are settings
            [f"/usr/sbin/{program}", *arguments],
            check=True,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            input=stdin,
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode("utf-8", "replace").split())
        raise PostfixCommandError(f"{program} failed: {said or f'exit status {error.returncode}'}.") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PostfixCommandError(f"{program} cannot be run: {error}.") from error
    return result.stdout.decode("utf-8", "replace").strip()


def write_text(path: Path, lines: Iterable[bytes]) -> int:
    """Write lines (with their LF; any number at a time) to a new file, synced to disk, and return how many."""
    path.unlink(missing_ok=True)
    count = 0
    with path.open("xb") as stream:
        os.fchmod(stream.fileno(), FILE_MODE)
        for line in lines:
            stream.write(line)
            count += line.count(b"\n")
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


@dataclass(frozen=True, slots=True)
class TableUpdate:
    """The change of one published table to the new text, in two steps: first what is new, then without what is gone.

    What takes long, the building of a new table, is done before, by `prepare`, which changes nothing that is published.
    """

    maps: PostfixMaps
    new: Path
    published: Path
    difference: Difference

    def is_needed(self) -> bool:
        """Tell whether the table is different from what the new text makes; if not, it is not touched."""
        return self.difference != UNCHANGED or not self.maps.is_whole(self.published)

    def prepare(self) -> None:
        """Build the table of the first step, if it takes a new one; tables of different texts may be built at once."""
        if self._is_in_place():
            return
        if self.difference.removed:
            write_text(self._both, union(self.new, self.published))
        self.maps.build(self._both if self.difference.removed else self.new)

    def add(self) -> None:
        """Put in force what is new, and keep what is gone. Comes after `prepare`."""
        in_place = self._is_in_place()
        # A table and its text are not replaced at once: if the publication dies between, the text does not tell.
        # Empty: one that died after it had begun in place left its own word here.
        _mark(self.published).write_bytes(b"")
        sync(self.published.parent)
        if in_place:
            _mark(self.published).write_bytes(_MARK_IN_PLACE)
            if self.difference.put:
                self.maps.put(self.published, self.difference.put)
        else:
            self._replace(self._both if self.difference.removed else self.new)

    def finish(self) -> None:
        """Take out what is gone; the published text is the new one then."""
        if _mark(self.published).read_bytes() == _MARK_IN_PLACE:
            if self.difference.gone:
                self.maps.take(self.published, self.difference.gone)
            self.new.replace(self.published)
        elif self.new.exists():
            self.maps.build(self.new)
            self._replace(self.new)
        sync(self.published.parent)
        _mark(self.published).unlink()

    @property
    def _both(self) -> Path:
        """The text of what is new and of what is gone."""
        return self.new.with_name(f"{self.new.name}.union")

    def _is_in_place(self) -> bool:
        return self.maps.can_change(self.published, self.difference)

    def _replace(self, text: Path) -> None:
        """Put a text and the table that was built of it in the published ones' places."""
        built = self.maps.table_of(text)
        sync(built)
        built.replace(self.maps.table_of(self.published))
        text.replace(self.published)
        sync(self.published.parent)


def _mark(published: Path) -> Path:
    """Return the file that tells that a table and its text are of different states."""
    return published.with_name(f"{published.name}.unfinished")


def same_content(one: Path, other: Path) -> bool:
    """Tell whether both files exist and hold the same octets."""
    return one.exists() and other.exists() and cmp(one, other, shallow=False)


def count_lines(text: Path) -> int:
    """Return how many lines a text has."""
    with text.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(_BLOCK), b""))


def sync(path: Path) -> None:
    """Make a file's contents, or the renames in a folder, survive a power failure. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def union(new: Path, published: Path) -> Iterator[bytes]:
    """Yield the lines of both sorted texts in order; where both have a key, the new line counts. Memory stays flat."""
    return (line or old for old, line in _paired(new, published))


def differences(new: Path, published: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the old and the new line of each key that is not the same in both, one of them empty if there is none."""
    return (pair for pair in _paired(new, published) if pair[0] != pair[1])


def compare(new: Path, published: Path) -> Difference:
    """Return in what two sorted texts are different; a published one that is not there counts as empty."""
    if not published.exists():
        return Difference((), (), count_lines(new), 0)
    if same_content(new, published):
        return UNCHANGED
    put: list[bytes] = []
    gone: list[bytes] = []
    put_count = removed = 0
    for old, line in differences(new, published):
        if line:
            put_count += 1
            if put_count <= MOST_IN_PLACE:
                put.append(line)
        else:
            removed += 1
            if removed <= MOST_IN_PLACE:
                gone.append(_key(old))
    return Difference(tuple(put), tuple(gone), put_count, removed)


def patch(published: Path, new: Path, lines: Mapping[bytes, bytes | None]) -> Difference:
    """Write `new`, a published sorted text in which some keys have another line, or none, and return the difference.

    Found by bisection and copied in blocks: the cost is that of copying a file, however few lines change.
    """
    put: list[bytes] = []
    gone: list[bytes] = []

    def pieces(text: mmap.mmap | bytes) -> Iterator[bytes]:
        start = 0
        for key, line in sorted(lines.items()):
            begin, end = _find_line(text, key, start)
            old = text[begin:end]
            if line is None and old:
                gone.append(key)
            elif line is not None and line != old:
                put.append(line)
            yield from _blocks(text, start, begin)
            yield line or b""
            start = end
        yield from _blocks(text, start, len(text))

    with published.open("rb") as stream:
        if published.stat().st_size == 0:  # which cannot be mapped
            write_text(new, pieces(b""))
        else:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
                write_text(new, pieces(text))
    return Difference(tuple(put), tuple(gone), len(put), len(gone))


def _find_line(text: mmap.mmap | bytes, key: bytes, start: int) -> tuple[int, int]:
    """Return where the line of a key begins and ends, from the line start `start` on; both one if there is none."""
    low, high = start, len(text)
    while low < high:
        begin = text.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = text.find(b"\n", begin) + 1
        if _key(text[begin:end]) < key:
            low = end
        else:
            high = begin
    end = text.find(b"\n", low) + 1
    return (low, end) if _key(text[low:end]) == key else (low, low)


def _blocks(text: mmap.mmap | bytes, start: int, end: int) -> Iterator[bytes]:
    return (text[begin : min(begin + _BLOCK, end)] for begin in range(start, end, _BLOCK))


def _paired(new: Path, published: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield old and new line of every key of two sorted texts, in order; empty where a text has none."""
    with contextlib.ExitStack() as stack:
        old = iter(stack.enter_context(published.open("rb")) if published.exists() else ())
        fresh = iter(stack.enter_context(new.open("rb")))
        was, line = next(old, b""), next(fresh, b"")
        while was or line:
            if was == line:
                yield was, line
                was, line = next(old, b""), next(fresh, b"")
                continue
            before, key = _key(was), _key(line)
            if before == key:
                yield was, line
                was, line = next(old, b""), next(fresh, b"")
            elif not line or (was and before < key):
                yield was, b""
                was = next(old, b"")
            else:
                yield b"", line
                line = next(fresh, b"")


def _key(line: bytes) -> bytes:
    return line.split(b" ", 1)[0]
