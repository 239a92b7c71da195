"""POP3 logins against Dovecot's own SQL passdb, by each of the two ways to authd; and 200 logins at the same moment.

Three Dovecot instances with the same configuration but for the passdb, on the same mailboxes and the same hashes. The
rates are of a hash that costs little, so that it is the way to it that is measured.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict

from digipoort.passwords import hash_password
from tests.bench.processors import CLIENT, Account
from tests.bench.rounds import Side, compare
from tests.sandbox import layout as names
from tests.sandbox.layout import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.sandbox.layout import Layout

SECONDS: Final = 6.0
START_SECONDS: Final = 20.0
CLIENTS: Final = (1, 8)
AT_ONCE: Final = 200
MEMORY_LIMIT: Final = 150 * 1000 * 1000
# Of the password PASSWORD, by crypt(3): SHA512-CRYPT with its fewest rounds, 1,000.
CHEAP_HASH: Final = (
    "$6$rounds=1000$benchsalt$Ag51.2IjM3M9BBsgOIUgXkz3RVF95lyarrEl0vJ2UHx/aHq/iQVYIMEbShabdY5ytvLR9GMacafg75ap8NmsX0"
)
PASSWORD: Final = "benchmark"  # noqa: S105 - of a sandbox that exists for minutes

SQL_PASSDB: Final = """
passdb {{
  driver = sql
  args = {config}
}}
"""
LUA_PASSDB: Final = """
passdb {{
  driver = lua
  args = file={settings} blocking=yes
}}
service auth-worker {{
  user = dovecot
  extra_groups = dovecot
}}
"""
# Dovecot's own query answers the same question: password, services, party, period, networks, mailbox.
SQL_CONFIG: Final = """
driver = pgsql
connect = host={host} dbname={dbname} user={user} password={password}
default_pass_scheme = CRYPT
password_query = SELECT c.login AS user, c.password_hash AS password, \\
  '{mail}/' || t.mailbox AS userdb_home, {uid} AS userdb_uid, {uid} AS userdb_gid \\
  FROM credential c JOIN party p ON p.id = c.party_id JOIN target t ON t.id = c.mailbox_id \\
  WHERE c.login = '%u' AND c.active AND p.active AND 'pop3' = ANY (c.services) \\
  AND coalesce((now() AT TIME ZONE 'Europe/Amsterdam')::date >= c.valid_from, true) \\
  AND coalesce((now() AT TIME ZONE 'Europe/Amsterdam')::date <= c.valid_until, true) \\
  AND (cardinality(c.networks) = 0 OR inet '%r' <<= ANY (c.networks))
"""
# What costs the same whoever judges the password. The master has the time of the sessions that ended.
COMMON: Final = frozenset({CLIENT, "anvil", "config", "dovecot", "log", "pop3", "pop3-login", "stats"})
_PASSDB: Final = re.compile(r"passdb \{.*?\n\}\n", re.DOTALL)
# Between connections the processes are kept, as where many log in.
_LOGIN_SERVICE: Final = "service pop3-login {\n"


@dataclass(frozen=True, slots=True)
class Peer:
    """A Dovecot of the benchmark's own."""

    name: str
    port: int


@contextlib.contextmanager
def _instance(layout: Layout, name: str, passdb: str) -> Iterator[Peer]:
    """Run Dovecot with the sandbox's configuration, but another passdb and other ports."""
    folder = layout.root / f"bench-{name}"
    folder.mkdir(exist_ok=True)
    ports = Ports.free()
    text = (layout.dovecot / "dovecot.conf").read_text(encoding="utf-8")
    text = _PASSDB.sub(lambda _: passdb, text, count=1) if passdb else text
    text = text.replace(str(layout.dovecot / "run"), str(folder / "run")).replace(f"{layout.run}/", f"{folder}/")
    text = text.replace(f"port = {layout.ports.pop3}\n", f"port = {ports.pop3}\n")
    text = text.replace(f"port = {layout.ports.pop3s}\n", f"port = {ports.pop3s}\n")
    text = text.replace(_LOGIN_SERVICE, f"{_LOGIN_SERVICE}  service_count = 0\n")
    config = folder / "dovecot.conf"
    config.write_text(text, encoding="utf-8")
    # In a session of its own, as on a host: the kernel shares the processors out by sessions (sched(7), autogroup).
    process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(config)], cwd=folder, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(ports.pop3):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Dovecot {name} did not start")
            time.sleep(0.05)
        yield Peer(name, ports.pop3)
    finally:
        process.terminate()
        process.wait()


def _sql_passdb(env: Mapping[str, str], layout: Layout) -> str:
    dsn = conninfo_to_dict(env["DIRECTORY_DSN"])
    config = layout.root / "bench-sql.conf.ext"
    config.touch(mode=0o600)
    config.write_text(SQL_CONFIG.format(**dsn, mail=layout.mail, uid=names.MAIL_UID), encoding="utf-8")
    return SQL_PASSDB.format(config=config)


def _login(port: int, user: str, password: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as session, session.makefile("rwb") as lines:
        lines.readline()
        for command in (f"USER {user}", f"PASS {password}", "QUIT"):
            lines.write(command.encode() + b"\r\n")
            lines.flush()
            if not (answer := lines.readline()).startswith(b"+OK"):
                raise RuntimeError(f"{command.split()[0]}: {answer!r}")


def _rate(port: int, login: str, clients: int) -> float:
    counts = [0] * clients
    stop_at = time.monotonic() + SECONDS

    def run(index: int) -> None:
        while time.monotonic() < stop_at:
            _login(port, login, PASSWORD)
            counts[index] += 1

    threads = [threading.Thread(target=run, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not all(counts):
        raise RuntimeError("a client was refused")
    return sum(counts) / SECONDS


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _give_hash(env: Mapping[str, str], encoded: str) -> None:
    with psycopg.connect(env["DIRECTORY_DSN"], autocommit=True) as owner:
        owner.execute("UPDATE credential SET password_hash = %s WHERE login = %s", [encoded, env["TRADER2_LOGIN"]])


@contextlib.contextmanager
def _without_rehash(layout: Layout) -> Iterator[None]:
    """Let authd leave the cheap hash as it is."""
    settings = layout.settings / "authd.env"
    before = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"^REHASH_DSN=.*\n", "", before, flags=re.MULTILINE), encoding="utf-8")
    _restart_authd()
    try:
        yield
    finally:
        settings.write_text(before, encoding="utf-8")
        _restart_authd()


def _restart_authd() -> None:
    for word in ("stop", "start"):
        subprocess.run([sys.executable, "-m", "tests.sandbox", word, "authd"], check=True)


def _peak(layout: Layout) -> int:
    """Return the most octets of memory that authd ever had (proc(5), VmHWM)."""
    pid = (layout.pids / "authd.pid").read_text(encoding="ascii").strip()
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _at_once(peer: Peer, login: str, layout: Layout) -> None:
    """Log in 200 times at the same moment, with the hash that the gateway uses, and tell how it went."""
    refused: list[str] = []
    together = threading.Barrier(AT_ONCE)

    def run() -> None:
        together.wait()
        try:
            _login(peer.port, login, PASSWORD)
        except (OSError, RuntimeError) as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(AT_ONCE)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, peak = time.monotonic() - begun, _peak(layout)
    verdict = "all answered" if not refused else f"{len(refused)} FAILED, the first: {refused[0]}"
    within = "within" if peak <= MEMORY_LIMIT else "OVER"
    click.echo(
        f"  {AT_ONCE} logins at once, argon2id, {peer.name}: {verdict} in {seconds:.1f} s; "
        f"authd's memory at most {peak / 1e6:.0f} MB: {within} {MEMORY_LIMIT / 1e6:.0f} MB"
    )


def _compare(layout: Layout, ours: Peer, sql: Peer, login: str, clients: int, rounds: int) -> None:
    """Compare the rates, and the processor time that a login costs in all processes together."""

    def side(peer: Peer, account: Account) -> Side:
        return Side(peer.name, lambda: account.measure(layout, lambda: _rate(peer.port, login, clients), SECONDS))

    accounts = (Account(COMMON), Account(COMMON))
    title = f"POP3 logins, {clients} clients, cheap hash, {ours.name} against Dovecot's SQL passdb"
    compare(title, side(ours, accounts[0]), side(sql, accounts[1]), rounds)
    ratio = (1 + accounts[1].own()) / (1 + accounts[0].own())
    click.echo(
        f"  processor time of a login: {ours.name} {accounts[0].cost() * 1000:.1f} ms, "
        f"{sql.name} {accounts[1].cost() * 1000:.1f} ms, ratio for the same cost of what they share {ratio:.2f}"
    )


def run(env: Mapping[str, str], layout: Layout, rounds: int) -> None:
    """Measure clients that connect, USER, PASS, QUIT; then 200 at the same moment."""
    login = env["TRADER2_LOGIN"]
    lua = LUA_PASSDB.format(settings=layout.dovecot / "digipoort-auth.lua")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_without_rehash(layout))
        sql = stack.enter_context(_instance(layout, "sql", _sql_passdb(env, layout)))
        ours = [
            stack.enter_context(_instance(layout, "checkpassword", "")),
            stack.enter_context(_instance(layout, "lua", lua)),
        ]
        _give_hash(env, CHEAP_HASH)
        for peer in ours:
            for clients in CLIENTS:
                _compare(layout, peer, sql, login, clients, rounds)
        _give_hash(env, hash_password(PASSWORD.encode()))
        for peer in ours:
            _restart_authd()
            _at_once(peer, login, layout)
