#!/usr/bin/python3 -I
"""Tells a party that its mailbox is nearly full: a mail in it, once when a limit is crossed.

Dovecot's quota plugin runs this through its service `quota-warning`, as the mailboxes' user, when mail has crossed one
of the limits in dovecot.conf (it notices with the delivery after the one that did), and does not wait for it:

    quota-warning LMTP_SOCKET GATEWAY_NAME MAILBOX_DOMAIN MAIL_ROOT PERCENT MAILBOX

The mail goes into Dovecot's own LMTP socket, as a receipt does (the mailbox in the domain `receipts.MAILBOX_DOMAIN`):
that has room beyond the quota of other mail, and Postfix takes no mail from local programs. It is installed as one
file, hence nothing but the standard library.

Exit status: 0 when the mail is stored, or was within the last hour; 75 (EX_TEMPFAIL) with a line on standard error,
which Dovecot logs, when it could not be; 64 (EX_USAGE) for other arguments.
"""

from __future__ import annotations

import fcntl
import os
import re
import smtplib
import sys
import time
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from pathlib import Path
from typing import Final

LMTP_SECONDS: Final = 30.0
# Two deliveries at the same moment see one crossing both, and a mailbox that is kept near a limit crosses it all day.
QUIET_SECONDS: Final = 3600.0
_MAILBOX: Final = re.compile(r"[a-z0-9-]{4,32}")
_PERCENT: Final = re.compile(r"[1-9][0-9]?")
_ARGUMENTS: Final = 6

_TEXT: Final = """\
(English below)

Uw postbus bij {gateway} is voor meer dan {percent}% vol.

Haal de berichten op en verwijder ze uit de postbus. Is de postbus vol, dan
wachten nieuwe berichten. Wat na enkele dagen nog niet kon worden afgeleverd,
wordt aan de afzender teruggemeld en niet meer bezorgd.

Dit bericht is automatisch gemaakt; u kunt er niet op antwoorden.

----

Your mailbox at {gateway} is more than {percent}% full.

Collect the messages and delete them from the mailbox. When it is full, new
messages wait. What could still not be delivered after some days is reported
to its sender, and is delivered no more.

This message was made automatically; it cannot be answered.
"""


@dataclass(frozen=True, slots=True)
class Warned:
    """Who is told what: the gateway's name, how full in per cent, and the mailbox with its domain and folder."""

    gateway: str
    percent: str
    mailbox: str
    domain: str
    home: Path

    @property
    def recipient(self) -> str:
        """Where it is delivered: as a receipt is."""
        return f"{self.mailbox}@receipts.{self.domain}"


def compose(warned: Warned) -> EmailMessage:
    """Return the mail (RFC 5322, RFC 3834 section 5): from the gateway's postmaster, to nobody in particular."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = f"postmaster@{warned.gateway}"
    message["Subject"] = f"Postbus voor {warned.percent}% vol / Mailbox {warned.percent}% full"
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(domain=warned.gateway)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Digipoort-Warning"] = f"mailbox-filling; percent={warned.percent}"
    message.set_content(_TEXT.format(gateway=warned.gateway, percent=warned.percent), cte="7bit", charset="us-ascii")
    message["Content-Language"] = "nl, en"
    return message


def warn(warned: Warned, lmtp_socket: str) -> None:
    """Store the mail, unless that was done within the last hour. Raises OSError, smtplib.SMTPException is one."""
    mark = os.open(warned.home / f"quota-warning-{warned.percent}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(mark, "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        # Empty: none was stored yet.
        status = os.fstat(mark)
        if status.st_size and 0 <= time.time() - status.st_mtime < QUIET_SECONDS:
            return
        with smtplib.LMTP(lmtp_socket, local_hostname=warned.gateway, timeout=LMTP_SECONDS) as session:
            session.sendmail("", [warned.recipient], compose(warned).as_bytes())
        stream.seek(0)
        stream.write(b"stored\n")
        stream.flush()
        os.utime(mark)


def main(arguments: list[str]) -> int:
    """Warn as the arguments say; return the exit status."""
    if len(arguments) != _ARGUMENTS:
        print(f"quota-warning: {_ARGUMENTS} arguments are needed", file=sys.stderr)  # noqa: T201
        return os.EX_USAGE
    lmtp_socket, gateway, domain, root, percent, mailbox = arguments
    if not _PERCENT.fullmatch(percent) or not _MAILBOX.fullmatch(mailbox):
        print("quota-warning: the last two arguments are no percentage and mailbox", file=sys.stderr)  # noqa: T201
        return os.EX_USAGE
    try:
        warn(Warned(gateway, percent, mailbox, domain, Path(root, mailbox)), lmtp_socket)
    except OSError as error:
        print(f"quota-warning: {mailbox} at {percent}% was not told: {error}", file=sys.stderr)  # noqa: T201
        return os.EX_TEMPFAIL
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
