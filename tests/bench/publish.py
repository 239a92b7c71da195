"""A million addresses published: against psql and postmap of the same tables, and how soon one more is found."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, LiteralString

import click
import psycopg

from tests.bench import large_directory
from tests.bench.rounds import Side, compare
from tests.postgres import private_cluster
from tests.unit.directory_samples import SETTINGS, maps_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESSES: Final = 1_000_000
SINGLE_CHANGES: Final = 12
_ADD: Final[LiteralString] = """
INSERT INTO address (address, party_id, party_kind, target_id)
SELECT %(address)s, party_id, party_kind, id FROM target WHERE mailbox = 'm0000007'
"""
_PEERS: Final = {
    "virtual_alias": """COPY (SELECT address.address || ' ' || coalesce(target.mailbox || '@mailbox.invalid',
        target.local_part || '@' || destination.domain) FROM address JOIN target ON target.id = address.target_id
        LEFT JOIN destination ON destination.id = target.destination_id) TO STDOUT""",
    "mailbox": """COPY (SELECT mailbox || '@' || name || ' lmtp:unix:/run/digipoort/lmtp.sock' FROM target,
        unnest(ARRAY['mailbox.invalid', 'receipts.mailbox.invalid']) AS name WHERE kind = 'mailbox') TO STDOUT""",
}


def run(rounds: int) -> None:
    """Print the ratio of the rates (addresses per second), the memory, and the delay of single changes."""
    with private_cluster() as dsn, tempfile.TemporaryDirectory() as name:
        large_directory.build(dsn, ADDRESSES, connected=False)
        title = f"publish: {ADDRESSES} addresses and mailboxes against psql COPY and postmap, from nothing"
        folder = Path(name)
        compare(title, Side("publish", lambda: _publish(dsn, folder)), Side("psql", lambda: _peer(dsn, folder)), rounds)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        click.echo(f"  most memory of a child process: {peak:.0f} MB")
        _single_changes(dsn, folder)


@contextlib.contextmanager
def _fresh(folder: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """Yield the settings of a host that has published nothing, and its folder."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield {**os.environ, **SETTINGS, **maps_settings(Path(name))}, Path(name)


def _publish(dsn: str, folder: Path) -> float:
    with _fresh(folder) as (environment, _):
        begun = time.monotonic()
        _digipoort_publish(dsn, environment)
        return ADDRESSES / (time.monotonic() - begun)


def _digipoort_publish(dsn: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "digipoort.cli", "maps", "publish"]
    subprocess.run(command, env={**environment, "DIRECTORY_DSN": dsn}, check=True, stdout=subprocess.DEVNULL)


def _peer(dsn: str, folder: Path) -> float:
    with _fresh(folder) as (environment, host):
        begun = time.monotonic()
        for name, query in _PEERS.items():
            # Through a file: what postmap reads from its standard input is a transaction for each line.
            with (host / name).open("wb") as text:
                subprocess.run(["psql", "-qAt", "-d", dsn, "-c", query], stdout=text, check=True)
            config = environment["POSTFIX_CONFIG_DIRECTORY"]
            subprocess.run(["/usr/sbin/postmap", "-c", config, f"lmdb:{host / name}"], check=True)
        return ADDRESSES / (time.monotonic() - begun)


def _single_changes(dsn: str, folder: Path) -> None:
    """Print how long after a commit Postfix finds an address, with the daemon running, and the daemon's memory."""
    with _fresh(folder) as (environment, host):
        _digipoort_publish(dsn, environment)
        table = f"lmdb:{environment['MAPS_DIRECTORY']}/virtual_alias"
        query = ["/usr/sbin/postmap", "-c", environment["POSTFIX_CONFIG_DIRECTORY"], "-q"]
        command = [sys.executable, "-m", "digipoort_maps"]
        with (host / "log").open("w+b") as log:
            daemon = subprocess.Popen(command, env={**environment, "DIRECTORY_DSN": dsn}, stderr=log)
            try:
                with psycopg.connect(dsn, autocommit=True) as connection:
                    time.sleep(15)  # its first, whole check
                    delays = [_delay(connection, [*query], table, number) for number in range(SINGLE_CHANGES)]
                status = Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii")
            finally:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(60)
    memory = re.search(r"VmHWM:\s+(\d+)", status)
    shown = f"median {statistics.median(delays):.2f} s, longest {max(delays):.2f} s"
    click.echo(f"one more address: found {shown} after the commit")
    click.echo(f"  most memory of digipoort-maps: {int(memory[1]) / 1024 if memory else 0:.0f} MB")


def _delay(connection: psycopg.Connection[tuple[object, ...]], query: list[str], table: str, number: int) -> float:
    address = f"nieuw{number}@party.test"
    connection.execute(_ADD, {"address": address})
    committed = time.monotonic()
    while subprocess.run([*query, address, table], check=False, stdout=subprocess.DEVNULL).returncode != 0:
        if time.monotonic() - committed > 60:
            raise RuntimeError("the address was never published")
        time.sleep(0.02)
    delay = time.monotonic() - committed
    time.sleep(1.1)
    return delay
