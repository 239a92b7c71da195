"""SMTP AUTH through the relay, with the real Postfix and Dovecot: an outage of ours is 454, never 535.

Postfix says 535 of its own accord when Dovecot calls a failure temporary (xsasl_dovecot_server.c).
"""

from __future__ import annotations

import base64
import contextlib
import re
import smtplib
import threading
import time
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.gateway import Gateway

ACCEPTED: Final = "235 2.7.0"
REFUSED: Final = "535 5.7.8"
TEMPORARY: Final = "454 4.7.0"
ASK_LOGIN: Final = "334 VXNlcm5hbWU6"
ASK_PASSWORD: Final = "334 UGFzc3dvcmQ6"  # noqa: S105 - what Dovecot asks with
# Not after the ten seconds that smtpd waits for an authentication server, nor Dovecot's delay of failures.
AT_ONCE: Final = 2.0
_FATAL: Final = "fatal: no SASL authentication mechanisms"
THROTTLED: Final = 6.0
AT_THE_SAME_TIME: Final = 50


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _plain(gateway: Gateway, password: str = "") -> str:
    account = gateway.account("TRADER")
    return _coded(f"\0{account.login}\0{password or account.password}")


def _login(gateway: Gateway, session: smtplib.SMTP) -> str:
    return gateway.command(session, f"AUTH PLAIN {_plain(gateway)}")


@contextlib.contextmanager
def _session(gateway: Gateway) -> Iterator[smtplib.SMTP]:
    session = gateway.smtp()
    try:
        yield session
    finally:
        session.close()


def _turned_away(gateway: Gateway) -> bool:
    try:
        with _session(gateway):
            return False
    except smtplib.SMTPServerDisconnected:
        return True


@contextlib.contextmanager
def _down(gateway: Gateway, daemon: str) -> Iterator[None]:
    gateway.control("stop", daemon)
    try:
        yield
    finally:
        gateway.control("start", daemon)


@pytest.fixture(autouse=True)
def _there_again(gateway: Gateway) -> None:
    """Log in until all is there again."""

    def good() -> bool:
        with _session(gateway) as session:
            return _login(gateway, session).startswith(ACCEPTED)

    gateway.wait_for(good, "a login", 60)


def test_plain_with_and_without_its_response(gateway: Gateway) -> None:
    with _session(gateway) as session:
        assert _login(gateway, session).startswith(ACCEPTED)
    with _session(gateway) as session:
        assert gateway.command(session, "AUTH PLAIN").strip() == "334"
        assert gateway.command(session, _plain(gateway)).startswith(ACCEPTED)


def test_login_is_a_dialogue(gateway: Gateway) -> None:
    account = gateway.account("TRADER")
    with _session(gateway) as session:
        assert gateway.command(session, "AUTH LOGIN") == ASK_LOGIN
        assert gateway.command(session, _coded(account.login)) == ASK_PASSWORD
        assert gateway.command(session, _coded(account.password)).startswith(ACCEPTED)
    with _session(gateway) as session:
        assert gateway.command(session, f"AUTH LOGIN {_coded(account.login)}") == ASK_PASSWORD
        assert gateway.command(session, _coded(account.password)).startswith(ACCEPTED)


def test_a_dialogue_broken_off_leaves_nothing_behind(gateway: Gateway) -> None:
    account = gateway.account("TRADER")
    before = gateway.log().count("pending requests")
    with _session(gateway) as session:
        gateway.command(session, "AUTH LOGIN")
        gateway.command(session, _coded(account.login))
        assert gateway.command(session, "*").startswith("501")
        assert _login(gateway, session).startswith(ACCEPTED)
    with _session(gateway) as session:
        gateway.command(session, "AUTH LOGIN")
    with _session(gateway) as session:
        assert _login(gateway, session).startswith(ACCEPTED)
    # What Dovecot says, as an error, when a client leaves in the middle.
    assert gateway.log().count("pending requests") == before


def test_a_wrong_password_is_the_partys_fault(gateway: Gateway) -> None:
    with _session(gateway) as session:
        answer = gateway.command(session, f"AUTH PLAIN {_plain(gateway, 'verkeerd')}")
        assert answer.startswith(REFUSED)
        assert "DGP-1012" in answer
        assert _login(gateway, session).startswith(ACCEPTED)


@pytest.mark.parametrize(
    "daemon",
    ["authd", "postgresql", "dovecot"],
)
def test_an_outage_is_temporary_at_once_in_sessions_old_and_new(gateway: Gateway, daemon: str) -> None:
    with contextlib.ExitStack() as sessions:
        living = sessions.enter_context(_session(gateway))
        with _down(gateway, daemon):
            new = sessions.enter_context(_session(gateway))
            for session in (living, new, living):
                begun = time.monotonic()
                answer = _login(gateway, session)
                assert answer.startswith(TEMPORARY), answer
                assert "DGP-9009" in answer
                assert time.monotonic() - begun < AT_ONCE
        gateway.wait_for(lambda: _login(gateway, new).startswith((ACCEPTED, "503")), "a login in the same session", 60)
        # Neither the session nor its smtpd knows of Dovecot's restart.
        assert _login(gateway, living).startswith(ACCEPTED)


def test_dovecot_restarted_in_a_dialogue(gateway: Gateway) -> None:
    account = gateway.account("TRADER")
    with _session(gateway) as session:
        assert gateway.command(session, "AUTH LOGIN") == ASK_LOGIN
        gateway.control("stop", "--kill", "dovecot")
        gateway.control("start", "dovecot")
        begun = time.monotonic()
        assert gateway.command(session, _coded(account.login)).startswith(TEMPORARY)
        assert time.monotonic() - begun < AT_ONCE
        assert _login(gateway, session).startswith(ACCEPTED)


def test_the_relay_restarted_in_a_session(gateway: Gateway) -> None:
    with _session(gateway) as idle, _session(gateway) as asked:
        assert gateway.command(asked, "AUTH LOGIN") == ASK_LOGIN
        gateway.control("stop", "sasl")
        gateway.control("start", "sasl")
        begun = time.monotonic()
        assert gateway.command(asked, _coded("x")).startswith(TEMPORARY)
        assert time.monotonic() - begun < AT_ONCE
        assert _login(gateway, asked).startswith(ACCEPTED)
        assert _login(gateway, idle).startswith(ACCEPTED)


# smtplib leaves the socket to the garbage when the server goes away right after STARTTLS.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_relay_down_is_temporary_too_and_a_new_smtpd_does_not_run(gateway: Gateway) -> None:
    with _session(gateway) as session:
        with _down(gateway, "sasl"):
            assert _login(gateway, session).startswith(TEMPORARY)
            # It ends all the smtpd that have nothing to do, and know the mechanisms from before.
            gateway.postfix("postfix", "reload")
            fatal = gateway.log().count(_FATAL)
            # An smtpd that was not told yet may still take a connection.
            gateway.wait_for(lambda: _turned_away(gateway), "a new smtpd")
            gateway.wait_for(lambda: gateway.log().count(_FATAL) == fatal + 1, "its last words")
        assert _login(gateway, session).startswith(ACCEPTED)
    # After that, master starts no smtpd for service_throttle_time.
    begun = time.monotonic()
    with _session(gateway) as session:
        assert _login(gateway, session).startswith(ACCEPTED)
    assert time.monotonic() - begun < THROTTLED


@pytest.mark.timeout(240)
def test_fifty_logins_at_once(gateway: Gateway) -> None:
    answers: list[str] = []
    ready = threading.Barrier(AT_THE_SAME_TIME)

    def party() -> None:
        with _session(gateway) as session:
            ready.wait(120)
            answers.append(_login(gateway, session))

    threads = [threading.Thread(target=party) for _ in range(AT_THE_SAME_TIME)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == AT_THE_SAME_TIME
    # How many of them a busy machine can verify in time is not the relay's.
    told = {answer[:9] for answer in answers}
    assert ACCEPTED in told
    assert told <= {ACCEPTED, TEMPORARY}


def test_the_log_tells_of_an_outage_once_and_holds_no_secret(gateway: Gateway) -> None:
    offset = len(gateway.log())
    with _session(gateway) as session, _down(gateway, "dovecot"):
        for _ in range(3):
            assert _login(gateway, session).startswith(TEMPORARY)
    with _session(gateway) as session:
        assert _login(gateway, session).startswith(ACCEPTED)
    gateway.wait_for(lambda: "event=dovecot_restored" in gateway.log()[offset:], "the end of the outage in the log")
    lines = gateway.log()[offset:]
    assert re.findall(r"digipoort-sasl\[\d+\]: event=(\w+)", lines) == [
        "dovecot_unavailable",
        *["login_deferred"] * 3,
        "dovecot_restored",
    ]
    # What a ban on wrong passwords must leave out, and fail2ban's own filter does.
    assert lines.count("SASL PLAIN authentication failed: Connection lost to authentication server") == 3
    assert _plain(gateway) not in gateway.log()
    assert gateway.account("TRADER").password not in gateway.log()
