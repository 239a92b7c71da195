"""Builds a whole sandbox, in the order in which an admin would install a host, and takes it down again."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from psycopg import connect, sql

from tests import postgres
from tests.sandbox import daemons, parties, pki, render, stacks
from tests.sandbox import layout as names
from tests.sandbox.layout import POINTER, Layout

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

DATABASE: Final = "digipoort"
# Login roles of the sandbox and the migration's role that each is a member of.
LOGIN_ROLES: Final = {
    "policyd": "digipoort_read",
    "resubmission": "digipoort_resubmission",
    "authd": "digipoort_auth",
    "rehash": "digipoort_rehash",
    "publisher": "digipoort_read",
    "administrator": "digipoort_admin",
}


def build() -> Layout:
    """Make and start a sandbox and write `.instance/env`. When that fails, nothing is left behind."""
    layout = Layout.new()
    try:
        pki.issue(layout.pki)
        dsns = _directory(layout)
        render.copy_programs(layout)
        render.render(layout, dsns)
        passwords = parties.seed(layout, admin_environment(layout))
        _admin(layout, "maps", "publish")
        start(layout, [daemon.name for daemon in daemons.all_daemons(layout)])
        _write_env(layout, parties.environment(passwords) | {"DIRECTORY_DSN": dsns["owner"]})
    except BaseException:
        stop_all(layout)
        if os.environ.get("SANDBOX_KEEP") != "1":
            shutil.rmtree(layout.root)
        raise
    return layout


def _directory(layout: Layout) -> dict[str, str]:
    """Create the cluster, the database, its schema and one login role per program; return their conninfo."""
    password = secrets.token_urlsafe()
    postgres.create_cluster(layout.postgresql, password)
    log, cluster, *_ = daemons.all_daemons(layout)
    for daemon in (log, cluster):
        daemons.start(layout, daemon)
    superuser = postgres.conninfo(layout.postgresql, password=password)
    owner = postgres.conninfo(layout.postgresql, database=DATABASE, password=password)
    with connect(superuser, autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    _run_admin(["migrate"], {"DIRECTORY_DSN": owner, "DIRECTORY_WRITE_DSN": owner, "LOGICAL_DOMAINS": "unused.invalid"})
    passwords = {role: secrets.token_urlsafe() for role in LOGIN_ROLES}
    with connect(owner, autocommit=True) as session:
        for role, group in LOGIN_ROLES.items():
            session.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    sql.Identifier(role), sql.Literal(passwords[role]), sql.Identifier(group)
                )
            )
    logins = {
        role: postgres.conninfo(layout.postgresql, database=DATABASE, user=role, password=passwords[role])
        for role in LOGIN_ROLES
    }
    admin = {"admin": logins["publisher"], "write": logins["administrator"]}
    return {**logins, **admin, "milter": "dbname=unused", "sasl": "dbname=unused", "owner": owner}


def start(layout: Layout, wanted: Iterable[str]) -> None:
    """Start daemons by name and wait until each answers."""
    chosen = [daemon for daemon in daemons.all_daemons(layout) if daemon.name in set(wanted)]
    for daemon in chosen:
        daemons.start(layout, daemon)
    for daemon in chosen:
        daemons.wait_ready(layout, daemon)


def stop(layout: Layout, wanted: Iterable[str], number: signal.Signals | None = None) -> None:
    """Stop daemons by name."""
    for daemon in reversed(daemons.all_daemons(layout)):
        if daemon.name in set(wanted):
            daemons.stop(layout, daemon, number)


def switch(layout: Layout, name: str) -> None:
    """Let the sandbox run another Dovecot or Postfix, or another way to authd; what stays as it is keeps running."""
    before, after = stacks.current(layout), stacks.STACKS[name]
    changed = [
        daemon
        for daemon, same in (
            ("dovecot", (before.dovecot, before.passdb) == (after.dovecot, after.passdb)),
            ("postfix", before.postfix == after.postfix),
        )
        if not same
    ]
    stop(layout, changed)
    stacks.choose(layout, name)
    render.render_mail(layout)
    start(layout, changed)


def stop_all(layout: Layout) -> None:
    """Stop every daemon and whatever else still works below the sandbox's folder."""
    for daemon in reversed(daemons.all_daemons(layout)):
        daemons.stop(layout, daemon)
    daemons.sweep(layout)


def admin_environment(layout: Layout) -> dict[str, str]:
    """Return the environment in which the CLI administers this sandbox."""
    return {**os.environ, "DIGIPOORT_SETTINGS": str(layout.settings / "admin.env")}


def _admin(layout: Layout, *arguments: str) -> None:
    _run_admin(list(arguments), admin_environment(layout))


def _run_admin(arguments: list[str], environment: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "digipoort.cli", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"digipoort {' '.join(arguments)}: {result.stdout}{result.stderr}")


def _write_env(layout: Layout, values: dict[str, str]) -> None:
    POINTER.mkdir(mode=0o755)
    path = POINTER / "env"
    path.touch(mode=0o600)
    ports = layout.ports
    values |= {
        "GATEWAY_HOST": "127.0.0.1",
        "SUBMISSION_PORT": str(ports.submission),
        "SUBMISSIONS_PORT": str(ports.submissions),
        "POP3_PORT": str(ports.pop3),
        "POP3S_PORT": str(ports.pop3s),
        "CA_FILE": str(layout.pki / "ca.pem"),
        "CLIENT_CERTIFICATES": str(layout.pki),
        "MAIL_LOG": str(layout.mail_log),
        "AGENCY_MAILDIR": str(layout.agency),
        "PHYSICAL_DOMAIN": names.PHYSICAL_DOMAIN,
        "PIDS_DIR": str(layout.pids),
    }
    path.write_text("".join(f"{key}={value}\n" for key, value in sorted(values.items())), encoding="utf-8")
