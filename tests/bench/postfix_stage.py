"""One real Postfix stage for a benchmark: smtpd and cleanup as in the gateway's acceptance, then discard(8).

Two services differ in nothing but their milter. TLS, the policy daemon and the delivery are left out: they cost both
sides the same and would only hide the milter.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.bench import bare_postfix
from tests.bench.bare_postfix import WAIT_SECONDS
from tests.bench.declarations import RECIPIENT, SENDER
from tests.sandbox.layout import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.declarations import Message
    from tests.bench.milters import RunningMilter

MESSAGES: Final = 2000
SESSIONS: Final = 20
# As in the gateway's main.cf where it touches what cleanup and a milter do with a message.
_MAIN: Final = """relay_domains = overheid.digipoort.test
relay_transport = discard:
smtpd_relay_restrictions = permit_mynetworks, reject
message_drop_headers =
cleanup_replace_stray_cr_lf = no
disable_mime_input_processing = yes
disable_mime_output_conversion = yes
message_size_limit = 27262976
milter_default_action = tempfail
milter_protocol = 6
milter_connect_macros = j {daemon_name} {daemon_addr} v _ {client_addr} {client_name} {client_port}
"""
_SERVICES: Final = """127.0.0.1:{ours} inet n - n - - smtpd
  -o smtpd_milters=unix:{ours_socket}
127.0.0.1:{peer} inet n - n - - smtpd
  -o smtpd_milters=unix:{peer_socket}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running stage: the ports of its two services."""

    folder: Path
    ours: int
    peer: int

    def rate(self, port: int, message: Message) -> float:
        """Return messages per second over SESSIONS sessions, from the first connection until the queue is empty.

        Raises RuntimeError when a message is not accepted or the queue does not empty.
        """
        source = self.folder / "message"
        source.write_bytes(message.source())
        sessions = ("-d", "-s", str(SESSIONS), "-m", str(MESSAGES))
        envelope = ("-f", SENDER, "-t", RECIPIENT, "-F", str(source))
        begun = time.monotonic()
        subprocess.run(("/usr/sbin/smtp-source", *sessions, *envelope, f"127.0.0.1:{port}"), check=True)
        while self._queued():
            if time.monotonic() - begun > WAIT_SECONDS:
                raise RuntimeError("the queue does not empty")
            time.sleep(0.01)
        return MESSAGES / (time.monotonic() - begun)

    def _queued(self) -> bool:
        queues = ("incoming", "active", "deferred")
        return any(path.is_file() for queue in queues for path in (self.folder / "spool" / queue).rglob("*"))


@contextmanager
def running(folder: Path, ours: RunningMilter, peer: RunningMilter) -> Iterator[Stage]:
    """Run the stage below `folder` until the end of the block."""
    ports = Ports.free()
    stage = Stage(folder, ports.submission, ports.acceptance)
    services = _SERVICES.format(ours=stage.ours, peer=stage.peer, ours_socket=ours.socket, peer_socket=peer.socket)
    with bare_postfix.running(folder, _MAIN, services, stage.ours):
        yield stage
