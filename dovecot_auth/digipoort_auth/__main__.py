"""`digipoort-authd`: puts the parts together; the work is in the other modules."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING, Final

from digipoort import daemon
from digipoort.directory.pool import open_pool
from digipoort.passwords import hash_password
from digipoort.settings import AuthdSettings
from digipoort.unixserver import UnixServer
from digipoort_auth.directory import find_credential
from digipoort_auth.hashing import HashWorkers
from digipoort_auth.protocol import END_OF_LINE, MAX_LINE_OCTETS
from digipoort_auth.service import AuthService

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
    pool = open_pool(settings.directory_dsn, settings.directory_connections, settings.request_deadline)
    workers = HashWorkers(settings.hash_workers)
    service = AuthService(
        functools.partial(find_credential, pool.fetch_one),
        workers.verify,
        logger,
        decoy=hash_password(secrets.token_urlsafe().encode(), settings.hash_cost),
        deadline=settings.request_deadline,
    )
    server = UnixServer(service, terminator=END_OF_LINE, max_request=MAX_LINE_OCTETS)
    await server.start(settings.authd_socket)
    logger.info("authd_started", socket=str(settings.authd_socket))
    await stop.wait()
    cut_off = await server.stop(settings.drain_seconds)
    workers.close()
    await pool.close()
    logger.info("authd_stopped", cut_off=cut_off)


if __name__ == "__main__":
    main()
