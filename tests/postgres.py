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
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPERUSER: Final = "postgres"
_SYSTEM_USER: Final = "postgres"
_VERSIONS: Final = Path("/usr/lib/postgresql")
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
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory.chmod(0o755)
    (directory / "run").mkdir(mode=0o755)
    (directory / "postgres.log").touch(mode=0o644)
    password_file = directory / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n", encoding="utf-8")
    if os.geteuid() == 0:
        for path in (directory, directory / "run", directory / "postgres.log", password_file):
            shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)
    try:
        _run(
            "initdb", f"--pgdata={directory / 'data'}", f"--username={SUPERUSER}", f"--pwfile={password_file}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
    finally:
        password_file.unlink()
    lines = [f"{name} = {value}\n" for name, value in _SETTINGS.items()]
    lines.append(f"unix_socket_directories = '{directory / 'run'}'\n")
    with (directory / "data" / "postgresql.auto.conf").open("a", encoding="utf-8") as stream:
        stream.writelines(lines)


def start_cluster(directory: Path) -> None:
    """Start the cluster and wait until it takes connections. Raises subprocess.CalledProcessError when it does not."""
    log = directory / "postgres.log"
    _run("pg_ctl", "start", f"--pgdata={directory / 'data'}", f"--log={log}", "--wait", "--silent")


def stop_cluster(directory: Path) -> None:
    """Stop the cluster, cutting off its clients; a cluster that does not run is left alone."""
    if (directory / "data" / "postmaster.pid").exists():
        _run("pg_ctl", "stop", f"--pgdata={directory / 'data'}", "--mode=fast", "--wait", "--silent")


def conninfo(directory: Path, *, database: str = "postgres", user: str = SUPERUSER, password: str) -> str:
    """Return the libpq conninfo with which `user` reaches `database` of the cluster."""
    return make_conninfo(
        host=str(directory / "run"), dbname=database, user=user, password=password, connect_timeout="5"
    )


@contextlib.contextmanager
def private_cluster() -> Iterator[str]:
    """Yield the superuser's conninfo of a running cluster that is removed afterwards."""
    # Not the default temporary folder: a private or long one would be out of reach for PostgreSQL's uid or socket.
    directory = Path(tempfile.mkdtemp(prefix="digipoort-postgres-", dir="/var/tmp"))
    password = secrets.token_urlsafe(16)
    try:
        create_cluster(directory, password)
        start_cluster(directory)
        yield conninfo(directory, password=password)
    finally:
        stop_cluster(directory)
        shutil.rmtree(directory)


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
