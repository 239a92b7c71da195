"""A million addresses: `digipoort address import` against a plain COPY of the same rows into the same tables."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import psycopg

from digipoort.directory.migrate import migrate
from tests.bench.rounds import Side, compare
from tests.postgres import private_cluster
from tests.unit.directory_samples import SETTINGS, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESSES: Final = 1_000_000
PARTIES: Final = 1000
_ROWS_AT_A_TIME: Final = 10_000
_ADD_PARTIES: Final = """
INSERT INTO party (code, name, kind)
SELECT 'P' || to_char(number, 'FM0000'), 'Partij', 'private' FROM generate_series(0, %s - 1) AS number
"""


def run(rounds: int) -> None:
    """Print the ratio of the rates (rows per second), at most two rounds, and our memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "addresses.csv"
        _write(file)
        title = f"import: {ADDRESSES} addresses against COPY, constraints and triggers on"
        compare(title, Side("import", lambda: _import(file)), Side("COPY", _copy), min(rounds, 2))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    click.echo(f"  most memory of a child process: {peak:.0f} MB")


@contextlib.contextmanager
def _directory() -> Iterator[str]:
    """Yield a directory of its own with the parties: neither side pays for what the other left behind."""
    with private_cluster() as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            migrate(connection)
            fill(dsn)
            connection.execute(_ADD_PARTIES, [PARTIES])
        yield dsn


def _write(file: Path) -> None:
    with file.open("w", encoding="ascii") as stream:
        stream.write("address,party,mailbox,remote,flow\n")
        stream.writelines(f"adres{n:07}@party.test,P{n % PARTIES:04},m{n:07},,\n" for n in range(ADDRESSES))


def _import(file: Path) -> float:
    command = [sys.executable, "-m", "digipoort.cli", "address", "import", str(file)]
    with _directory() as dsn:
        environment = {**os.environ, **SETTINGS, "DIRECTORY_DSN": dsn, "DIRECTORY_WRITE_DSN": dsn}
        begun = time.monotonic()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return ADDRESSES / (time.monotonic() - begun)


def _copy() -> float:
    """Copy mailboxes and addresses, whose row ids are known beforehand, in one transaction."""
    with _directory() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        ids: dict[str, int] = dict(connection.execute("SELECT code, id FROM party").fetchall())
        parties = [ids[f"P{number:04}"] for number in range(PARTIES)]
        begun = time.monotonic()
        with connection.transaction(), connection.cursor() as cursor:
            rows = (f"mailbox\t{parties[n % PARTIES]}\tprivate\tm{n:07}\n" for n in range(ADDRESSES))
            with cursor.copy("COPY target (kind, party_id, party_kind, mailbox) FROM STDIN") as copy:
                for block in _blocks(rows):
                    copy.write(block)
            found = cursor.execute("SELECT id FROM target WHERE mailbox = 'm0000000'").fetchone()
            if found is None:
                raise RuntimeError("nothing was copied")
            rows = (
                f"adres{n:07}@party.test\t{parties[n % PARTIES]}\tprivate\t{found[0] + n}\n" for n in range(ADDRESSES)
            )
            with cursor.copy("COPY address (address, party_id, party_kind, target_id) FROM STDIN") as copy:
                for block in _blocks(rows):
                    copy.write(block)
        return ADDRESSES / (time.monotonic() - begun)


def _blocks(rows: Iterator[str]) -> Iterator[str]:
    """Yield many rows at a time: a call for each would be what is measured."""
    block: list[str] = []
    for row in rows:
        block.append(row)
        if len(block) == _ROWS_AT_A_TIME:
            yield "".join(block)
            block.clear()
    yield "".join(block)
