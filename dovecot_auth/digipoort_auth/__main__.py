"""`digipoort-authd`: puts the parts together; the work is in the other modules."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import time
from typing import TYPE_CHECKING, Final

from digipoort import daemon, readiness
from digipoort.activation import inherited_sockets
from digipoort.directory.pool import open_pool
from digipoort.passwords import hash_password
from digipoort.peers import user_ids
from digipoort.settings import AuthdSettings
from digipoort.unixserver import Admission, UnixServer
from digipoort_auth.directory import find_credential, find_login, find_mailbox, replace_hash
from digipoort_auth.hashing import HashWorkers
from digipoort_auth.limits import Limits, policy_of
from digipoort_auth.protocol import END_OF_LINE, MAX_LINE_OCTETS
from digipoort_auth.rehash import Rehash
from digipoort_auth.service import AuthService, Directory, Parts
from digipoort_auth.turns import Turns

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

PROGRAM: Final = "digipoort-authd"


def main() -> None:
    """Run until SIGTERM or SIGINT; exit 0 then, os.EX_CONFIG (78) for a fault in the settings, 1 without a socket."""
    settings, logger = daemon.begin(PROGRAM, AuthdSettings)
    daemon.run(serve(settings, logger), settings.authd_socket, logger)


async def serve(settings: AuthdSettings, logger: FilteringBoundLogger) -> None:
    """Serve until a signal says stop. Raises OSError when the socket cannot be listened on.

    The directory need not be up: logins are answered `temp` until it is.
    """
    stop = daemon.stop_event()
    async with contextlib.AsyncExitStack() as parts:
        service = await _service(settings, logger, parts)
        admission = Admission(user_ids(settings.authd_peers), service.refuse_peer)
        server = UnixServer(service, terminator=END_OF_LINE, max_request=MAX_LINE_OCTETS, admission=admission)
        await server.start(settings.authd_socket, inherited_sockets(os.environ))
        logger.info("authd_started", socket=str(settings.authd_socket))
        await readiness.until(stop, f"answers on {settings.authd_socket}")
        cut_off = await server.stop(settings.drain_seconds)
    logger.info("authd_stopped", cut_off=cut_off)


async def _service(
    settings: AuthdSettings, logger: FilteringBoundLogger, parts: contextlib.AsyncExitStack
) -> AuthService:
    """Return the service; what it is made of is closed by `parts`, what was made last first."""
    pool = open_pool(settings.directory_dsn, settings.directory_connections, settings.request_deadline)
    parts.push_async_callback(pool.close)
    workers = HashWorkers(settings.hash_workers)
    parts.callback(workers.close)
    cost = settings.hash_cost
    rehash = None
    if settings.rehash_dsn:
        writing = open_pool(settings.rehash_dsn, 1, settings.request_deadline)
        parts.push_async_callback(writing.close)
        rehash = Rehash(workers.hash_when_idle, functools.partial(replace_hash, writing.fetch_one), logger, cost)
        parts.push_async_callback(rehash.close)
    limits = Limits(policy_of(settings), secrets.token_bytes())
    made = Parts(
        directory=Directory(
            functools.partial(find_credential, pool.fetch_one, settings.directory_timezone),
            functools.partial(find_login, pool.fetch_one),
            functools.partial(find_mailbox, pool.fetch_one),
            settings.request_deadline,
        ),
        workers=workers,
        decoy=hash_password(secrets.token_urlsafe().encode(), cost),
        limits=limits,
        turns=Turns(limits, time.monotonic),
        rehash=rehash,
    )
    return AuthService(made, logger, deadline=settings.login_deadline, mailbox_domain=settings.mailbox_domain)


if __name__ == "__main__":
    main()
