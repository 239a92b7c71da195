"""The filter for fail2ban, read by fail2ban itself: lines of the real logger, whatever a client sent, and no others."""

from __future__ import annotations

import ast
import itertools
import socket
import time
from typing import TYPE_CHECKING, Final

import pytest

from digipoort import log
from tests.fail2ban import configuration, failures

if TYPE_CHECKING:
    from pathlib import Path

HERE: Final = b"192.0.2.77"
OTHER: Final = "198.51.100.1"
TRADITIONAL: Final = "Nov 26 13:06:54 gateway digipoort-authd[6253]: "
FORMATS: Final = {
    "traditional": TRADITIONAL,
    "a day below ten": "Nov  6 03:06:54 gateway.example.nl digipoort-authd[6253]: ",
    "ISO": "2026-11-26T13:06:54.123456+01:00 gateway digipoort-authd[6253]: ",
    "RFC 5424": "<22>1 2026-11-26T13:06:54.123456+01:00 gateway digipoort-authd 6253 - - ",
    "rsyslog's RFC 5424": "<22>1 2026-11-26T13:06:54.123456+01:00 gateway digipoort-authd 6253 - -  ",
    "journal": "gateway digipoort-authd[6253]: ",
}
HOSTILE: Final = [
    f" client={OTHER} reason=wrong-password",
    f'x" client={OTHER} reason="wrong-password',
    f"x client={OTHER}",
    f"client={OTHER}",
    f"x\nNov 26 13:06:54 gateway digipoort-authd[1]: event=login_refused reason=wrong-password client={OTHER}",
    f"x\r\nevent=login_refused reason=unknown-login client={OTHER}\r\n",
    f"x\tclient={OTHER}",
    f"x\x00client={OTHER}",
    f"x\u2028client={OTHER}",
    f"x\u00a0client={OTHER}",
    f"\\ client={OTHER} \\",
    f"x' client={OTHER}",
    f"2026-11-26T13:06:54 gateway digipoort-authd[1]: event=login_refused reason=unknown-login client={OTHER}",
    "=" * 4000,
    "a=b " * 1000,
    '"' * 4000,
    f"{'x' * 490} client={OTHER}",
    f"{'x' * 499} client={OTHER}",
    f"<F-ID>{OTHER}</F-ID> <HOST>",
    "",
]


@pytest.fixture
def logged(tmp_path: Path) -> list[str]:
    """Return the lines without a prefix that authd would log: a failure by a client of each kind of login."""
    lines = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        logger = log.configure("digipoort-authd", tmp_path / "log", "info")
        for login in HOSTILE:
            for service in (b"pop3", login.encode()):
                logger.info(
                    "login_refused",
                    reason="unknown-login",
                    elapsed_ms=60.16,
                    login=login.encode(),
                    service=service,
                    client=HERE,
                )
                lines.append(server.recv(65536).decode().partition(": ")[2])
    return lines


def refused(reason: str = "wrong-password", client: str = "192.0.2.77", more: str = "") -> str:
    """Return a line without prefix."""
    return f"event=login_refused reason={reason} elapsed_ms=179.21 login=k7 service=pop3 client={client}{more}"


@pytest.mark.parametrize("prefix", FORMATS.values(), ids=FORMATS)
def test_whatever_the_login_is_the_client_is_who_is_counted(logged: list[str], prefix: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    assert failures([prefix + line for line in logged], tmp_path) == [HERE.decode()] * len(logged)
    assert time.monotonic() - begun < 20


def test_a_service_or_client_that_reads_as_a_key_counts_for_nobody_else(tmp_path: Path) -> None:
    lines = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        logger = log.configure("digipoort-authd", tmp_path / "log", "info")
        for text in HOSTILE:
            logger.info("login_refused", reason="unknown-login", elapsed_ms=1.0, login="k7", client=text.encode())
            lines.append(TRADITIONAL + server.recv(65536).decode().partition(": ")[2])
    assert failures(lines, tmp_path) == []


def test_a_failed_login_counts(tmp_path: Path) -> None:
    addresses = ["192.0.2.77", "2001:db8::77", "2001:db8:1:2:3:4:5:6", "::ffff:192.0.2.78"]
    cases = list(
        itertools.product(FORMATS.values(), ("wrong-password", "unknown-login"), addresses, ("", " secured=yes"))
    )
    lines = [prefix + refused(reason, address, more) for prefix, reason, address, more in cases]
    assert failures(lines, tmp_path) == [address.removeprefix("::ffff:") for _, _, address, _ in cases]


def test_nothing_else_counts(tmp_path: Path) -> None:
    lines = [
        TRADITIONAL + refused("inactive"),
        TRADITIONAL + refused("service-denied"),
        TRADITIONAL + refused("wrong-password-or-so"),
        TRADITIONAL + refused(more=" repeated=yes"),
        TRADITIONAL + refused(client=""),
        TRADITIONAL + refused(client="gateway.example"),
        TRADITIONAL + refused(client='"192.0.2.77 x"'),
        TRADITIONAL + refused().replace("login_refused", "login_limited"),
        TRADITIONAL + refused().replace("login_refused", "login_accepted"),
        TRADITIONAL + 'event=login_deferred reason=DGP-9001 detail="x" login=k7 service=pop3 client=192.0.2.77',
        TRADITIONAL.replace("authd", "policyd") + refused(),
        TRADITIONAL.replace("digipoort-authd[6253]:", "postfix/smtpd[15]: warning:") + refused(),
        TRADITIONAL + "note " + TRADITIONAL + refused(),
        "Nov 26 13:07:02 gateway pop3-login: Info: Disconnected: Connection closed (auth failed, 1 attempts in 6 secs)"
        ": user=<nobody>, method=PLAIN, rip=192.0.2.77, lip=192.0.2.1, TLS, session=<t8I6ni1hkJp/AAAB>",
        "Nov 26 13:07:02 gateway pop3-login: Info: Disconnected: Connection closed (auth service reported temporary "
        "failure): user=<k7>, method=PLAIN, rip=192.0.2.77, lip=192.0.2.1, TLS, session=<LWSDty1hgIp/AAAB>",
        "Nov 26 13:07:34 gateway postfix-digipoort/submission/smtpd[15]: warning: a.example[192.0.2.77]: SASL PLAIN "
        "authentication failed: (reason unavailable), sasl_username=digipoort-authd[1]: " + refused(),
        "Nov 26 13:14:00 gateway auth: Error: checkpassword(k7,192.0.2.77): Child 2 exited with status 111",
    ]
    controls = [TRADITIONAL + refused(client=f"198.51.100.{number}") for number in range(len(lines))]
    mixed = [line for pair in zip(lines, controls, strict=True) for line in pair]
    assert failures(mixed, tmp_path) == [f"198.51.100.{number}" for number in range(len(lines))]


def test_the_jail_is_off_until_it_is_turned_on(tmp_path: Path) -> None:
    assert "digipoort-auth" not in configuration(tmp_path, **variables(tmp_path, on=False))


def test_the_jail_that_is_turned_on(tmp_path: Path) -> None:
    told = configuration(tmp_path, **variables(tmp_path, on=True))
    orders = [ast.literal_eval(line) for line in told.splitlines() if "'digipoort-auth'" in line]
    set_to = {order[2]: order[3] for order in orders if order[0] == "set" and len(order) > 3}
    assert ["start", "digipoort-auth"] in orders
    assert set_to["addlogpath"] == str(tmp_path / "mail.log")
    assert set_to["maxretry"] == 60
    assert [order[3:] for order in orders if order[2:3] == ["addignoreip"]] == [
        ["127.0.0.0/8", "::1", "203.0.113.0/24"]
    ]
    assert "login_refused" in str(orders)
    assert "587,465,110,995" in str(orders)


def variables(folder: Path, *, on: bool) -> dict[str, object]:
    """Return what the jail's template needs."""
    log_file = folder / "mail.log"
    log_file.touch()
    return {
        "digipoort_fail2ban": on,
        "digipoort_fail2ban_ignore": ["203.0.113.0/24"],
        "digipoort_fail2ban_logpath": log_file,
        "digipoort_submission_port": 587,
        "digipoort_submissions_port": 465,
        "digipoort_pop3_port": 110,
        "digipoort_pop3s_port": 995,
    }
