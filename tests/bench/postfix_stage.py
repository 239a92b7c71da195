"""One real Postfix stage for a benchmark: smtpd and cleanup as in the gateway's acceptance, then discard(8).

Two services differ in nothing but their milter. TLS, the policy daemon and the delivery are left out: they cost both
sides the same and would only hide the milter.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.bench.declarations import RECIPIENT, SENDER
from tests.sandbox.layout import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.declarations import Message
    from tests.bench.milters import RunningMilter

MESSAGES: Final = 2000
SESSIONS: Final = 20
WAIT_SECONDS: Final = 120.0
# As in the gateway's main.cf where it touches what smtpd, cleanup and a milter do with a message.
_MAIN: Final = """compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
default_database_type = lmdb
myhostname = gateway.digipoort.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
relay_domains = overheid.digipoort.test
relay_transport = discard:
smtpd_relay_restrictions = permit_mynetworks, reject
local_header_rewrite_clients =
message_drop_headers =
cleanup_replace_stray_cr_lf = no
disable_mime_input_processing = yes
disable_mime_output_conversion = yes
message_size_limit = 27262976
milter_default_action = tempfail
milter_protocol = 6
milter_connect_macros = j {{daemon_name}} {{daemon_addr}} v _ {{client_addr}} {{client_name}} {{client_port}}
# Load as no agency's gateway sees it must not be slowed down on purpose.
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
"""
_MASTER: Final = """127.0.0.1:{ours} inet n - n - - smtpd
  -o smtpd_milters=unix:{ours_socket}
127.0.0.1:{peer} inet n - n - - smtpd
  -o smtpd_milters=unix:{peer_socket}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
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
    config = folder / "postfix"
    for path in (config, folder / "spool", folder / "data"):
        path.mkdir()
    shutil.chown(folder / "data", "postfix")
    (config / "main.cf").write_text(_MAIN.format(folder=folder), encoding="utf-8")
    services = _MASTER.format(ours=stage.ours, peer=stage.peer, ours_socket=ours.socket, peer_socket=peer.socket)
    (config / "master.cf").write_text(services, encoding="utf-8")
    command = ("/usr/sbin/postfix", "-c", str(config))
    master = subprocess.Popen((*command, "start-fg"), stderr=subprocess.DEVNULL)
    try:
        _wait_until_open(stage.ours)
        yield stage
    finally:
        subprocess.run((*command, "stop"), check=False, stderr=subprocess.DEVNULL)
        master.wait()


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise RuntimeError("Postfix did not start")
        time.sleep(0.05)
