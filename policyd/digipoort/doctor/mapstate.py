"""What is published on this host, for `digipoort doctor`: looks, and judges nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort import generations, mapfiles, maps
from digipoort.mapcontents import ALIAS, PROFILES, PublishError

if TYPE_CHECKING:
    from pathlib import Path

    from digipoort.settings import AdminSettings

# So long a publication may be under way before one does not wait for its end: one of all mostly takes less.
PUBLICATION_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class MapState:
    """The published maps: of which change and generation they are (None: not known), and what is wrong with them.

    `lacking` are the names of tables and files that are not there, or not whole, which is as it should be while a
    publication is under way (`changing`); `type_fault` tells why the type of the tables cannot be used, empty when it
    can. `age_seconds` is how long ago they were published.
    """

    counter: int | None
    generation: int | None
    held: bool
    map_type: str
    type_fault: str
    lacking: tuple[str, ...]
    age_seconds: float | None = None
    changing: bool = False


def look(settings: AdminSettings) -> MapState:
    """Return the state of the maps in settings.maps_directory. Raises OSError when that may not be looked at."""
    folder = settings.maps_directory
    map_type, fault, lacking, changing = "", "", [], False
    try:
        map_type = maps.map_type(settings)
    except (PublishError, mapfiles.PostfixCommandError) as error:
        fault = str(error)
    else:
        tables = mapfiles.PostfixMaps(settings.postfix_config_directory, map_type)
        lacking = _lacking(tables, folder)
        if lacking:
            changing = not maps.ended_within(folder, PUBLICATION_SECONDS)
            lacking = _lacking(tables, folder)
    return MapState(
        counter=maps.published_counter(folder),
        generation=maps.published_generation(folder),
        held=generations.held(folder),
        map_type=map_type,
        type_fault=fault,
        lacking=tuple(lacking),
        age_seconds=maps.published_age(folder, time.time()),
        changing=changing,
    )


def _lacking(tables: mapfiles.PostfixMaps, folder: Path) -> list[str]:
    lacking = [name for name in (*maps.TARGETS, ALIAS) if not tables.is_whole(folder / name)]
    return lacking if (folder / PROFILES).exists() else [*lacking, PROFILES]
