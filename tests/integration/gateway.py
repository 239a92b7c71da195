"""The running sandbox as the tests see it: its parties' clients, its daemons, and a record of all that a party saw."""

from __future__ import annotations

import contextlib
import itertools
import re
import smtplib
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from tests.sandbox import clients, stacks
from tests.sandbox.clients import Account, Report
from tests.sandbox.gateway import admin_environment
from tests.sandbox.layout import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.sandbox.layout import Layout

T = TypeVar("T")
WAIT_SECONDS: Final = 30.0


class _RecordedSession(smtplib.SMTP):
    """A session whose every reply is kept, but for the words that the party itself typed."""

    def __init__(self, host: str, port: int, record: Callable[[bytes], None]) -> None:
        self._record = record
        self._typed: list[bytes] = []
        super().__init__(host, port, timeout=60)

    def putcmd(self, cmd: str, args: str = "") -> None:
        self._typed = re.findall(rb"<([^>]+)>", f"{cmd} {args}".encode())
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        shown = text
        for words in self._typed:
            shown = shown.replace(words, b"TYPED")
        self._record(shown)
        return code, text


@dataclass(frozen=True, slots=True)
class Gateway:
    """One sandbox. Everything that a party can see is kept under `seen`, for the search for disclosures."""

    env: Mapping[str, str]
    layout: Layout
    seen: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def account(self, name: str, address: str = "") -> Account:
        """Return one of the sandbox's accounts, e.g. TRADER."""
        return Account.of(self.env, name, address)

    def record(self, content: bytes) -> None:
        """Keep what a party saw."""
        (self.seen / f"{next(self.numbers):06}").write_bytes(content)

    def send(
        self,
        account: Account,
        recipients: list[str],
        message: bytes,
        *,
        notify: str = "",
        port: str = "",
        certificate: str = "",
    ) -> None:
        """Submit with msmtp; the gateway must say 250. `certificate` is a client's, by its name in the sandbox."""
        path = self.client_certificate(certificate) if certificate else None
        result = clients.send(self.env, account, recipients, message, notify=notify, port=port, certificate=path)
        self.record(result.stderr)
        assert result.returncode == 0, result.stderr.decode()

    def fetch(self, account: Account, *, port: str = "") -> list[bytes]:
        """Fetch and delete everything in a mailbox, with mpop."""
        mails = clients.fetch(self.env, account, port=port)
        for mail in mails:
            self.record(mail)
        return mails

    def receipts(self, account: Account, count: int, *, wait: float = WAIT_SECONDS) -> list[Report]:
        """Fetch until `count` receipts have come, and check that no further one comes before the queue is empty."""
        found: list[Report] = []
        deadline = time.monotonic() + wait
        while len(found) < count and time.monotonic() < deadline:
            found += [report for raw in self.fetch(account) if (report := clients.read_report(raw))]
            time.sleep(0.1)
        self.wait_for(self.queue_is_empty, "an empty queue", wait)
        found += [report for raw in self.fetch(account) if (report := clients.read_report(raw))]
        assert len(found) == count, [report.subject for report in found]
        return found

    def receipt(self, account: Account) -> Report:
        """Return the one receipt that must come."""
        return self.receipts(account, 1)[0]

    def agency_copy(self, mark: str) -> bytes:
        """Return the message with `mark` in it from the agency's Maildir."""
        return self.wait_for(lambda: next(iter(self.agency_copies(mark)), None), f"{mark} at the agency")

    def agency_copies(self, mark: str) -> list[bytes]:
        """Return every message with `mark` in it that the agency's server has."""
        paths = sorted(Path(self.env["AGENCY_MAILDIR"], "new").iterdir())
        return [copy for path in paths if mark.encode() in (copy := path.read_bytes())]

    def client_certificate(self, name: str) -> Path:
        """Return the file of a client certificate of the sandbox (pki.py), which has its key beside it."""
        return Path(self.env["CLIENT_CERTIFICATES"], f"client-{name}.pem")

    def client_context(self, certificate: str = "") -> ssl.SSLContext:
        """Return how a client does TLS: it checks the gateway's name, and may have a certificate of its own."""
        context = ssl.create_default_context(cafile=self.env["CA_FILE"])
        if certificate:
            path = self.client_certificate(certificate)
            context.load_cert_chain(path, path.with_suffix(".key"))
        return context

    def smtp(self, port: str = "", *, login: Account | None = None, certificate: str = "") -> smtplib.SMTP:
        """Return an SMTP session after STARTTLS (and AUTH), for dialogues that no stock client has."""
        context = self.client_context(certificate)
        session = _RecordedSession(self.env["GATEWAY_HOST"], int(port or self.env["SUBMISSION_PORT"]), self.record)
        try:
            session.starttls(context=context)
            session.ehlo("client.test")
            if login:
                session.login(login.login, login.password)
        except OSError:
            session.close()
            raise
        return session

    def command(self, session: smtplib.SMTP, line: str) -> str:
        """Send one command line and return the reply."""
        code, text = session.docmd(line)
        return f"{code} {text.decode(errors='replace')}"

    def log(self) -> str:
        """Return MAIL_LOG."""
        return Path(self.env["MAIL_LOG"]).read_text(encoding="utf-8", errors="replace")

    def digipoort(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the admin command against this sandbox."""
        return subprocess.run(
            [sys.executable, "-m", "digipoort.cli", *arguments],
            env=admin_environment(self.layout),
            capture_output=True,
            text=True,
            check=False,
        )

    def administer(self, *commands: tuple[str, ...]) -> None:
        """Run admin commands that must succeed."""
        for arguments in commands:
            done = self.digipoort(*arguments)
            assert done.returncode == 0, (arguments, done.stderr)

    def settle(self, *names: str) -> None:
        """Wait for an empty queue and empty these accounts' mailboxes, whatever an earlier test left."""
        self.wait_for(self.queue_is_empty, "an empty queue", 60)
        for name in names:
            self.fetch(self.account(name))

    def control(self, *arguments: str) -> None:
        """Stop or start single daemons: `stop --kill policyd`, `start policyd`."""
        subprocess.run([sys.executable, "-m", "tests.sandbox", *arguments], check=True, cwd=CHECKOUT)

    def postfix(self, program: str, *arguments: str) -> str:
        """Run one of Postfix's commands on the sandbox's instance."""
        command = stacks.current(self.layout).command(
            f"/usr/sbin/{program}", "-c", str(self.layout.postfix), *arguments
        )
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    @contextlib.contextmanager
    def postfix_settings(self, **settings: str) -> Iterator[None]:
        """Give Postfix other settings for a while: hours of waiting become seconds."""
        main = self.layout.postfix / "main.cf"
        before = main.read_text(encoding="utf-8")
        try:
            self.postfix("postconf", "-e", *(f"{name}={value}" for name, value in settings.items()))
            self.postfix("postfix", "reload")
            yield
        finally:
            main.write_text(before, encoding="utf-8")
            self.postfix("postfix", "reload")

    def queue_is_empty(self) -> bool:
        """Tell whether Postfix's queue is empty; looked at twice, for a listing misses what moves meanwhile."""
        return not any(self.postfix("postqueue", "-j").strip() for _ in range(2))

    def wait_for(self, look: Callable[[], T | None], what: str, wait: float = WAIT_SECONDS) -> T:
        """Return what `look` finds, as soon as it finds something true."""
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"not seen within {wait:g} s: {what}")
