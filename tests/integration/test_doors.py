"""No road in but submission: every other door is tried as an ordinary local user."""

from __future__ import annotations

import pwd
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import layout as names

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.gateway import Gateway

NOBODY = 65534
CONNECT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]); print('in')"


def _as_nobody(
    *command: str, text: str = "", user: int = NOBODY, group: int = NOBODY
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        user=user,
        group=group,
        extra_groups=[],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def _sockets(gateway: Gateway) -> list[Path]:
    layout = gateway.layout
    return [
        layout.policyd_run / "policyd.sock",
        layout.authd_run / "authd.sock",
        *(layout.milter_run / f"milter-{role}.sock" for role in ("submission", "acceptance", "receipt")),
        layout.sasl_run / "sasl.sock",
        layout.run / "auth.sock",
        layout.policyd_run / "resubmission.sock",
        layout.run / "lmtp.sock",
    ]


def test_every_socket_is_closed_to_others(gateway: Gateway) -> None:
    for path in _sockets(gateway):
        assert path.is_socket(), path
        assert path.stat().st_mode & 0o007 == 0, path
        result = _as_nobody("/usr/bin/python3", "-c", CONNECT, str(path))
        assert "Permission denied" in result.stderr, (path, result.stdout)


def test_a_milter_cannot_deliver_past_all_checks(gateway: Gateway) -> None:
    """The milters read hostile messages, and what is published for Postfix's group: that must not open LMTP to them."""
    path = gateway.layout.run / "lmtp.sock"
    connect = ("/usr/bin/python3", "-c", CONNECT, str(path))
    refused = _as_nobody(*connect, user=names.MILTER_UID, group=names.group_id("postfix"))
    assert "Permission denied" in refused.stderr, refused.stdout
    # Whom it is for, to show that the attempt can succeed: Postfix, and the program that warns of a full mailbox.
    assert _as_nobody(*connect, user=pwd.getpwnam("postfix").pw_uid).stdout.strip() == "in"
    assert _as_nobody(*connect, user=names.MAIL_UID, group=names.group_id(names.MAIL_USER)).stdout.strip() == "in"


def test_dovecots_own_listeners_deliver_nothing_for_others(gateway: Gateway) -> None:
    """Dovecot opens a listener `lmtp` of its own beside the one in the configuration."""
    own = gateway.layout.dovecot / "run" / "lmtp"
    assert _as_nobody("/usr/bin/python3", "-c", CONNECT, str(own)).stdout.strip() != "in"


def test_the_same_attempt_succeeds_where_it_may(gateway: Gateway) -> None:
    """Show that the attempt above can succeed: the syslog socket is open to all, as /dev/log is."""
    result = _as_nobody(
        "/usr/bin/python3",
        "-c",
        CONNECT.replace("AF_UNIX", "AF_UNIX, socket.SOCK_DGRAM"),
        str(gateway.layout.syslog_socket),
    )
    assert result.stdout.strip() == "in"


@pytest.mark.parametrize("protocol", ["plain", "tls"])
def test_acceptance_takes_nothing_without_the_hops_certificate(gateway: Gateway, protocol: str) -> None:
    port = gateway.layout.ports.acceptance
    tls = ["--tls"] if protocol == "tls" else []
    result = _as_nobody(
        "swaks", "--server", "127.0.0.1", "--port", str(port), *tls,
        "--from", gateway.env["TRADER_ADDRESS"], "--to", gateway.env["AGS_ADDRESS"],
    )  # fmt: skip
    assert "250 2.0.0 Ok: queued" not in result.stdout
    assert ("Access denied" if tls else "Must issue a STARTTLS command first") in result.stdout


def test_the_hops_key_is_for_root_alone(gateway: Gateway) -> None:
    key = gateway.layout.pki / "hop.key"
    assert key.stat().st_uid == 0
    assert key.stat().st_mode & 0o077 == 0


def test_sendmail_is_no_road_in(gateway: Gateway) -> None:
    submission = (
        "/usr/sbin/sendmail", "-C", str(gateway.layout.postfix),
        "-f", gateway.env["TRADER_ADDRESS"], gateway.env["AGS_ADDRESS"],
    )  # fmt: skip
    assert _as_nobody(*submission, text="Subject: forged\n\nx\n").returncode != 0
    # Not even root: the instance itself says no, whatever keeps an ordinary user out before.
    result = subprocess.run(submission, input="Subject: forged\n\nx\n", capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "not allowed to submit mail" in result.stderr
    assert gateway.queue_is_empty()


def test_secrets_are_not_readable_by_others(gateway: Gateway) -> None:
    for path in gateway.layout.settings.iterdir():
        assert path.stat().st_mode & 0o007 == 0, path


def test_daemons_run_without_privileges(gateway: Gateway) -> None:
    for name in ("policyd", "authd", "milter-submission", "milter-acceptance", "milter-receipt"):
        pid = (gateway.layout.pids / f"{name}.pid").read_text().strip()
        with open(f"/proc/{pid}/status", encoding="ascii") as stream:  # noqa: PTH123 - /proc
            status = dict(line.rstrip("\n").split(":\t", 1) for line in stream if ":\t" in line)
        assert "0" not in status["Uid"].split(), name
        assert int(status["CapEff"], 16) == 0, name
