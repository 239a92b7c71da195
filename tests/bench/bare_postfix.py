"""A private Postfix for a benchmark: the least that receives mail, and what the benchmark itself adds to it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_SECONDS: Final = 120.0
# As in the gateway's main.cf. Load as no gateway sees it must not be slowed down on purpose.
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
local_header_rewrite_clients =
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
"""
_MASTER: Final = """cleanup unix n - n - 0 cleanup
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


@contextmanager
def running(folder: Path, main: str, services: str, port: int) -> Iterator[Path]:
    """Run Postfix below `folder`, with lines of main.cf and master.cf added, and yield its configuration's folder.

    `port` is that of a service, which answers when the block begins.
    """
    config = folder / "postfix"
    for path in (config, folder / "spool", folder / "data"):
        path.mkdir()
    shutil.chown(folder / "data", "postfix")
    (config / "main.cf").write_text(_MAIN.format(folder=folder) + main, encoding="utf-8")
    (config / "master.cf").write_text(services + _MASTER, encoding="utf-8")
    command = ("/usr/sbin/postfix", "-c", str(config))
    master = subprocess.Popen((*command, "start-fg"), stderr=subprocess.DEVNULL)
    try:
        _wait_until_open(port)
        yield config
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
