"""policyd, authd and the SASL relay as processes: settings, sockets, life without what they ask, their end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from digipoort_auth.checkpassword import request as login_request
from tests.unit.connections import connected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECRET: Final = b"AGFhbABnZWhlaW0="


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One daemon.

    `sockets` are the settings that name its sockets, the first of which is asked; `{}` in `settings` is a folder that
    holds nothing. `faulty` are settings that cannot be used, `sentences` what is said of them.
    """

    module: str
    sockets: tuple[str, ...]
    settings: Mapping[str, str]
    faulty: Mapping[str, str]
    sentences: tuple[str, ...]
    question: bytes = field(repr=False)
    answer: bytes
    events: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [sys.executable, "-m", self.module]

    def environment(self, folder: Path, **settings: str) -> dict[str, str]:
        """Return an environment in which everything is well, but for what it asks, which is not there."""
        sockets = {name: str(folder / name.lower()) for name in self.sockets}
        own = {name: value.format(folder) for name, value in self.settings.items()}
        return {**os.environ, "SYSLOG_SOCKET": str(folder / "absent"), **sockets, **own, **settings}

    def run(self, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run it where it cannot start."""
        return subprocess.run(self.command, env=environment, capture_output=True, text=True, timeout=30, check=False)


PROGRAMS: Final = (
    Program(
        module="digipoort_policyd",
        sockets=("POLICYD_SOCKET", "RESUBMISSION_SOCKET"),
        settings={"DIRECTORY_DSN": "host={} dbname=none", "LOGICAL_DOMAINS": "overheid.example"},
        faulty={"LOGICAL_DOMAINS": "", "REQUEST_DEADLINE": "soon"},
        sentences=(
            "LOGICAL_DOMAINS needs at least one value (it is '').",
            "REQUEST_DEADLINE is not a number (it is 'soon').",
        ),
        question=b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=acceptance\n"
        b"sender=a@handel.example\nrecipient=ags@overheid.example\n\n",
        answer=b"action=451 4.3.0 DGP-9001 ",
        events=("policyd_started", "directory_unavailable", "recipient_deferred", "policyd_stopped"),
    ),
    Program(
        module="digipoort_auth",
        sockets=("AUTHD_SOCKET",),
        settings={"DIRECTORY_DSN": "host={} dbname=absent"},
        faulty={"HASH_WORKERS": "many", "REQUEST_DEADLINE": "0"},
        sentences=(
            "REQUEST_DEADLINE must be between 0.1 and 60 (it is '0').",
            "HASH_WORKERS is not a number (it is 'many').",
        ),
        question=login_request(b"pop3", b"trader", SECRET, b"192.0.2.1", secured=True),
        answer=b"temp\n",
        events=("authd_started", "directory_unavailable", "login_deferred", "authd_stopped"),
    ),
    Program(
        module="digipoort_sasl",
        sockets=("SASL_SOCKET",),
        settings={"DOVECOT_AUTH_SOCKET": "{}/dovecot.sock"},
        # Postfix itself waits no longer than 10 seconds.
        faulty={"SASL_DEADLINE": "10", "SASL_PEERS": " "},
        sentences=(
            "SASL_PEERS needs at least one value (it is ' ').",
            "SASL_DEADLINE must be between 0.1 and 9.9 (it is '10').",
        ),
        question=b"VERSION\t1\t0\nCPID\t1\nAUTH\t1\tPLAIN\trip=192.0.2.1\tresp=" + SECRET + b"\n",
        answer=b"VERSION\t1\t",
        events=("sasl_started", "dovecot_unavailable", "login_deferred", "sasl_stopped"),
    ),
)


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.module)
def program(request: pytest.FixtureRequest) -> Program:
    """Return each daemon in turn."""
    chosen: Program = request.param
    return chosen


def test_every_fault_in_the_settings_is_a_sentence_and_status_78(program: Program, tmp_path: Path) -> None:
    ended = program.run(program.environment(tmp_path, **program.faulty))
    assert ended.returncode == os.EX_CONFIG
    assert sorted(ended.stderr.splitlines()) == sorted(program.sentences)


def test_a_socket_that_cannot_be_made_is_logged_and_status_1(program: Program, tmp_path: Path) -> None:
    for name in program.sockets:
        path = tmp_path / "nobody" / "made.sock"
        ended = program.run(program.environment(tmp_path, **{name: str(path)}))
        assert ended.returncode == 1
        assert f"event=socket_unusable socket={path}" in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_without_what_it_asks_and_ends_cleanly(
    program: Program, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / program.sockets[0].lower()
    with subprocess.Popen(
        program.command, env=program.environment(tmp_path), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with connected(path) as client:
                client.sendall(program.question)
                assert client.recv(4096).startswith(program.answer)
                assert stat.S_IMODE(path.stat().st_mode) == 0o660
                process.send_signal(number)
                # What is left of the answer, then the end.
                while client.recv(4096):
                    pass
            # A second signal could meet the interpreter when it no longer has a handler for it.
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    events = [line.partition("event=")[2].split()[0] for line in said.splitlines()]
    assert tuple(event for event in events if event != "syslog_unavailable") == program.events
    assert SECRET.decode() not in said
    assert not path.exists()
