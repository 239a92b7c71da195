"""`digipoort-policyd`: settings, log, signals; the work is in the other modules."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from digipoort import log
from digipoort.directory.pool import open_pool
from digipoort.settings import PolicydSettings, SettingsError, load
from digipoort_policyd.server import PolicyServer
from digipoort_policyd.service import PolicyService

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

PROGRAM: Final = "digipoort-policyd"
# Readable and writable for the owner and the group that Postfix is a member of: mode 0660.
SOCKET_UMASK: Final = 0o117


def main() -> None:
    """Run until SIGTERM or SIGINT; exit 0 then, os.EX_CONFIG (78) for a fault in the settings, 1 without a socket."""
    try:
        settings = load(PolicydSettings)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet
        raise SystemExit(os.EX_CONFIG) from None
    logger = log.configure(PROGRAM, settings.syslog_socket, settings.log_level)
    try:
        asyncio.run(run(settings, logger))
    except OSError as error:
        logger.error("socket_unusable", socket=str(settings.policyd_socket), detail=str(error))  # noqa: TRY400
        raise SystemExit(1) from None


async def run(settings: PolicydSettings, logger: FilteringBoundLogger) -> None:
    """Serve until a signal says stop. Raises OSError when the socket cannot be listened on.

    The directory need not be up: requests are answered temporary until it is.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pool = open_pool(settings.directory_dsn, settings.directory_connections, settings.request_deadline)
    service = PolicyService(
        pool.fetch_one,
        logger,
        logical_domains=settings.logical_domains,
        timezone=settings.directory_timezone,
        deadline=settings.request_deadline,
    )
    server = PolicyServer(service)
    os.umask(SOCKET_UMASK)
    await server.start(settings.policyd_socket)
    logger.info("policyd_started", socket=str(settings.policyd_socket))
    await stop.wait()
    cut_off = await server.stop(settings.policyd_socket, settings.drain_seconds)
    await pool.close()
    logger.info("policyd_stopped", cut_off=cut_off)


if __name__ == "__main__":
    main()
