"""A private PostgreSQL cluster for tests and the sandbox: UNIX socket only, passwords required, the host untouched.

Layout under the cluster's directory: `data/` (PGDATA), `run/` (the socket), `postgres.log`. Other uids connect to the
socket, so the directory is traversable for all; SCRAM passwords decide who gets in. It does not sync to disk, to be
fast: what it holds does not survive a power failure.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SUPERUSER: Final = "postgres"
# Not the default temporary folder: a private or long one would be out of reach for PostgreSQL's uid or socket.
_DISK: Final = Path("/var/tmp")  # noqa: S108 - the folders in it have random names
_MEMORY: Final = Path("/dev/shm")  # noqa: S108
_ROOM: Final = 4 * 1024**3
_SYSTEM_USER: Final = "postgres"
_VERSIONS: Final = Path("/usr/lib/postgresql")
_REPLAY_SECONDS: Final = 20.0
_SETTINGS: Final = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0777",
    "max_connections": "60",
    "shared_buffers": "'32MB'",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


def create_cluster(directory: Path, password: str) -> None:
    """Initialise a cluster in `directory` (absolute, made if absent) whose superuser `postgres` has `password`.

    Raises subprocess.CalledProcessError with initdb's output in its `output`.
    """
    _lay_out(directory)
    password_file = directory / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n", encoding="utf-8")
    _give(password_file)
    try:
        _run(
            "initdb", f"--pgdata={directory / 'data'}", f"--username={SUPERUSER}", f"--pwfile={password_file}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
    finally:
        password_file.unlink()
    _configure(directory, _SETTINGS)


def create_standby(directory: Path, primary: str) -> None:
    """Make `directory` (as for create_cluster) a streaming standby of the running server that `primary` reaches.

    `primary` is its superuser's conninfo, whose password the standby has too. Raises subprocess.CalledProcessError.
    """
    _lay_out(directory)
    # initdb's pg_hba.conf lets the superuser replicate, and PostgreSQL's defaults let a standby follow and be read.
    _run(
        "pg_basebackup", f"--dbname={primary}", f"--pgdata={directory / 'data'}", "--write-recovery-conf",
        "--checkpoint=fast", "--no-sync", "--no-password",
    )  # fmt: skip
    _configure(directory, {"wal_retrieve_retry_interval": "'200ms'"})


def start_cluster(directory: Path) -> None:
    """Start the cluster and wait until it takes connections. Raises subprocess.CalledProcessError when it does not."""
    log = directory / "postgres.log"
    _run("pg_ctl", "start", f"--pgdata={directory / 'data'}", f"--log={log}", "--wait", "--silent")


def stop_cluster(directory: Path, mode: str = "fast") -> None:
    """Stop the cluster, cutting off its clients; a cluster that does not run is left alone.

    `mode` is one of pg_ctl's: `immediate` is a crash, without a last word to clients and standbys.
    """
    if (directory / "data" / "postmaster.pid").exists():
        _run("pg_ctl", "stop", f"--pgdata={directory / 'data'}", f"--mode={mode}", "--wait", "--silent")


def promote(directory: Path) -> None:
    """Make a standby a primary, and wait until it is one. Raises subprocess.CalledProcessError."""
    _run("pg_ctl", "promote", f"--pgdata={directory / 'data'}", "--wait", "--silent")


@contextlib.contextmanager
def frozen(directory: Path) -> Iterator[None]:
    """Stop all processes of a running cluster where they are: it neither answers nor refuses, until the block ends."""
    postmaster = int((directory / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
    stopped: list[int] = []
    try:
        # The postmaster first, so that it starts no others meanwhile.
        _stop(postmaster, stopped)
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split():
            _stop(int(child), stopped)
        yield
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def conninfo(*directories: Path, database: str = "postgres", user: str = SUPERUSER, password: str) -> str:
    """Return the libpq conninfo with which `user` reaches `database` of the first of the clusters that answers."""
    hosts = ",".join(str(directory / "run") for directory in directories)
    return make_conninfo(host=hosts, dbname=database, user=user, password=password, connect_timeout="5")


def _folder() -> Path:
    """Return where clusters are made: in memory if there is room, for a database is hundreds of new files."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return _DISK


@contextlib.contextmanager
def private_cluster(**settings: str) -> Iterator[str]:
    """Yield the superuser's conninfo of a running cluster, with settings of its own, that is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="digipoort-postgres-", dir=_folder()))
    password = secrets.token_urlsafe(16)
    try:
        create_cluster(directory, password)
        _configure(directory, settings)
        start_cluster(directory)
        yield conninfo(directory, password=password)
    finally:
        stop_cluster(directory)
        shutil.rmtree(directory)


@dataclass(frozen=True, slots=True)
class Pair:
    """A running primary and its standby, each a cluster in a directory of its own."""

    primary: Path
    standby: Path
    password: str

    def dsn(self, *clusters: Path, database: str = "postgres") -> str:
        """Return the superuser's conninfo of a database, on the first of these clusters that answers."""
        return conninfo(*clusters, database=database, password=self.password)

    def replay(self) -> None:
        """Wait until the standby shows all that is committed on the primary now."""
        with (
            psycopg.connect(self.dsn(self.primary), autocommit=True) as primary,
            psycopg.connect(self.dsn(self.standby), autocommit=True) as standby,
        ):
            row = primary.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
            assert row is not None
            until = time.monotonic() + _REPLAY_SECONDS
            while standby.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() != (True,):
                assert time.monotonic() < until, "the standby does not follow"
                time.sleep(0.01)


@contextlib.contextmanager
def private_pair() -> Iterator[Pair]:
    """Yield a primary with a streaming standby, both removed afterwards, whatever became of them."""
    folder = Path(tempfile.mkdtemp(prefix="digipoort-pair-", dir=_folder()))
    folder.chmod(0o755)
    pair = Pair(folder / "one", folder / "two", secrets.token_urlsafe(16))
    try:
        create_cluster(pair.primary, pair.password)
        # Else a standby learns of a commit only when the WAL writer wakes up.
        _configure(pair.primary, {"synchronous_commit": "local"})
        start_cluster(pair.primary)
        create_standby(pair.standby, pair.dsn(pair.primary))
        start_cluster(pair.standby)
        yield pair
    finally:
        for directory in (pair.standby, pair.primary):
            stop_cluster(directory, "immediate")
        shutil.rmtree(folder)


def _lay_out(directory: Path) -> None:
    """Make the folders and the log of a cluster that is to be created."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory.chmod(0o755)
    (directory / "run").mkdir(mode=0o755)
    (directory / "postgres.log").touch(mode=0o644)
    for path in (directory, directory / "run", directory / "postgres.log"):
        _give(path)


def _give(path: Path) -> None:
    """Make a path PostgreSQL's own where we are root."""
    if os.geteuid() == 0:
        shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)


def _configure(directory: Path, settings: Mapping[str, str]) -> None:
    """Add settings, which go before those that the cluster has, and its socket's folder."""
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    lines.append(f"unix_socket_directories = '{directory / 'run'}'\n")
    with (directory / "data" / "postgresql.auto.conf").open("a", encoding="utf-8") as stream:
        stream.writelines(lines)


def _stop(pid: int, stopped: list[int]) -> None:
    """Stop a process, and note that it is."""
    os.kill(pid, signal.SIGSTOP)
    stopped.append(pid)


def _run(program: str, *arguments: str) -> None:
    """Run a PostgreSQL program, as its own system user when we are root: it refuses to run as root."""
    command = [str(_programs() / program), *arguments]
    if os.geteuid() == 0:
        command = ["/usr/bin/setpriv", f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--init-groups", *command]
    # A pipe would stay open in the postmaster that pg_ctl leaves behind, hence a file.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        result = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/"
        )
        output.seek(0)
        if result.returncode != 0:
            raise subprocess.CalledProcessError(result.returncode, command, output.read())


def _programs() -> Path:
    """Return the folder of the newest PostgreSQL that is installed (Debian keeps each version in its own)."""
    versions = [path.parent.parent for path in _VERSIONS.glob("*/bin/postgres")]
    if not versions:
        raise FileNotFoundError(f"no PostgreSQL server under {_VERSIONS}")
    return max(versions, key=lambda path: int(path.name)) / "bin"
