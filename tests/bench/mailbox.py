"""How soon a party sees what is in a large mailbox: from PASS until LIST and UIDL have come, with indexes and without.

The peer is the same mailbox with Dovecot's indexes: what their loss costs the next session.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from typing import TYPE_CHECKING, Final

from tests.bench.rounds import Side, compare
from tests.sandbox import layout as names
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BufferedRWPair
    from pathlib import Path

    from tests.sandbox.layout import Layout

MESSAGES: Final = 10_000
_READER: Final = next(trader for trader in TRADERS if trader.key == "POP3_ONLY")
_TEXT: Final = b"Subject: aangifte\n\nx\n"


def _fill(folder: Path) -> None:
    """Make a Maildir of so many small messages, named as Dovecot names them."""
    for name in ("tmp", "new", "cur"):
        (folder / name).mkdir(parents=True, mode=0o700)
    first = folder / "new" / f"1700000000.M0P1.vm,S={len(_TEXT)},W={len(_TEXT) + 3}"
    first.write_bytes(_TEXT)
    for number in range(1, MESSAGES):
        first.with_name(first.name.replace("M0", f"M{number}")).hardlink_to(first)
    for path in (folder.parent, folder, first, *(folder / name for name in ("tmp", "new", "cur"))):
        os.chown(path, names.MAIL_UID, names.MAIL_UID)


def _answer(lines: BufferedRWPair, *, several: bool) -> int:
    """Read one answer and return how many lines it has beside the first and the dot."""
    if not (first := lines.readline()).startswith(b"+OK"):
        raise RuntimeError(f"{first!r}")
    count = 0
    while several and lines.readline() != b".\r\n":
        count += 1
    return count


def _listed_per_second(port: int, env: Mapping[str, str]) -> float:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as session, session.makefile("rwb") as lines:
        _answer(lines, several=False)
        lines.write(f"USER {env['POP3_ONLY_LOGIN']}\r\n".encode())
        lines.flush()
        _answer(lines, several=False)
        began = time.monotonic()
        lines.write(f"PASS {env['POP3_ONLY_PASSWORD']}\r\nLIST\r\nUIDL\r\nQUIT\r\n".encode())
        lines.flush()
        _answer(lines, several=False)
        listed = [_answer(lines, several=True) for _ in ("LIST", "UIDL")]
        seconds = time.monotonic() - began
        _answer(lines, several=False)
    if listed != [MESSAGES, MESSAGES]:
        raise RuntimeError(f"{listed} messages were listed")
    return MESSAGES / seconds


def run(env: Mapping[str, str], layout: Layout, rounds: int) -> None:
    """Measure one session at a time; the rates are messages per second."""
    home = layout.mail / _READER.mailbox
    shutil.rmtree(home, ignore_errors=True)
    folder = home / "Maildir"
    _fill(folder)

    def without_indexes() -> float:
        for path in folder.glob("dovecot*"):
            path.unlink()
        return _listed_per_second(layout.ports.pop3, env)

    def with_indexes() -> float:
        # Another look first, which makes them.
        _listed_per_second(layout.ports.pop3, env)
        return _listed_per_second(layout.ports.pop3, env)

    compare(
        f"LIST and UIDL of {MESSAGES:,} messages, Dovecot's indexes lost against kept",
        Side("lost", without_indexes),
        Side("kept", with_indexes),
        rounds,
    )
