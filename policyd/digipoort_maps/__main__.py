"""`digipoort-maps`: puts the parts together."""

from __future__ import annotations

from typing import Final

from digipoort import daemon, readiness
from digipoort.settings import MapsSettings
from digipoort_maps.publisher import Publisher

PROGRAM: Final = "digipoort-maps"


def main() -> None:
    """Run until SIGTERM or SIGINT, which ends a publication under way first; exit 78 for a fault in the settings."""
    settings, logger = daemon.begin(PROGRAM, MapsSettings)
    stop = daemon.stop_flag(readiness.stopping)
    logger.info("maps_started", folder=str(settings.maps_directory))
    readiness.ready(f"publishes into {settings.maps_directory}")
    Publisher(settings, logger, stop).run()
    logger.info("maps_stopped")


if __name__ == "__main__":
    main()
