"""Policy requests per second: against a bare psycopg loop with the same SQL, and of a large directory against a small.

Four of five requests are allowed, the rest are about an address that is not connected, or an unknown recipient; every
answer is compared with the one that is due. An agency's address is a hub: up to 100,000 traders are on its flow.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import random
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import psycopg
from psycopg.conninfo import make_conninfo

from digipoort import reasons
from digipoort.decision import Acceptance
from digipoort.directory import queries
from digipoort.reasons import Finding
from digipoort_policyd.protocol import format_reply
from tests.bench import clients, large_directory
from tests.bench.clients import SECONDS, WARM_UP
from tests.bench.rounds import Side, compare
from tests.bench.syslog_daemon import running_syslog, wait_for
from tests.postgres import private_cluster
from tests.unit.policyd_process import running_policyd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Cursor
    from psycopg.rows import TupleRow

CONNECTIONS: Final = (1, 8, 40)
SMALL, MIDDLE, LARGE = 1_000, 100_000, 1_000_000
QUESTIONS: Final = 20_000
TIMEZONE: Final = "Europe/Amsterdam"
# Enough for the large directory's indexes, as on a server that is meant for it.
SHARED_BUFFERS: Final = "512MB"


@dataclass(frozen=True, slots=True)
class Question:
    """One acceptance decision: what is asked, the reply that is due, and the due row's flow and validity."""

    sender: str
    recipient: str
    reply: bytes
    row: tuple[str | None, bool]

    def request(self) -> bytes:
        """Return what Postfix 3.7 asks, all of its attributes included."""
        return _REQUEST % (self.sender.encode("ascii"), self.recipient.encode("ascii"))

    @property
    def known(self) -> bool:
        """Tell whether the recipient exists."""
        return self.row[0] is not None

    @property
    def allowed(self) -> bool:
        """Tell whether the message may pass."""
        return self.row[1]


_REQUEST: Final = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=127.0.0.1\n"
    b"client_name=localhost\nclient_port=40112\nreverse_client_name=localhost\nserver_address=127.0.0.1\n"
    b"server_port=10025\nhelo_name=gateway.test\nsender=%b\nrecipient=%b\nrecipient_count=0\nqueue_id=\n"
    b"instance=1a2b.65a1b2c3.d4e5f.0\nsize=5000\netrn_domain=\nstress=\nsasl_method=\nsasl_username=\nsasl_sender=\n"
    b"ccert_subject=gateway\nccert_issuer=gateway\nccert_fingerprint=\nccert_pubkey_fingerprint=\n"
    b"encryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\n"
    b"policy_context=acceptance\n\n"
)


def questions(count: int) -> list[Question]:
    """Return QUESTIONS questions about a directory of `count` addresses: the same ones in every run."""
    choice = random.Random(count)  # noqa: S311 - no secret
    return [_question(choice, count) for _ in range(QUESTIONS)]


def _question(choice: random.Random, count: int) -> Question:
    number = choice.randrange(count // 10) * 10
    sender, kind = large_directory.private_address(number), choice.randrange(10)
    flow = large_directory.hub_of(number).partition("@")[0].upper()
    if kind == 0:
        reply = format_reply(Finding(reasons.NO_SUCH_RECIPIENT))
        return Question(sender, f"onbekend{number}@gov.test", reply, (None, False))
    if kind == 1:
        reply = format_reply(Finding(reasons.NOT_CONNECTED, {"flow": flow}))
        return Question(sender, large_directory.hub_of(number), reply, (flow, False))
    connected = large_directory.private_address(number + choice.randrange(1, 10))
    return Question(connected, large_directory.hub_of(number), format_reply(None), (flow, True))


def run(rounds: int) -> None:
    """Print the ratios at each number of connections, and that of the large directory to the small one."""
    with private_cluster(shared_buffers=SHARED_BUFFERS) as superuser:
        dsns = {count: _directory(superuser, count) for count in (SMALL, MIDDLE, LARGE)}
        asked = {count: questions(count) for count in dsns}
        with contextlib.ExitStack() as stack:
            sockets = {count: stack.enter_context(policyd(dsn)) for count, dsn in dsns.items()}
            bare = Side("bare psycopg", lambda: _bare_rate(dsns[MIDDLE], asked[MIDDLE]))
            for connections in CONNECTIONS:
                title = f"policy requests, {MIDDLE} addresses: {connections} connections against one bare psycopg loop"
                ours = _side(f"policyd x{connections}", sockets[MIDDLE], asked[MIDDLE], connections)
                compare(title, ours, bare, rounds)
            large, small = (_side(f"{count} addresses", sockets[count], asked[count], 8) for count in (LARGE, SMALL))
            compare("policy requests at 8 connections: a large directory against a small one", large, small, rounds)


def _directory(superuser: str, count: int) -> str:
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE directory{count}")
    dsn = make_conninfo(superuser, dbname=f"directory{count}")
    begun = time.monotonic()
    large_directory.build(dsn, count, connected=True)
    click.echo(f"filled a directory of {count} addresses in {time.monotonic() - begun:.0f} s")
    return dsn


def _side(name: str, path: Path, asked: Sequence[Question], connections: int) -> Side:
    return Side(name, lambda: _daemon_rate(path, asked, connections))


@contextlib.contextmanager
def policyd(dsn: str) -> Iterator[Path]:
    """Run the policy daemon on a directory, its log lines going to a file, and yield its socket."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        # As on a host: Postfix reaches the socket as a member of its group.
        folder.chmod(0o755)
        syslog = stack.enter_context(running_syslog(folder))
        settings = {"DIRECTORY_DSN": dsn, "DIRECTORY_WRITE_DSN": dsn, "SYSLOG_SOCKET": str(syslog)}
        stack.enter_context(running_policyd(folder, "postfix", **settings))
        wait_for(folder / "policyd.sock")
        yield folder / "policyd.sock"


def _daemon_rate(path: Path, asked: Sequence[Question], connections: int) -> float:
    """Return the requests per second that a number of clients are answered."""
    with contextlib.ExitStack() as stack:
        connected = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(connections)]
        for client in connected:
            client.connect(str(path))
        requests = itertools.cycle([(question.request(), question.reply) for question in asked])
        return clients.rate(connected, requests, lambda reply: reply.endswith(b"\n\n"), operator.eq)


def _bare_rate(dsn: str, asked: Sequence[Question]) -> float:
    """Return the rate of one connection that runs the same statement, autocommit and prepared, and nothing else."""
    keyed = itertools.cycle([(_parameters(question), question.row) for question in asked])
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.cursor()
        for _ in range(WARM_UP):
            _ask(cursor, *next(keyed))
        count, begun = 0, time.monotonic()
        while time.monotonic() - begun < SECONDS:
            _ask(cursor, *next(keyed))
            count += 1
        return count / (time.monotonic() - begun)


def _parameters(question: Question) -> dict[str, object]:
    asked = Acceptance(question.sender.encode("ascii"), question.recipient.encode("ascii"), 5000)
    return asked.parameters(TIMEZONE)


def _ask(cursor: Cursor[TupleRow], parameters: dict[str, object], due: tuple[str | None, bool]) -> None:
    row = cursor.execute(queries.ACCEPTANCE, parameters).fetchone()
    if row is None or (row[2], row[5]) != due:
        raise RuntimeError(f"wrong answer: {row!r} instead of {due!r}")
