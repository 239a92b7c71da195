"""A party's software, for a client guest: what it is told comes as JSON on standard input, what came of it goes out so.

Only the standard library: the guest is a bare Debian. It trusts the CA that it is given and nothing else.
"""

from __future__ import annotations

import imaplib
import json
import poplib
import smtplib
import ssl
import sys
import threading
import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 30.0
_PAUSE = 0.5


class Refused(Exception):  # noqa: N818 - an answer, no error of the program's
    """A reply that is not what was hoped for."""

    def __init__(self, code: int, text: bytes) -> None:
        """Keep the reply."""
        super().__init__(code, text.decode("utf-8", "replace"))
        self.code = code


class Uncertain(Exception):  # noqa: N818 - likewise
    """The connection ended after all was sent and before the answer came: the message may have been taken."""


def submit(told: dict[str, Any], host: str, message: bytes) -> str:
    """Hand in one message, over STARTTLS with a login or, without one, in the clear; return the reply to it.

    Raises Refused, Uncertain, or OSError and smtplib's errors when the server was not there.
    """
    with smtplib.SMTP(host, told.get("port", 587), timeout=_SECONDS) as session:
        session.ehlo()
        if told["login"]:
            session.starttls(context=_context(told))
            session.ehlo()
            session.login(told["login"], told["password"])
        _hoped(session.mail(told["sender"]), 250)
        for recipient in told["recipients"]:
            _hoped(session.rcpt(recipient), 250)
        _hoped(session.docmd("DATA"), 354)
        try:
            session.send(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            reply = session.getreply()
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise Uncertain from error
        if reply[0] == 421:
            raise Uncertain
        return _hoped(reply, 250)


def _hoped(reply: tuple[int, bytes], code: int) -> str:
    if reply[0] != code:
        raise Refused(*reply)
    return reply[1].decode("utf-8", "replace")


def collect(told: dict[str, Any], host: str) -> list[str]:
    """Fetch and delete all that is in the mailbox, over POP3S."""
    session = _mailbox(told, host)
    count, _ = session.stat()
    mails = [b"\r\n".join(session.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    if not told.get("keep"):
        for number in range(1, count + 1):
            session.dele(number)
    session.quit()
    return [mail.decode("latin-1") for mail in mails]


def uidls(told: dict[str, Any], host: str) -> list[str]:
    """Return the unique id of each message in the mailbox."""
    session = _mailbox(told, host)
    found = [line.split()[1].decode() for line in session.uidl()[1]]
    session.quit()
    return found


def _mailbox(told: dict[str, Any], host: str) -> poplib.POP3_SSL:
    session = poplib.POP3_SSL(host, 995, timeout=_SECONDS, context=_context(told))
    session.user(told["login"])
    session.pass_(told["password"])
    return session


def certificates(told: dict[str, Any], host: str) -> dict[str, str]:
    """Return the certificate that each port shows, in PEM."""
    found = {str(port): ssl.get_server_certificate((host, port), timeout=_SECONDS) for port in (465, 995)}
    with smtplib.SMTP(host, 587, timeout=_SECONDS) as session:
        session.starttls(context=_context(told))
        assert isinstance(session.sock, ssl.SSLSocket)
        found["587"] = ssl.DER_cert_to_PEM_cert(session.sock.getpeercert(binary_form=True) or b"")
    reader = poplib.POP3(host, 110, timeout=_SECONDS)
    reader.stls(context=_context(told))
    assert isinstance(reader.sock, ssl.SSLSocket)
    found["110"] = ssl.DER_cert_to_PEM_cert(reader.sock.getpeercert(binary_form=True) or b"")
    reader.quit()
    return found


def hold(told: dict[str, Any], host: str) -> int:
    """Keep one POP3 session in use until standard input ends, and return how often it answered.

    Says a line when the session is open.
    """
    session = _mailbox(told, host)
    print("open", flush=True)  # noqa: T201 - whoever waits for it
    ended = _end_of_input()
    answered = 0
    while not ended.wait(_PAUSE):
        session.noop()
        answered += 1
    session.quit()
    return answered


def read(told: dict[str, Any], host: str) -> dict[str, Any]:
    """Log in over IMAP again and again until standard input ends; return how often it went well, and the faults."""
    ended = _end_of_input()
    well, faults = 0, []
    while not ended.wait(_PAUSE):
        try:
            with imaplib.IMAP4(host, timeout=_SECONDS) as session:
                session.login(told["login"], told["password"])
                session.select(readonly=True)
        except (OSError, imaplib.IMAP4.error) as error:
            faults.append(repr(error))
        else:
            well += 1
    return {"well": well, "faults": faults}


def _end_of_input() -> threading.Event:
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended


def traffic(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Hand in messages at a steady pace, until standard input ends; each is tried, host after host, until it is taken.

    Returns what became of each: how often it was tried, and how often nobody knows whether it was taken.
    """
    ended = _end_of_input()
    done: list[dict[str, Any]] = []
    threads = [threading.Thread(target=_sender, args=(told, number, ended, done)) for number in range(told["senders"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def _sender(told: dict[str, Any], number: int, ended: threading.Event, done: list[dict[str, Any]]) -> None:
    hosts = told["hosts"]
    count = 0
    while not ended.is_set():
        began = time.time()
        count += 1
        identity = f"<{told['name']}.{number}.{count}.{time.time_ns()}@{told['sender'].partition('@')[2]}>"
        done.append(_one(told, hosts[(number + count) % len(hosts) :] + hosts, identity))
        ended.wait(max(0.0, told["every"] - (time.time() - began)))


def _one(told: dict[str, Any], hosts: list[str], identity: str) -> dict[str, Any]:
    message = _message(told, identity)
    record: dict[str, Any] = {"id": identity, "tries": 0, "uncertain": 0, "refused": [], "began": time.time()}
    until = time.monotonic() + told.get("patience", 120)
    while time.monotonic() < until:
        host = hosts[record["tries"] % len(hosts)]
        record["tries"] += 1
        try:
            submit(told, host, message)
        except Uncertain:
            record["uncertain"] += 1
        except Refused as refused:
            record["refused"].append(str(refused))
            if refused.code >= 500:
                break
        except (OSError, smtplib.SMTPException) as error:
            record["refused"].append(repr(error))
            if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500:
                break
        else:
            record["taken"] = host
            break
        time.sleep(_PAUSE)
    record["ended"] = time.time()
    return record


def _message(told: dict[str, Any], identity: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = told["sender"]
    message["To"] = ", ".join(told["recipients"])
    message["Date"] = formatdate()
    message["Message-ID"] = identity
    message["Subject"] = "Aangifte"
    message.set_content("Zie de aangifte.\r\n" * 20)
    return message.as_bytes()


def _context(told: dict[str, Any]) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=told["ca"])


def main() -> None:
    """Do what the first line of standard input tells, and answer with one line."""
    told = json.loads(sys.stdin.readline())
    do: dict[str, Callable[[], object]] = {
        "submit": lambda: submit(told, told["host"], told["message"].encode("latin-1")),
        "collect": lambda: collect(told, told["host"]),
        "uidls": lambda: uidls(told, told["host"]),
        "certificates": lambda: certificates(told, told["host"]),
        "hold": lambda: hold(told, told["host"]),
        "read": lambda: read(told, told["host"]),
        "traffic": lambda: traffic(told),
    }
    try:
        answer = do[told["action"]]()
    except (Refused, Uncertain, OSError, poplib.error_proto, smtplib.SMTPException) as error:
        print(json.dumps({"error": repr(error)}))  # noqa: T201 - its answer
    else:
        print(json.dumps({"answer": answer}))  # noqa: T201 - likewise


if __name__ == "__main__":
    main()
