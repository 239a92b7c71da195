"""The sandbox's syslog: appends datagrams of facility mail to MAIL_LOG, beside Postfix's and Dovecot's own lines.

A host's syslog daemon does this; the sandbox must not touch the host's.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from pathlib import Path

FACILITY_MAIL = 2
_PRIORITY = re.compile(rb"<(\d{1,3})>")


def serve(address: Path, log: Path, hostname: str) -> None:
    """Receive for ever. A datagram that is not of facility mail is marked, so that a test sees it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver, log.open("ab", buffering=0) as out:
        receiver.bind(str(address))
        address.chmod(0o666)
        while True:
            datagram = receiver.recv(65536)
            priority = _PRIORITY.match(datagram)
            text = datagram[priority.end() :] if priority else datagram
            mark = b"" if priority and int(priority[1]) >> 3 == FACILITY_MAIL else b"NOT-FACILITY-MAIL "
            stamp = time.strftime(f"%b %d %H:%M:%S {hostname} ").encode()
            out.write(stamp + mark + text.rstrip(b"\0\n") + b"\n")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
