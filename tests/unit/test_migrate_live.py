"""`digipoort migrate` under a policy daemon at work: no answer is wrong meanwhile, and all are right afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from digipoort.directory.migrate import migrate, packaged_migrations
from tests.unit.directory_samples import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENTS: Final = Path(__file__).parents[1] / "releases" / "contents.sql"
CLIENTS: Final = 4
REQUEST: Final = (
    "request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=acceptance\nsender={}\nrecipient=ags@gov.test\n\n"
)
# The start of the right answer by sender.
ANSWERS: Final = {
    "bloemen@party.test": b"action=DUNNO",
    "nobody@party.test": b"action=550 5.7.1 DGP-2006 ",
}
TEMPORARY: Final = b"action=451 "


@pytest.fixture
def old_directory(empty_database: str) -> str:
    """Return the owner's conninfo of a filled directory with the oldest schema that the policy daemon can work with."""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        migrate(connection, packaged_migrations()[:2])
        connection.execute(CONTENTS.read_bytes())
    return empty_database


@pytest.fixture
def reader_dsn(old_directory: str) -> Iterator[str]:
    """Yield the conninfo of the policy daemon's login role."""
    name, password = f"policyd_{secrets.token_hex(4)}", secrets.token_urlsafe()
    with psycopg.connect(old_directory, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE digipoort_read").format(
                sql.Identifier(name), sql.Literal(password)
            )
        )
        yield make_conninfo(old_directory, user=name, password=password)
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def policyd(reader_dsn: str, tmp_path: Path) -> Iterator[Path]:
    """Run the policy daemon and yield its socket."""
    path = tmp_path / "policyd.sock"
    environment = os.environ | {
        **SETTINGS,
        "DIRECTORY_DSN": reader_dsn,
        "DIRECTORY_WRITE_DSN": reader_dsn,
        "POLICYD_SOCKET": str(path),
        "RESUBMISSION_SOCKET": str(tmp_path / "resubmission.sock"),
    }
    command = [sys.executable, "-m", "digipoort_policyd"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as daemon:
        try:
            until = time.monotonic() + 20
            while not path.exists():
                assert time.monotonic() < until
                time.sleep(0.02)
            yield path
        finally:
            daemon.terminate()


def ask(client: socket.socket, sender: str) -> bytes:
    client.sendall(REQUEST.format(sender).encode())
    reply = b""
    while not reply.endswith(b"\n\n"):
        received = client.recv(4096)
        assert received, "the daemon ended the connection"
        reply += received
    return reply


def ask_on(path: Path, stop: threading.Event) -> list[tuple[str, bytes]]:
    """Ask on one connection until `stop`; return each sender and the answer to it."""
    answered = []
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(20)
        client.connect(str(path))
        while not stop.is_set():
            answered += [(sender, ask(client, sender)) for sender in ANSWERS]
    return answered


def run_migrate(dsn: str) -> str:
    environment = os.environ | SETTINGS | {"DIRECTORY_DSN": dsn, "DIRECTORY_WRITE_DSN": dsn}
    command = [sys.executable, "-m", "digipoort.cli", "migrate"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_no_answer_is_wrong_while_the_directory_is_migrated(old_directory: str, policyd: Path) -> None:
    stop = threading.Event()
    with psycopg.connect(old_directory) as reader, ThreadPoolExecutor(CLIENTS) as pool:
        # A transaction that is open for long, so that the migration has to wait, and requests behind it.
        reader.execute("SELECT FROM flow")
        release = threading.Timer(1.5, reader.rollback)
        release.start()
        asking = [pool.submit(ask_on, policyd, stop) for _ in range(CLIENTS)]
        try:
            applied = run_migrate(old_directory)
            time.sleep(0.3)
        finally:
            stop.set()
            release.join()
        answered = [client.result() for client in asking]
    assert applied.startswith("applied 0003_resubmission\n")
    for answers in answered:
        wrong = [(sender, reply) for sender, reply in answers if not reply.startswith((ANSWERS[sender], TEMPORARY))]
        assert wrong == []
        assert len(answers) > 10
        assert all(reply.startswith(ANSWERS[sender]) for sender, reply in answers[:2] + answers[-2:])
