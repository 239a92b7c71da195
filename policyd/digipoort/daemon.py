"""How every daemon begins and ends: settings and log or a clear exit, the signals, a socket that cannot be made."""

from __future__ import annotations

import _thread
import asyncio
import os
import resource
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from digipoort import log
from digipoort.settings import SettingsError, SettingsT, load

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from types import FrameType

    from structlog.typing import FilteringBoundLogger


def begin(program: str, kind: type[SettingsT]) -> tuple[SettingsT, FilteringBoundLogger]:
    """Return a program's settings, checked, and its logger; `program` is its name in the log, e.g. `digipoort-authd`.

    Raises SystemExit with os.EX_CONFIG (78) for faults in the settings, after a sentence for each on standard error.
    """
    try:
        settings = load(kind)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet
        raise SystemExit(os.EX_CONFIG) from None
    # What is under way must not lie about on a disk after a crash: messages, passwords.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return settings, log.configure(program, settings.syslog_socket, settings.log_level)


def run(serving: Coroutine[Any, Any, None], socket: Path, logger: FilteringBoundLogger) -> None:
    """Run an event loop until `serving` ends. Raises SystemExit with 1 when its socket cannot be listened on."""
    try:
        asyncio.run(serving)
    except OSError as error:
        path = str(error.filename or socket)
        logger.error("socket_unusable", socket=path, detail=str(error))  # noqa: TRY400 - the sentence says it all
        raise SystemExit(1) from None


def stop_event() -> asyncio.Event:
    """Return an event of the running loop that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def stop_flag(told: Callable[[], None]) -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, for a program without an event loop; `told` is called then too."""
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        # By a thread, started without a lock: who waits for the event may hold its lock, and is interrupted by this.
        _thread.start_new_thread(stop.set, ())
        told()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop
