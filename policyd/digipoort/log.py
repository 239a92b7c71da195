"""Events as logfmt lines to syslog's mail facility, where Postfix's and Dovecot's own lines stand.

A line is `digipoort-policyd[412]: event=recipient_allowed queue_id=… reason=… elapsed_ms=1.42 …`: one event, one line.
docs/logs.md lists the events; a test keeps that list complete.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from typing import TYPE_CHECKING, Final, cast

import structlog

if TYPE_CHECKING:
    import socket
    from collections.abc import MutableMapping
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger, WrappedLogger

FIRST_KEYS: Final = ("event", "ref", "queue_id", "reason", "elapsed_ms")
# RFC 5424 section 6.1 lets a receiver cut lines over 2048 octets; one value never takes the whole line.
MAX_VALUE_CHARACTERS: Final = 500
_SYSLOG_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Syslog(logging.handlers.SysLogHandler):
    """The stdlib's handler with syslog's own `program[pid]: `; standard error is the way out when nothing listens."""

    socket: socket.socket

    def __init__(self, program: str, address: str) -> None:
        super().__init__(address=address, facility=self.LOG_MAIL)
        self.append_nul = False
        self.ident = f"{program}[{os.getpid()}]: "

    def _connect_unixsocket(self, address: str) -> None:
        """Connect, and never wait: once a syslog that does not read has a full queue, a send would hang the daemon."""
        super()._connect_unixsocket(address)  # type: ignore[misc]  # typeshed leaves it out
        self.socket.settimeout(0)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the stdlib's name
        """Write the line to standard error (the journal, under systemd): a deaf syslog must not stop mail."""
        print(self.ident + record.getMessage(), file=sys.stderr)  # noqa: T201


def configure(program: str, socket: Path, level: str) -> FilteringBoundLogger:
    """Return the logger of a program, e.g. `digipoort-policyd`, that writes to the syslog socket at `socket`."""
    logger = logging.getLogger(program)
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.propagate = False
    logger.setLevel(_SYSLOG_LEVELS[level])
    logger.addHandler(_Syslog(program, str(socket)))
    return wrap(logger)


def wrap(logger: logging.Logger) -> FilteringBoundLogger:
    """Return a structlog logger that renders events as logfmt into a standard logger (tests hand in their own)."""
    bound = structlog.wrap_logger(
        cast("WrappedLogger", logger),
        processors=[
            structlog.processors.format_exc_info,
            _clean,
            structlog.processors.LogfmtRenderer(key_order=FIRST_KEYS, drop_missing=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logger.getEffectiveLevel()),
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
