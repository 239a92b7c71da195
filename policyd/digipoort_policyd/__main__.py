"""`digipoort-policyd`: puts the parts together; the work is in the other modules."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from digipoort import daemon, readiness, resubmission
from digipoort.activation import inherited_sockets
from digipoort.directory.pool import open_pool
from digipoort.settings import PolicydSettings
from digipoort.unixserver import UnixServer
from digipoort_policyd.protocol import END_OF_REQUEST, MAX_REQUEST_OCTETS
from digipoort_policyd.resubmission import ResubmissionService, keep_pruned
from digipoort_policyd.service import PolicyService

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

PROGRAM: Final = "digipoort-policyd"


def main() -> None:
    """Run until SIGTERM or SIGINT; exit 0 then, os.EX_CONFIG (78) for a fault in the settings, 1 without a socket."""
    settings, logger = daemon.begin(PROGRAM, PolicydSettings)
    daemon.run(serve(settings, logger), settings.policyd_socket, logger)


async def serve(settings: PolicydSettings, logger: FilteringBoundLogger) -> None:
    """Serve until a signal says stop. Raises OSError when the socket cannot be listened on.

    The directory need not be up: requests are answered temporary until it is.
    """
    stop = daemon.stop_event()
    pool = open_pool(settings.directory_dsn, settings.directory_connections, settings.request_deadline)
    service = PolicyService(pool.fetch_one, logger, settings)
    server = UnixServer(service, terminator=END_OF_REQUEST, max_request=MAX_REQUEST_OCTETS)
    writing = open_pool(settings.directory_write_dsn, settings.directory_connections, settings.request_deadline)
    memory = ResubmissionService(writing.fetch_one, logger, settings)
    second = UnixServer(memory, terminator=resubmission.END_OF_BLOCK, max_request=resubmission.MAX_BLOCK_OCTETS)
    inherited = inherited_sockets(os.environ)
    await server.start(settings.policyd_socket, inherited)
    await second.start(settings.resubmission_socket, inherited)
    pruning = asyncio.create_task(keep_pruned(memory))
    logger.info("policyd_started", socket=str(settings.policyd_socket))
    await readiness.until(stop, f"answers on {settings.policyd_socket} and {settings.resubmission_socket}")
    pruning.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await pruning
    cut_off = await asyncio.gather(*(one.stop(settings.drain_seconds) for one in (server, second)))
    await asyncio.gather(pool.close(), writing.close())
    logger.info("policyd_stopped", cut_off=sum(cut_off))


if __name__ == "__main__":
    main()
