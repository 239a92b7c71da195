"""Agencies whose servers misbehave: each test enters its own in the directory, and says what the server answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiosmtpd.controller import Controller

from tests.sandbox import layout as names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiosmtpd.smtp import SMTP, Envelope, Session

    from tests.integration.gateway import Gateway

OK: Final = "250 2.0.0 taken"
# An answer that is none: the connection is cut off, after the message was taken.
CUT_OFF: Final = ""


@dataclass
class Server:
    """What one agency's server answers to DATA, and what it took; a handler of aiosmtpd."""

    answer: Callable[[int], str] = lambda _attempt: OK
    attempts: int = 0
    taken: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    certificates: list[object] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Answer as the test says; `answer` gets the number of the attempt, from 1."""
        self.times.append(time.monotonic())
        connection = server.transport.get_extra_info("ssl_object") if server.transport else None
        self.certificates.append(connection.getpeercert() if connection else None)
        self.attempts += 1
        answer = self.answer(self.attempts)
        if answer in {OK, CUT_OFF}:
            self.taken.append(envelope.original_content or b"")
        if answer == CUT_OFF:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        return answer or OK


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    server: Server, certificate: Path | None, key: Path | None = None, *, clients: Path | None = None
) -> Iterator[int]:
    """Serve on 127.0.0.1 and yield the port; with a certificate STARTTLS is required, without one there is none.

    With `clients` (a CA bundle) only clients with a certificate of theirs are served.
    """
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        if clients is not None:
            tls.load_verify_locations(clients)
            tls.verify_mode = ssl.CERT_REQUIRED
    listener = Controller(
        server,
        hostname="127.0.0.1",
        port=free_port(),
        server_hostname=names.AGENCY_HOST,
        tls_context=tls,
        require_starttls=tls is not None,
    )
    listener.start()
    try:
        yield listener.port
    finally:
        listener.stop()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Take connections and never say a word, as a server that hangs does; yield the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        taken: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in taken:
                connection.close()


def enter(gateway: Gateway, nexthop: str, *tls: str, flow: str = "AGS") -> str:
    """Enter a physical domain and a logical address of it in the directory, publish, and return the address.

    `tls` is what follows --tls-level: the level, and further options of `digipoort destination add`.
    """
    unique = f"loket{time.time_ns()}"
    domain, address = f"{unique}.{names.PHYSICAL_DOMAIN}", f"{unique}@overheid.digipoort.test"
    gateway.administer(
        ("destination", "add", domain, nexthop, "--tls-level", *tls),
        ("address", "add", address, "DOUANE", "--flow", flow, "--remote", f"fysiek@{domain}"),
        ("maps", "publish"),
    )
    # trivial-rewrite looks for changed tables every 10 s, and qmgr keeps its last answer for 30: mail would wait.
    gateway.postfix("postfix", "reload")
    return address


@contextlib.contextmanager
def agency(gateway: Gateway, server: Server) -> Iterator[str]:
    """Serve with the sandbox's certificate, verified as `secure`; yield the agency's new logical address."""
    with serving(server, gateway.layout.pki / "agency.pem", gateway.layout.pki / "agency.key") as port:
        yield enter(gateway, f"[127.0.0.1]:{port}", "secure", "--tls-match", names.AGENCY_HOST)
