"""`digipoort-authd`: settings, log, signals; the work is in the other modules."""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING, Final

from digipoort import log
from digipoort.directory.pool import open_pool
from digipoort.passwords import hash_password
from digipoort.settings import AuthdSettings, SettingsError, load
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
    try:
        settings = load(AuthdSettings)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet
        raise SystemExit(os.EX_CONFIG) from None
    logger = log.configure(PROGRAM, settings.syslog_socket, settings.log_level)
    try:
        asyncio.run(run(settings, logger))
    except OSError as error:
        logger.error("socket_unusable", socket=str(settings.authd_socket), detail=str(error))  # noqa: TRY400
        raise SystemExit(1) from None


async def run(settings: AuthdSettings, logger: FilteringBoundLogger) -> None:
    """Serve until a signal says stop. Raises OSError when the socket cannot be listened on.

    The directory need not be up: logins are answered `temp` until it is.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pool = open_pool(settings.directory_dsn, settings.directory_connections, settings.request_deadline)
    workers = HashWorkers(settings.hash_workers)
    service = AuthService(
        functools.partial(find_credential, pool.fetch_one),
        workers.verify,
        logger,
        decoy=hash_password(secrets.token_urlsafe().encode()),
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
