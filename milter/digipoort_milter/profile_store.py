"""The flow profiles that this process has in force, read again when `digipoort maps publish` replaces their file."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.interface.profile import ProfilesInvalidError
from digipoort.profiles import Profiles, parse_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

_MAX_FILE_OCTETS: Final = 64 * 1_048_576


@dataclass(frozen=True, slots=True)
class _Version:
    """Which file was read: publishing replaces the file, so that at least its inode changes."""

    mtime_ns: int
    inode: int
    octets: int


class ProfileStore:
    """The profiles in force: read again when the file changes, the last good ones kept when the new cannot be used."""

    def __init__(self, path: Path, log: FilteringBoundLogger) -> None:
        """Read nothing yet: a file that is not there must not stop the start."""
        self._path = path
        self._log = log
        self._lock = threading.Lock()
        self._seen: _Version | None = None
        self._fault: str | None = None
        self._good: Profiles | None = None

    def current(self) -> Profiles | None:
        """Return the profiles, or None when none were ever read; each new fault is logged once."""
        with self._lock:
            fault = self._refresh()
            if fault is not None and fault != self._fault:
                self._log.error("profiles_unusable", file=str(self._path), fault=fault, kept=self._good is not None)
            self._fault = fault
            return self._good

    def _refresh(self) -> str | None:
        try:
            status = self._path.stat()
            version = _Version(status.st_mtime_ns, status.st_ino, status.st_size)
            if version == self._seen:
                return self._fault
            self._seen = version
            if version.octets > _MAX_FILE_OCTETS:
                return f"larger than {_MAX_FILE_OCTETS} octets"
            self._good = parse_profiles(self._path.read_bytes())
        except OSError as error:
            self._seen = None  # the file may be readable a moment later without having changed
            return str(error)
        except ProfilesInvalidError as error:
            return str(error)
        self._log.info("profiles_loaded", file=str(self._path), addresses=len(self._good.flow_of_address))
        return None
