"""What authd asks the directory: one statement, one round trip per login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digipoort.directory import queries
from digipoort_auth.authentication import Credential

if TYPE_CHECKING:
    from digipoort.directory.pool import Fetch


async def find_credential(fetch: Fetch, login: str) -> Credential | None:
    """Return the credential of a lower-case login, or None.

    `fetch` is DirectoryPool.fetch_one, and what that raises is raised here.
    """
    row = await fetch(queries.AUTHENTICATION, {"login": login})
    if row is None:
        return None
    password_hash, services, active, mailbox = row
    return Credential(password_hash, tuple(services), active, mailbox)
