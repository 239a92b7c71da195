"""Recipients per second through a real smtpd: the policy daemon against three lookups of Postfix's own.

The peer's `proxy:pgsql` tables decide less: that the sender exists, that the recipient does, and whether it takes mail;
nothing about the pair, its flow, the period or the size. Each client says MAIL, RCPT and RSET, pipelined.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg.conninfo import conninfo_to_dict

from tests.bench import bare_postfix, clients, large_directory
from tests.bench.policy import CONNECTIONS, MIDDLE, policyd, questions
from tests.bench.rounds import Side, compare
from tests.postgres import private_cluster
from tests.sandbox.layout import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.bench.policy import Question

_MAIN: Final = """relay_domains = gov.test
smtpd_relay_restrictions =
# A client of the benchmark is refused often, and says RSET all the time.
smtpd_soft_error_limit = 1000000
smtpd_hard_error_limit = 1000000
smtpd_junk_command_limit = 100000000
default_process_limit = 100
"""
_SERVICES: Final = """127.0.0.1:{ours} inet n - n - - smtpd
  -o smtpd_reject_unlisted_recipient=no
  -o {{ smtpd_recipient_restrictions = check_policy_service {{ unix:{policyd}, policy_context=acceptance }}, reject_unauth_destination }}
127.0.0.1:{peer} inet n - n - - smtpd
  -o {{ smtpd_sender_restrictions = check_sender_access proxy:pgsql:{config}/senders }}
  -o {{ smtpd_recipient_restrictions = check_recipient_access proxy:pgsql:{config}/access, reject_unauth_destination }}
  -o relay_recipient_maps=proxy:pgsql:{config}/recipients
"""  # noqa: E501 - a line of master.cf
_TABLES: Final = {
    "senders": "SELECT 'DUNNO' FROM address JOIN party ON party.id = party_id AND active WHERE address = '%s'",
    "access": "SELECT 'DUNNO' FROM address JOIN party ON party.id = party_id AND active WHERE address = '%s'",
    "recipients": "SELECT 'known' FROM address WHERE address = '%s'",
}


def run(rounds: int) -> None:
    """Print the ratio at each number of connections, for a directory of MIDDLE addresses with hubs."""
    with private_cluster(max_connections="400") as dsn:
        large_directory.build(dsn, MIDDLE, connected=True)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
            folder.chmod(0o755)
            path = stack.enter_context(policyd(dsn))
            ports = Ports.free()
            ours, peer = ports.submission, ports.acceptance
            services = _SERVICES.format(ours=ours, peer=peer, policyd=path, config=folder / "postfix")
            config = stack.enter_context(bare_postfix.running(folder, _MAIN + _proxied(folder), services, ours))
            _write_tables(config, dsn)
            asked = questions(MIDDLE)
            for connections in CONNECTIONS:
                compare(
                    f"recipients through smtpd, {connections} connections: policyd against three proxy:pgsql lookups",
                    Side("policyd", lambda n=connections: _rate(ours, asked, n, _due)),  # type: ignore[misc]
                    Side("proxy:pgsql", lambda n=connections: _rate(peer, asked, n, _due_of_peer)),  # type: ignore[misc]
                    rounds,
                )


def _proxied(folder: Path) -> str:
    """Return the line of main.cf that lets proxymap(8) open the tables: it reads no service's options."""
    return f"proxy_read_maps = {' '.join(f'proxy:pgsql:{folder}/postfix/{name}' for name in _TABLES)}\n"


def _write_tables(config: Path, dsn: str) -> None:
    """Write the peer's tables (pgsql_table(5)); Postfix opens one when it is first asked for."""
    server = conninfo_to_dict(dsn)
    for name, query in _TABLES.items():
        table = config / name
        table.touch(mode=0o640)
        shutil.chown(table, group="postfix")
        table.write_text(
            f"hosts = unix:{server['host']}\nuser = {server['user']}\npassword = {server['password']}\n"
            f"dbname = {server['dbname']}\ndomain = gov.test, party.test\nquery = {query}\n",
            encoding="utf-8",
        )


def _due(question: Question) -> bytes:
    """Return how the reply to RCPT begins when the policy daemon is asked."""
    return b"250 " if question.allowed else b"550 "


def _due_of_peer(question: Question) -> bytes:
    """Return the same of tables that only know which recipients exist."""
    return b"250 " if question.known else b"550 "


def _rate(port: int, asked: Sequence[Question], connections: int, due: Callable[[Question], bytes]) -> float:
    """Return the recipients per second that a number of SMTP sessions are answered about."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(_session(port)) for _ in range(connections)]
        requests = itertools.cycle([(_commands(question), due(question)) for question in asked])
        return clients.rate(sessions, requests, _has_three_lines, _is_due)


def _commands(question: Question) -> bytes:
    return f"MAIL FROM:<{question.sender}>\r\nRCPT TO:<{question.recipient}>\r\nRSET\r\n".encode("ascii")


def _has_three_lines(replies: bytes) -> bool:
    return replies.count(b"\r\n") >= 3


def _is_due(replies: bytes, expected: bytes) -> bool:
    """Tell whether the reply to RCPT, the second of three, is the one that is due."""
    return replies.split(b"\r\n")[1].startswith(expected)


@contextlib.contextmanager
def _session(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients.answer(client, lambda greeting: greeting.endswith(b"\r\n"))
        client.sendall(b"EHLO bench.test\r\n")
        clients.answer(client, lambda reply: b"\r\n250 " in reply)
        yield client
