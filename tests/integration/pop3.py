"""A party's POP3 session, and the mailbox behind it as an admin finds it on the disk."""

from __future__ import annotations

import contextlib
import os
import poplib
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Final

from tests.sandbox import layout as names
from tests.sandbox import stacks
from tests.sandbox.parties import TRADERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.gateway import Gateway

# Dovecot takes a client with the server's own address for one on the same host, and spares it TLS.
CLIENT_ADDRESS: Final = "127.0.0.2"
# Nobody sends to this party: what is in its mailbox, a test has put there.
READER: Final = next(trader for trader in TRADERS if trader.key == "POP3_ONLY")


class Session(poplib.POP3):
    """A session whose every line of answer is kept, for the search for disclosures."""

    def __init__(self, gateway: Gateway) -> None:
        """Connect, without TLS yet."""
        self._record = gateway.record
        super().__init__(gateway.env["GATEWAY_HOST"], int(gateway.env["POP3_PORT"]), timeout=60)

    def _create_socket(self, timeout: float) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout, source_address=(CLIENT_ADDRESS, 0))

    def _getline(self) -> tuple[bytes, int]:
        line, octets = super()._getline()  # type: ignore[misc]  # typeshed leaves it out
        self._record(line)
        return line, octets

    def command(self, line: str) -> str:
        """Send one command whose answer is one line, and return that, errors too."""
        try:
            return self._shortcmd(line).decode()  # type: ignore[attr-defined,no-any-return]  # likewise
        except poplib.error_proto as error:
            return bytes(error.args[0]).decode()

    def lines(self, line: str) -> list[str]:
        """Send one command whose answer has several lines, and return those after the first."""
        return [answer.decode() for answer in self._longcmd(line)[1]]  # type: ignore[attr-defined]

    def uidls(self) -> list[str]:
        """Return the unique-ids of all messages, in order."""
        return [line.decode().split()[1] for line in self.uidl()[1]]

    def message(self, number: int) -> bytes:
        """Return a message as it was sent, the stuffed dots undone."""
        return b"".join(line + b"\r\n" for line in self.retr(number)[1])


def encrypted(gateway: Gateway) -> Session:
    """Return a session after STLS."""
    session = Session(gateway)
    session.stls(ssl.create_default_context(cafile=gateway.env["CA_FILE"]))
    return session


def opened(gateway: Gateway, key: str = READER.key) -> Session:
    """Return a session in which the party has logged in. Raises poplib.error_proto."""
    session = encrypted(gateway)
    try:
        session.user(gateway.env[f"{key}_LOGIN"])
        session.pass_(gateway.env[f"{key}_PASSWORD"])
    except poplib.error_proto:
        session.close()
        raise
    return session


def uidls(gateway: Gateway) -> list[str]:
    """Return the unique-ids that the reader sees in a session of its own."""
    session = opened(gateway)
    found = session.uidls()
    session.quit()
    return found


def deliver(gateway: Gateway, *messages: bytes, mailbox: str = READER.mailbox, domain: str = "") -> None:
    """Give messages to Dovecot as Postfix does, by LMTP."""
    recipient = f"{mailbox}@{domain or names.MAILBOX_DOMAIN}"
    with smtplib.LMTP(str(gateway.layout.run / "lmtp.sock"), local_hostname=names.HOSTNAME, timeout=60) as session:
        for message in messages:
            session.sendmail("sender@overheid.digipoort.test", [recipient], message)


def samples(count: int) -> list[bytes]:
    """Return short messages, no two alike."""
    return [f"Subject: {number}\r\n\r\nAangifte {number}\r\n".encode() for number in range(count)]


def maildir(gateway: Gateway, mailbox: str = READER.mailbox) -> Path:
    """Return the folder of a mailbox."""
    return gateway.layout.mail / mailbox / "Maildir"


def clear(gateway: Gateway, mailbox: str = READER.mailbox) -> None:
    """Throw a mailbox away, as if nothing had ever been delivered to it."""
    shutil.rmtree(gateway.layout.mail / mailbox, ignore_errors=True)


def lose_indexes(folder: Path) -> None:
    """Remove all that Dovecot knows of a Maildir beside the messages."""
    for path in folder.glob("dovecot*"):
        path.unlink()


@contextlib.contextmanager
def filled(gateway: Gateway, octets: int, mailbox: str = READER.mailbox) -> Iterator[Path]:
    """Put a message of this size in a mailbox: Dovecot believes the size that the file's name tells."""
    folder = maildir(gateway, mailbox) / "cur"
    filler = folder / f"1.{time.time_ns()}.filler,S={octets},W={octets}:2,S"
    filler.touch(mode=0o600)
    os.chown(filler, names.MAIL_UID, names.MAIL_UID)
    try:
        _look(gateway, mailbox)
        yield filler
    finally:
        filler.unlink(missing_ok=True)
        _look(gateway, mailbox)


def _look(gateway: Gateway, mailbox: str) -> None:
    """Let Dovecot notice what has become of a mailbox: a delivery looks into the index only."""
    config, user = str(gateway.layout.dovecot / "dovecot.conf"), f"{mailbox}@{names.MAILBOX_DOMAIN}"
    words = ("-c", config, "mailbox", "status", "-u", user, "vsize", "INBOX")
    subprocess.run(stacks.current(gateway.layout).command("/usr/bin/doveadm", *words), check=True, capture_output=True)
