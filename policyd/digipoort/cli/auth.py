"""`digipoort auth`: which logins and networks authd makes wait after wrong passwords, and how to let them in again."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

import click

from digipoort.cli import completion, frame, output
from digipoort.cli.commands import Commands
from digipoort.cli.failures import Failure
from digipoort_auth import protocol

if TYPE_CHECKING:
    from pathlib import Path

_DEADLINE_SECONDS: Final = 10.0
_NAMES: Final = ("scope", "failures", "wait_seconds", "key")

auth = Commands("auth", help="Login attempts: who has to wait after wrong passwords, on this host.")


@auth.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def status(*, as_json: bool) -> None:
    """List the logins, networks and pairs of them whose next attempt has to wait, the longest wait first.

    A scope is login, network or pair (one login from one network). At most 50 are listed.

    \b
    Example:  digipoort auth status
    """
    rows = []
    for name, value in _fields(_ask(protocol.StatusRequest())):
        if name == b"limited":
            scope, failures, seconds, key = value.decode(errors="replace").split(" ", 3)
            rows.append((scope, int(failures), float(seconds), key))
    output.show(_NAMES, rows, as_json=as_json)


@auth.command()
@click.option("--login", shell_complete=completion.LOGINS, help="All that failed for this login.")
@click.option("--network", metavar="ADDRESS", help="All that failed from this address or network, as status lists it.")
def reset(login: str | None, network: str | None) -> None:
    """Forget wrong passwords of a login, a network, or one from the other: the next attempt is verified at once.

    \b
    Examples: digipoort auth reset --login bloemen
              digipoort auth reset --login bloemen --network 192.0.2.1
    """
    given = [value for value in (login, network) if value is not None]
    if not given:
        raise click.UsageError("Give --login, --network, or both.")
    scope = "pair" if len(given) > 1 else "network" if login is None else "login"
    request = protocol.ResetRequest(scope.encode(), " ".join(given).encode())
    (forgotten,) = (value.decode() for name, value in _fields(_ask(request)) if name == b"forgotten")
    click.echo(f"forgot the failures of {forgotten} {'entry' if forgotten == '1' else 'entries'}")


def _ask(request: protocol.StatusRequest | protocol.ResetRequest) -> bytes:
    """Return authd's reply line. Raises Failure (75) when it gives none."""
    path = frame.admin_settings().authd_socket
    try:
        reply = _exchange(path, protocol.format_request(request))
    except OSError as error:
        raise Failure(f"authd does not answer at {path}: {error.strerror or error}.", os.EX_TEMPFAIL) from error
    if not reply.startswith(b"ok") or not reply.endswith(protocol.END_OF_LINE):
        raise Failure("authd gave no answer: is this user one of AUTHD_PEERS? Its log tells.", os.EX_TEMPFAIL)
    return reply


def _exchange(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_DEADLINE_SECONDS)
        connection.connect(str(path))
        connection.sendall(line)
        with connection.makefile("rb") as replies:
            return replies.readline(protocol.MAX_REPLY_OCTETS)


def _fields(reply: bytes) -> list[tuple[bytes, bytes]]:
    words = [word.partition(b"=") for word in reply.removesuffix(protocol.END_OF_LINE).split(b"\t")[1:]]
    return [(name, protocol.unescape(value)) for name, _, value in words]
