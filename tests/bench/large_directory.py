"""Directories of any size: private addresses with a mailbox each, connected to an agency's flows, hubs among them.

Address `number` is adresNNNNNNN@party.test with the mailbox mNNNNNNN; ten of them are one party's, whose login is its
code in lower case. What does not end in 0 is connected to the flow of an agency's address `stroom0@gov.test`,
`stroom1@gov.test`, …: MOST_IN_A_FLOW share one, which makes it a hub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

import psycopg

from digipoort.directory.migrate import migrate
from tests.unit.directory_samples import fill

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

MOST_IN_A_FLOW: Final = 100_000
# Without triggers and foreign keys: filling is not what is measured.
_FILL: Final[tuple[LiteralString, ...]] = (
    "SET session_replication_role = replica",
    """
    INSERT INTO party (code, name, kind)
    SELECT 'P' || number, 'Partij', 'private' FROM generate_series(0, (%(count)s - 1) / 10) AS number
    """,
    """
    INSERT INTO credential (login, party_id, password_hash, services)
    SELECT lower(code), id, '$unusable', ARRAY['submission'] FROM party WHERE code ~ '^P[0-9]+$'
    """,
    """
    INSERT INTO target (kind, party_id, party_kind, mailbox)
    SELECT 'mailbox', party.id, party.kind, 'm' || to_char(number, 'FM0000000')
    FROM generate_series(0, %(count)s - 1) AS number JOIN party ON party.code = 'P' || number / 10
    """,
    """
    INSERT INTO address (address, party_id, party_kind, target_id)
    SELECT 'adres' || substr(mailbox, 2) || '@party.test', party_id, party_kind, id
    FROM target WHERE mailbox ~ '^m[0-9]{7}$'
    """,
    """
    INSERT INTO flow (code, name, owner_id, size_limit)
    SELECT 'STROOM' || number, 'Stroom', party.id, 10000000
    FROM party, generate_series(0, (%(count)s - 1) / %(most)s) AS number WHERE party.code = 'DOUANE'
    """,
    """
    INSERT INTO target (kind, party_id, party_kind, local_part, destination_id)
    SELECT 'remote', flow.owner_id, 'government', lower(flow.code), destination.id
    FROM flow, destination WHERE flow.code LIKE 'STROOM%%' AND destination.domain = %(domain)s
    """,
    """
    INSERT INTO address (address, party_id, party_kind, flow_id, target_id)
    SELECT lower(flow.code) || '@gov.test', flow.owner_id, 'government', flow.id, target.id
    FROM flow JOIN target ON target.local_part = lower(flow.code) WHERE flow.code LIKE 'STROOM%%'
    """,
)
# The index that keeps periods apart is what takes the time; only those who decide need them.
_CONNECT: Final[LiteralString] = """
INSERT INTO connection (address_id, flow_id, valid_from)
SELECT address.id, flow.id, date '2020-01-01'
FROM address JOIN flow ON flow.code = 'STROOM' || (substr(address.address, 6, 7)::int / %(most)s)
WHERE address.address ~ '^adres[0-9]{6}[1-9]@'
"""


def build(dsn: str, count: int, *, connected: bool) -> None:
    """Make an empty database a directory of `count` private addresses, connected to flows if that is asked for."""
    values = {"count": count, "most": MOST_IN_A_FLOW, "domain": "agency.test"}
    with psycopg.connect(dsn, autocommit=True) as connection:
        migrate(connection)
        fill(dsn)
        for statement in (*_FILL, *((_CONNECT,) if connected else ()), "RESET session_replication_role"):
            _execute(connection, statement, values)
        connection.execute("VACUUM ANALYZE")


def _execute(connection: Connection[TupleRow], statement: LiteralString, values: dict[str, object]) -> None:
    connection.execute(statement, values if "%(" in statement else None)


def private_address(number: int) -> str:
    """Return the logical address of a number."""
    return f"adres{number:07}@party.test"


def hub_of(number: int) -> str:
    """Return the agency's address to whose flow an address is connected, unless its number ends in 0."""
    return f"stroom{number // MOST_IN_A_FLOW}@gov.test"
