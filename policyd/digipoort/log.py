"""Events as logfmt lines to syslog's mail facility, where Postfix's and Dovecot's own lines stand.

A line is `digipoort-policyd[412]: event=recipient_allowed queue_id=… reason=… elapsed_ms=1.42 …`: one event, one line.
docs/logs.md lists the events; a test keeps that list complete.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final, cast

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger, WrappedLogger

FIRST_KEYS: Final = ("event", "ref", "queue_id", "reason", "elapsed_ms")
# RFC 5424 section 6.1 lets a receiver cut lines over 2048 octets; one value never takes the whole line.
MAX_VALUE_CHARACTERS: Final = 500
_STDERR: Final = 2
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# RFC 5424 section 6.2.1: facility mail (2) times eight, plus the severity.
_ERROR, _WARNING, _INFO, _DEBUG = (2 * 8 + severity for severity in (3, 4, 6, 7))


class _Syslog:
    """What structlog hands its lines to: datagrams `<PRI>program[pid]: line`; standard error when nobody takes them.

    Not the stdlib's SysLogHandler: the logging package around it made a record, looked up thread and process, and
    formatted it again, which cost the policy daemon a twentieth of a request, and no line shows it.
    """

    def __init__(self, program: str, address: str) -> None:
        self._address = address
        self._ident = f"{program}[{os.getpid()}]: "
        self._socket: socket.socket | None = None
        # The milter's threads share one logger.
        self._lock = threading.Lock()

    def debug(self, line: str) -> None:
        self._write(_DEBUG, line)

    def info(self, line: str) -> None:
        self._write(_INFO, line)

    def warning(self, line: str) -> None:
        self._write(_WARNING, line)

    def error(self, line: str) -> None:
        self._write(_ERROR, line)

    def _write(self, priority: int, line: str) -> None:
        """Send a line, or say it on standard error (the journal, under systemd); a deaf syslog must not stop mail."""
        try:
            with self._lock:
                self._send(f"<{priority}>{self._ident}{line}".encode())
        except OSError:
            # The journal may be the deaf syslog itself, and standard error a stream to it that waits.
            with contextlib.suppress(OSError, ValueError):
                if select.select([], [_STDERR], [], 0)[1]:
                    print(self._ident + line, file=sys.stderr)  # noqa: T201

    def _send(self, datagram: bytes) -> None:
        """Send over the connection there is; over a new one when syslog was started again. Raises OSError."""
        if self._socket is not None:
            try:
                self._socket.send(datagram)
            except BlockingIOError:
                raise  # its queue is full, whatever the connection
            except OSError:
                self._close()
            else:
                return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # Once a syslog that does not read has a full queue, a send that waits would hang the daemon.
            self._socket.settimeout(0)
            self._socket.connect(self._address)
            self._socket.send(datagram)
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    __del__ = _close


def configure(program: str, socket: Path, level: str) -> FilteringBoundLogger:
    """Return the logger of a program, e.g. `digipoort-policyd`, that writes to the syslog socket at `socket`."""
    return _wrapped(_Syslog(program, str(socket)), _LEVELS[level])


def wrap(logger: logging.Logger) -> FilteringBoundLogger:
    """Return a structlog logger that renders events as logfmt into a standard logger: what tests hand in."""
    return _wrapped(logger, logger.getEffectiveLevel())


def _wrapped(logger: object, level: int) -> FilteringBoundLogger:
    bound = structlog.wrap_logger(
        cast("WrappedLogger", logger),
        processors=[
            structlog.processors.format_exc_info,
            _clean,
            structlog.processors.LogfmtRenderer(key_order=FIRST_KEYS, drop_missing=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return cast("FilteringBoundLogger", bound)


def _clean(_logger: WrappedLogger, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """Make every value one printable, bounded run, so that no input can forge a line or a key."""
    for key, value in event.items():
        if isinstance(value, float):
            event[key] = f"{value:.2f}"
        elif isinstance(value, bytes | str):
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            event[key] = _printable(text[:MAX_VALUE_CHARACTERS])[:MAX_VALUE_CHARACTERS]
    return event


def _printable(text: str) -> str:
    # Nearly every value is so already, and a daemon logs thousands of them a second.
    if text.isprintable() and '"' not in text:
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character == '"':
        return "'"
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "replace").decode("ascii")
