"""An authd that hangs, lies or is slow, as the login itself asks for: listens in the place of the sandbox's real one.

The login `NAME` or `NAME.anything` is answered as NAME in ANSWERS says. `exact` is accepted when the password is
SECRET, octet for octet, and the request tells the address and that the connection is encrypted. Every other login is
refused.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.sandbox import layout as names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAILBOX: Final = "b1f0aa27c3d94e01"
# Dovecot itself refuses a password with 0x01, TAB, CR or LF in it.
SECRET: Final = b"\xc3\xa1 \xff\x02\x7f=t0'\"\\%{u}%s"
# Pieces that are sent with PAUSE between them; {login} is the login. None: nothing is said, and nothing closed.
PAUSE: Final = 0.25
ANSWERS: Final[dict[str, tuple[str, ...] | None]] = {
    "hang": None,
    "drip": tuple(f"ok\tlogin=drip\tmailbox={MAILBOX}\n" + "x" * 40),
    "temp": ("temp\n",),
    "gone": (),
    "other": (f"ok\tlogin=trader2\tmailbox={MAILBOX}\n",),
    "path": ("ok\tlogin={login}\tmailbox=../../../etc\n",),
    "slash": ("ok\tlogin={login}\tmailbox=abcd/efgh\n",),
    "capitals": ("ok\tlogin={login}\tmailbox=ABCD1234\n",),
    "empty": ("ok\tlogin={login}\tmailbox=\n",),
    "bare": ("ok\n",),
    "long": ("x" * 5000 + "\n",),
    "longok": ("ok\tlogin={login}\tmailbox=" + "a" * 5000 + "\n",),
    "noline": (f"ok\tlogin={{login}}\tmailbox={MAILBOX}",),
    "twolines": (f"ok\tlogin={{login}}\tmailbox={MAILBOX}\nfail\n",),
    "nul": ("ok\tlogin={login}\tmailbox=abcd\0efg\n",),
    "extra": (f"ok\tlogin={{login}}\tmailbox={MAILBOX}\tuid=0\n",),
    "garbage": ("\xff\0" * 100 + "\n",),
    "pieces": ("ok\tlog", "in={login}\tmail", f"box={MAILBOX}\n"),
    "size": (f"ok\tlogin={{login}}\tmailbox={MAILBOX}\n",),
    "submits": ("ok\tlogin={login}\n",),
}


@dataclass(slots=True)
class FakeAuthd:
    """What it was asked; every request line, LF included."""

    requests: list[bytes] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving(path: Path) -> Iterator[FakeAuthd]:
    """Answer at `path`, which the real authd has left, until the context ends."""
    fake = FakeAuthd()
    connections: list[socket.socket] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            connections.append(self.request)
            # A client may go when it has waited long enough.
            with contextlib.suppress(OSError):
                while line := self.rfile.readline(4097):
                    fake.requests.append(line)
                    if not _answer(self, line, fake.released):
                        return

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        shutil.chown(path, names.AUTHD_UID, "dovecot")
        path.chmod(0o660)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield fake
        finally:
            fake.released.set()
            server.shutdown()
            thread.join()
            path.unlink()
            # As if its process had ended: a worker of Dovecot's keeps its connection as long as it may.
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _answer(handler: socketserver.StreamRequestHandler, line: bytes, released: threading.Event) -> bool:
    """Answer one request; return whether another may follow."""
    fields = dict(word.partition(b"=")[::2] for word in line.rstrip(b"\n").split(b"\t")[2:])
    login = fields[b"login"].decode(errors="replace")
    name = login.partition(".")[0].partition("@")[0]
    if name == "exact":
        password, *told = (fields.get(word) for word in (b"password", b"secured", b"ip"))
        accepted = password == SECRET and told == [b"yes", b"127.0.0.1"]
        handler.wfile.write(f"ok\tlogin={login}\tmailbox={MAILBOX}\n".encode() if accepted else b"fail\n")
        return True
    pieces = ANSWERS.get(name, ("fail\n",))
    if pieces is None:
        released.wait(60)
        return False
    for place, piece in enumerate(pieces):
        if place:
            released.wait(PAUSE)
        handler.wfile.write(piece.format(login=login).encode("latin-1"))
    return name not in {"gone", "noline"}
