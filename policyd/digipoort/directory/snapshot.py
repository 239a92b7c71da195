"""Reads the whole directory as the objects that a description has, for `plan`, `apply` and `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from digipoort.directory import queries
from digipoort.directory.objects import (
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    Party,
    Remote,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

_ROWS_AT_A_TIME: Final = 2000


def objects(connection: Connection[TupleRow]) -> Iterator[DirectoryObject]:
    """Yield every object, in the order in which they can be added, then by natural key; memory stays flat.

    Runs in the caller's transaction, whose role must be allowed to read password hashes.
    """
    for query, made in _KINDS:
        with connection.cursor(name="snapshot") as cursor:
            cursor.itersize = _ROWS_AT_A_TIME
            cursor.execute(query)
            for row in cursor:
                yield made(*row)


def _address(  # noqa: PLR0913 - the row's columns
    address: str, party: str, flow: str | None, mailbox: str | None, local_part: str, domain: str
) -> Address:
    return Address(address, party, flow, Remote(local_part, domain) if mailbox is None else mailbox)


def _credential(login: str, party: str, password_hash: str, services: list[str], *rest: Any) -> Credential:  # noqa: ANN401
    return Credential(login, party, password_hash, tuple(services), *rest)


_KINDS: Final[tuple[tuple[LiteralString, Callable[..., DirectoryObject]], ...]] = (
    (queries.ALL_PARTIES, Party),
    (queries.ALL_FLOWS, Flow),
    (queries.ALL_DESTINATIONS, Destination),
    (queries.ALL_MAILBOXES, Mailbox),
    (queries.ALL_ADDRESSES, _address),
    (queries.ALL_CONNECTIONS, FlowConnection),
    (queries.ALL_CREDENTIALS, _credential),
)
