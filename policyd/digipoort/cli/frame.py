"""What the commands share: their settings, and the directory to read from or to write to."""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

from digipoort import mapcontents
from digipoort.cli.failures import Failure
from digipoort.directory import session
from digipoort.directory.objects import Address, Destination
from digipoort.settings import AdminSettings, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.directory.objects import DirectoryObject


def admin_settings() -> AdminSettings:
    """Return the program's settings. Raises SettingsError."""
    return load(AdminSettings)


def actor() -> str:
    """Return who the change log names: who became root by sudo, else the user that this process runs as."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


@contextlib.contextmanager
def changing() -> Iterator[Connection[TupleRow]]:
    """Yield the transaction of one change, committed when the block ends. Raises session.DirectoryFaultError."""
    with session.writing(admin_settings().directory_write_dsn, actor()) as connection:
        yield connection


def require_usable(items: Iterable[DirectoryObject]) -> None:
    """Refuse addresses and destinations that this gateway's domains rule out. Raises Failure."""
    settings = admin_settings()
    for item in items:
        if isinstance(item, Address):
            require_logical(item.address, settings.logical_domains)
        clash = mapcontents.domain_clash(item.domain, settings) if isinstance(item, Destination) else None
        if clash is not None:
            raise Failure(clash)


def require_logical(address: str, logical_domains: tuple[str, ...]) -> None:
    """Refuse an address that Postfix would never take mail for: one outside the logical domains. Raises Failure."""
    if address.rpartition("@")[2] not in logical_domains:
        raise Failure(
            f"The domain of {address} is not a logical domain (LOGICAL_DOMAINS: {', '.join(logical_domains)})."
        )
