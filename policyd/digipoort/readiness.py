"""What systemd is told of a daemon: that it is ready, alive, and about to end (sd_notify(3)).

Nothing is told where nobody listens: without NOTIFY_SOCKET, and without WATCHDOG_USEC for what only the watchdog wants.
A daemon is ready when its sockets listen. Whether the directory is up is no part of that: until it is, answers are
temporary, and a restart would not mend it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from systemd import daemon

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

_MICROSECONDS: Final = 1_000_000


def is_awaited() -> bool:
    """Return whether somebody waits for word of this process."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def ready(status: str) -> None:
    """Tell that the daemon serves; `status` is what `systemctl status` shows."""
    _tell("READY=1", f"STATUS={status}", "WATCHDOG=1")


def alive() -> None:
    """Tell the watchdog that the daemon still does what it is there for."""
    _tell("WATCHDOG=1")


def stopping() -> None:
    """Tell that the daemon takes no more work."""
    _tell("STOPPING=1", "STATUS=finishes what is under way")


def ping_seconds() -> float | None:
    """Return the seconds between two calls of `alive`, half of what the watchdog grants; None: there is no watchdog."""
    granted = _granted()
    return granted / 2 if granted else None


async def until(stop: asyncio.Event, status: str) -> None:
    """Tell that the daemon serves, and then that its event loop turns, until `stop` is set."""
    ready(status)
    interval = ping_seconds()
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await stop.wait()
        alive()
    stopping()


def pause(stop: threading.Event, seconds: float) -> None:
    """Wait for `seconds`, or until `stop` is set, and let the watchdog know meanwhile."""
    interval = ping_seconds() or seconds
    while seconds > 0 and not stop.is_set():
        alive()
        stop.wait(min(interval, seconds))
        seconds -= interval


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Have the watchdog wait for `seconds`, if it grants less, while the block takes as long as others make it."""
    granted = _granted()
    if granted is None:
        yield
        return
    _tell("WATCHDOG=1", _grant(max(seconds, granted)))
    try:
        yield
    finally:
        _tell("WATCHDOG=1", _grant(granted))


def _granted() -> float | None:
    """Return the seconds after which the watchdog takes this process for dead (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID") in {None, str(os.getpid())}
    return int(microseconds) / _MICROSECONDS if meant and microseconds.isdigit() and int(microseconds) else None


def _grant(seconds: float) -> str:
    return f"WATCHDOG_USEC={seconds * _MICROSECONDS:.0f}"


def _tell(*words: str) -> None:
    # Whoever does not hear it draws a conclusion, and that is no reason to end first.
    with contextlib.suppress(OSError):
        daemon.notify("\n".join(words))
