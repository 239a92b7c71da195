"""POP3 logins per second against Dovecot's own SQL passdb: a second instance, same mailboxes, same hashes."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final

from psycopg.conninfo import conninfo_to_dict

from tests.bench.rounds import Side, compare
from tests.sandbox import gateway
from tests.sandbox import layout as names
from tests.sandbox.layout import Ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.layout import Layout

SECONDS: Final = 6.0
START_SECONDS: Final = 20.0
CLIENTS: Final = 8

SQL_PASSDB: Final = """
passdb {{
  driver = sql
  args = {config}
}}
userdb {{
  driver = prefetch
}}
"""
# Dovecot's own query answers the same question: password, services, mailbox.
SQL_CONFIG: Final = """
driver = pgsql
connect = host={host} dbname={dbname} user={user} password={password}
default_pass_scheme = ARGON2ID
password_query = SELECT c.login AS user, '{{ARGON2ID}}' || c.password_hash AS password, \\
  '{mail}/' || t.mailbox AS userdb_home, {uid} AS userdb_uid, {uid} AS userdb_gid \\
  FROM credential c JOIN party p ON p.id = c.party_id JOIN target t ON t.id = c.mailbox_id \\
  WHERE c.login = '%u' AND c.active AND p.active AND 'pop3' = ANY (c.services)
"""


def _peer_instance(env: Mapping[str, str], layout: Layout) -> tuple[subprocess.Popen[bytes], int]:
    """Start Dovecot with the sandbox's configuration, but its own SQL passdb, on other ports."""
    folder = layout.root / "bench-dovecot"
    folder.mkdir(exist_ok=True)
    ports = Ports.free()
    dsn = conninfo_to_dict(env["DIRECTORY_DSN"])
    sql = folder / "sql.conf.ext"
    sql.touch(mode=0o600)
    sql.write_text(SQL_CONFIG.format(**dsn, mail=layout.mail, uid=names.MAIL_UID), encoding="utf-8")
    text = (layout.dovecot / "dovecot.conf").read_text(encoding="utf-8")
    before, _, rest = text.partition("passdb {")
    after = rest.partition("userdb {")[2].partition("}\n")[2]
    text = before + SQL_PASSDB.format(config=sql) + after
    text = text.replace(str(layout.dovecot / "run"), str(folder / "run")).replace(str(layout.run), str(folder))
    text = text.replace(f"port = {layout.ports.pop3}\n", f"port = {ports.pop3}\n")
    text = text.replace(f"port = {layout.ports.pop3s}\n", f"port = {ports.pop3s}\n")
    config = folder / "dovecot.conf"
    config.write_text(text, encoding="utf-8")
    return subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(config)], cwd=folder), ports.pop3


def _login(port: int, user: str, password: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as session, session.makefile("rwb") as lines:
        lines.readline()
        for command in (f"USER {user}", f"PASS {password}", "QUIT"):
            lines.write(command.encode() + b"\r\n")
            lines.flush()
            if not (answer := lines.readline()).startswith(b"+OK"):
                raise RuntimeError(f"{command.split()[0]}: {answer!r}")


def _rate(port: int, env: Mapping[str, str]) -> float:
    counts = [0] * CLIENTS
    stop_at = time.monotonic() + SECONDS

    def run(index: int) -> None:
        while time.monotonic() < stop_at:
            _login(port, env["TRADER2_LOGIN"], env["TRADER2_PASSWORD"])
            counts[index] += 1

    threads = [threading.Thread(target=run, args=(index,)) for index in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(env: Mapping[str, str], layout: Layout, rounds: int) -> None:
    """Measure 8 clients that connect, USER, PASS, QUIT, with the password hash that the gateway uses."""
    peer, port = _peer_instance(env, layout)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if time.monotonic() > deadline:
                raise RuntimeError("the peer's Dovecot did not start")
            time.sleep(0.05)
        for stack in ("2.3-checkpassword", "2.3-lua"):
            gateway.switch(layout, stack)
            compare(
                f"POP3 logins, {CLIENTS} clients, argon2id, {stack}, against Dovecot's SQL passdb",
                Side(f"{stack} + authd", lambda: _rate(layout.ports.pop3, env)),
                Side("Dovecot SQL", lambda: _rate(port, env)),
                rounds,
            )
    finally:
        peer.terminate()
        peer.wait()
