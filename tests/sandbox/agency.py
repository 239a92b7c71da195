"""The agency's mail server: STARTTLS is required, what it takes goes to a Maildir, one address is refused with 550.

It answers as verbosely as real servers do: its replies name the physical address, which may reach no submitter.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    from aiosmtpd.smtp import Envelope, Session

REFUSED_LOCAL_PART = "loket-99"
MAX_MESSAGE_OCTETS = 64 * 1024 * 1024


class Mailroom:
    """Handler of aiosmtpd: hooks named after SMTP commands."""

    def __init__(self, maildir: Path, hostname: str) -> None:
        """Make the Maildir."""
        self.maildir = maildir
        self.hostname = hostname
        self.count = 0
        for name in ("tmp", "new", "cur"):
            (maildir / name).mkdir(parents=True, exist_ok=True)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Refuse one address."""
        if address.startswith(f"{REFUSED_LOCAL_PART}@"):
            return f"550 5.1.1 <{address}>: no such user at {self.hostname}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        """Write the message as it came."""
        self.count += 1
        name = f"{time.time():.6f}.{os.getpid()}_{self.count}.{self.hostname}"
        content = envelope.original_content or b""
        path = self.maildir / "tmp" / name
        path.write_bytes(content)
        path.rename(self.maildir / "new" / name)
        return f"250 2.0.0 taken by {self.hostname} as {name}"


class Receiver(SMTP):
    """Takes lines of any length: what a lenient flow lets pass must arrive."""

    line_length_limit = MAX_MESSAGE_OCTETS


async def serve(port: int, maildir: Path, hostname: str, certificate: Path, key: Path) -> None:
    """Serve for ever on 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    handler = Mailroom(maildir, hostname)

    def session() -> Receiver:
        return Receiver(
            handler,
            hostname=hostname,
            tls_context=context,
            require_starttls=True,
            data_size_limit=MAX_MESSAGE_OCTETS,
            enable_SMTPUTF8=False,
        )

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])))
