"""`digipoort-sasl`: puts the parts together; the work is in the other modules."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from digipoort import daemon, readiness
from digipoort.activation import inherited_sockets
from digipoort.peers import user_ids
from digipoort.settings import SaslSettings
from digipoort_sasl.relay import Relay
from digipoort_sasl.server import RelayServer

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

PROGRAM: Final = "digipoort-sasl"


def main() -> None:
    """Run until SIGTERM or SIGINT; exit 0 then, os.EX_CONFIG (78) for a fault in the settings, 1 without a socket."""
    settings, logger = daemon.begin(PROGRAM, SaslSettings)
    daemon.run(serve(settings, logger), settings.sasl_socket, logger)


async def serve(settings: SaslSettings, logger: FilteringBoundLogger) -> None:
    """Serve until a signal says stop. Raises OSError when the socket cannot be listened on.

    Dovecot need not be up: logins are temporarily impossible until it is.
    """
    stop = daemon.stop_event()
    relay = Relay(settings.dovecot_auth_socket, logger, deadline=settings.sasl_deadline)
    peers = user_ids(settings.sasl_peers)
    server = RelayServer(relay, logger, peers=peers, max_connections=settings.sasl_connections)
    await server.start(settings.sasl_socket, inherited_sockets(os.environ))
    logger.info("sasl_started", socket=str(settings.sasl_socket))
    await readiness.until(stop, f"answers on {settings.sasl_socket}")
    cut_off = await server.stop(settings.drain_seconds)
    logger.info("sasl_stopped", cut_off=cut_off)


if __name__ == "__main__":
    main()
