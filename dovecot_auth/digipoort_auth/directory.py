"""What authd asks the directory, and the one thing that it writes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digipoort.directory import queries
from digipoort_auth.authentication import Credential, Found

if TYPE_CHECKING:
    from digipoort.directory.pool import Fetch


async def find_credential(fetch: Fetch, timezone: str, login: str) -> Credential | None:
    """Return the credential of a lower-case login, or None; `timezone` tells whose calendar day it is.

    `fetch` is DirectoryPool.fetch_one, and what that raises is raised here.
    """
    row = await fetch(queries.AUTHENTICATION, {"login": login, "timezone": timezone})
    if row is None:
        return None
    password_hash, services, active, mailbox, begun, ended, networks = row
    return Credential(password_hash, tuple(services), active, mailbox, begun, ended, tuple(networks))


async def find_login(fetch: Fetch, login: str) -> Found | None:
    """Return the mailbox that a lower-case login opens; None for one that is unknown or inactive. Raises as `fetch`."""
    row = await fetch(queries.LOGIN, {"login": login})
    return Found(row[1]) if row is not None and row[0] else None


async def find_mailbox(fetch: Fetch, mailbox: str) -> Found | None:
    """Return a mailbox that the directory has, by its id. Raises as `fetch`."""
    row = await fetch(queries.MAILBOX, {"mailbox": mailbox})
    return Found(row[0]) if row is not None else None


async def replace_hash(fetch: Fetch, login: str, former: str, successor: str) -> bool:
    """Give a login another hash of its password, unless somebody changed it meanwhile; tell whether it got it.

    `fetch` is that of a pool that connects as digipoort_rehash, and what it raises is raised here.
    """
    row = await fetch(queries.REPLACE_HASH, {"login": login, "former": former, "successor": successor})
    return row is not None and bool(row[0])
