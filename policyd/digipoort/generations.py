"""What was published before: the last few states of a host's maps, kept to compare with and to go back to.

A generation is a folder `generations/NNNNNN` beside the published files, with links to their texts (never to the
tables, which are made of them again) and `about`, a JSON object with the change counter and the moment. A file `held`
tells that an admin went back: until the next `digipoort maps publish` nothing is published by itself.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from digipoort import mapfiles

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FOLDER: Final = "generations"
_ABOUT: Final = "about"
_HELD: Final = "held"
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Generation:
    """A state that was published: its number, the directory's change counter, when, and the folder of its texts."""

    number: int
    counter: int
    published_at: str
    folder: Path


def kept(maps: Path) -> list[Generation]:
    """Return the generations of a folder of maps, the last first; one that was not completed is left out."""
    found = []
    for folder in (maps / _FOLDER).glob("[0-9]" * _DIGITS):
        try:
            about = json.loads((folder / _ABOUT).read_bytes())
            found.append(Generation(int(folder.name), int(about["counter"]), str(about["published_at"]), folder))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda generation: generation.number, reverse=True)


def last_number(maps: Path) -> int:
    """Return the number of the generation that was kept last, 0 when there is none."""
    return max(_numbers(maps), default=0)


def _numbers(maps: Path) -> list[int]:
    return [int(folder.name) for folder in (maps / _FOLDER).glob("[0-9]" * _DIGITS)]


def keep(maps: Path, names: Iterable[str], counter: int, most: int) -> None:
    """Keep the published texts of these names as a new generation, and forget all but the last `most`.

    Raises OSError.
    """
    numbers = _numbers(maps)
    number = max(numbers, default=0) + 1
    folder = maps / _FOLDER / f"{number:0{_DIGITS}}"
    # The folder of the maps may be entered by all; this one has a name that is known, and is nobody else's.
    folder.parent.mkdir(exist_ok=True, mode=0o750)
    folder.mkdir(mode=0o750)
    for name in names:
        # The published file is replaced, never written to: a link costs nothing and stays as it is.
        os.link(maps / name, folder / name)
    about = {"counter": counter, "published_at": datetime.now(UTC).isoformat(timespec="seconds")}
    mapfiles.write_text(folder / _ABOUT, [json.dumps(about).encode("ascii")])
    mapfiles.sync(folder)
    for old in sorted(numbers, reverse=True)[most - 1 :]:
        shutil.rmtree(maps / _FOLDER / f"{old:0{_DIGITS}}")


def hold(maps: Path, number: int) -> None:
    """Tell whoever publishes by itself that an admin went back to a generation. Raises OSError."""
    mapfiles.write_text(maps / _HELD, [b"%d\n" % number])


def release(maps: Path) -> None:
    """Let maps be published again. Raises OSError."""
    (maps / _HELD).unlink(missing_ok=True)


def held(maps: Path) -> bool:
    """Tell whether an admin went back and has not published since."""
    return (maps / _HELD).exists()
