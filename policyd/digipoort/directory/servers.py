"""Connects to the first server of a DSN that answers, for asynchronous connections.

libpq itself tries the hosts of a multi-host conninfo in turn, but psycopg 3.1 does not wait where PQconnectPoll asks it
to: a host that never answers, rather than refuse, then ends the whole attempt, and the second host is never tried.
libpq's connect_timeout, which would help, does not apply to asynchronous connections. So every server is one attempt
here, with a time limit of its own. That leaves load_balance_hosts without effect: the order is that of the DSN.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row: TypeAlias = tuple[Any, ...]
Connection: TypeAlias = psycopg.AsyncConnection[Row]

_KEEPALIVE: Final = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
_PER_SERVER: Final = ("host", "hostaddr", "port")


async def connect_first(attempts: Sequence[str], seconds: float) -> Connection:
    """Return a connection, in autocommit mode, of the first of the conninfos `attempts` that gives one in `seconds`.

    Raises psycopg.OperationalError, that of the last attempt, when none does.
    """
    fault = psycopg.OperationalError("The DSN names no server.")
    for conninfo in attempts:
        try:
            async with asyncio.timeout(seconds):
                # The DSN's connect_timeout would make psycopg 3.1 wait with asyncio.wait_for, which Python 3.11 lets
                # swallow a cancellation: the limit is the one above.
                return await psycopg.AsyncConnection.connect(conninfo, autocommit=True, connect_timeout=0)
        except psycopg.OperationalError as error:
            fault = error
        except TimeoutError:
            fault = psycopg.errors.ConnectionTimeout(f"The server gave no connection within {seconds:.2f} seconds.")
    try:
        raise fault
    finally:
        # It would refer to this frame and be referred to by it, and keep its socket open until a garbage collection.
        del fault


def connection_attempts(dsn: str, deadline: float, settings: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the conninfos to try in turn for the libpq conninfo `dsn`, whose requests have `deadline` seconds.

    One for each server; with `target_session_attrs=prefer-standby`, each as a standby first and then as it is (libpq
    section 34.1.2). A statement is given up by the server too when its request's deadline is over, and a connection
    without a sign of life is dropped; `settings` are more of the server's, for these connections. What the DSN itself
    says about any of that goes first.
    """
    given = conninfo_to_dict(dsn)
    timeout = max(1, round(deadline * 1000))
    ours = {"statement_timeout": str(timeout), **settings}
    options = " ".join([*(f"-c {name}={value}" for name, value in ours.items()), given.get("options", "")]).strip()
    defaults = {**_KEEPALIVE, "tcp_user_timeout": str(timeout)}
    parameters: dict[str, str] = defaults | given | {"options": options, "client_encoding": "utf8"}
    if parameters.get("target_session_attrs") == "prefer-standby":
        passes = [parameters | {"target_session_attrs": "standby"}, parameters | {"target_session_attrs": "any"}]
    else:
        passes = [parameters]
    return [make_conninfo(**server) for one in passes for server in _servers(one)]


def _servers(parameters: dict[str, str]) -> list[dict[str, str]]:
    """Return the parameters once for each server: the lists of hosts, addresses and ports go together by position."""
    lists = {name: parameters[name].split(",") for name in _PER_SERVER if parameters.get(name)}
    count = max((len(values) for name, values in lists.items() if name != "port"), default=1)
    servers = []
    for index in range(count):
        own = {name: values[min(index, len(values) - 1)] for name, values in lists.items()}
        servers.append(parameters | own)
    return servers
