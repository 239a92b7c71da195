"""The decision on a login, with functions in place of the directory and the hash."""

from __future__ import annotations

import asyncio

import pytest

from digipoort_auth.authentication import Accepted, Credential, Refusal, authenticate
from digipoort_auth.directory import find_credential
from digipoort_auth.protocol import AuthRequest

DECOY = "decoy"
CREDENTIALS = {
    "trader": Credential("hash of secret", ("pop3", "submission"), active=True, mailbox="abcd1234"),
    "reader": Credential("hash of secret", ("pop3",), active=True, mailbox="efgh5678"),
    "submitter@example.nl": Credential("hash of secret", ("submission",), active=True, mailbox=None),
    "former": Credential("hash of secret", ("pop3",), active=False, mailbox="ijkl9012"),
}


def decide(login: bytes, password: bytes, service: bytes) -> tuple[Accepted | Refusal, list[str], list[str]]:
    """Return the verdict, the logins that were asked for and the hashes that were computed."""
    asked: list[str] = []
    computed: list[str] = []

    async def find(wanted: str) -> Credential | None:
        asked.append(wanted)
        return CREDENTIALS.get(wanted)

    async def verify(encoded: str, given: bytes) -> bool:
        computed.append(encoded)
        return encoded == DECOY or encoded == "hash of " + given.decode(errors="replace")

    request = AuthRequest(service=service, login=login, password=password)
    return asyncio.run(authenticate(request, find, verify, DECOY)), asked, computed


@pytest.mark.parametrize(
    ("login", "service", "verdict"),
    [
        (b"trader", b"pop3", Accepted("trader", "abcd1234")),
        (b"TRADER", b"pop3", Accepted("trader", "abcd1234")),
        (b"trader", b"smtp", Accepted("trader", "abcd1234")),
        (b"submitter@example.nl", b"smtp", Accepted("submitter@example.nl", None)),
        (b"reader", b"smtp", Refusal.SERVICE_DENIED),
        (b"submitter@example.nl", b"pop3", Refusal.SERVICE_DENIED),
        (b"former", b"pop3", Refusal.INACTIVE),
        (b"nobody", b"pop3", Refusal.UNKNOWN_LOGIN),
    ],
)
def test_a_login_with_the_right_password(login: bytes, service: bytes, verdict: Accepted | Refusal) -> None:
    given, _, computed = decide(login, b"secret", service)
    assert given == verdict
    assert computed == ["hash of secret" if isinstance(verdict, Accepted) else DECOY]


def test_a_wrong_password_is_refused() -> None:
    assert decide(b"trader", b"Secret", b"pop3")[0] is Refusal.WRONG_PASSWORD
    assert decide(b"trader", b"\xff", b"pop3")[0] is Refusal.WRONG_PASSWORD


@pytest.mark.parametrize("service", [b"", b"imap", b"POP3", b"submission", b"doveadm", b"lmtp", b"\xff"])
def test_a_service_that_is_not_ours_is_denied_to_everyone(service: bytes) -> None:
    assert decide(b"trader", b"secret", service) == (Refusal.SERVICE_DENIED, [], [DECOY])


@pytest.mark.parametrize("login", [b"", b"-x", b"a b", b"tr\xc3\xa9der", b"\xff", b"a\0b", b"x" * 129, b"trader\n"])
def test_a_login_that_cannot_exist_is_never_asked_for(login: bytes) -> None:
    assert decide(login, b"secret", b"pop3") == (Refusal.UNKNOWN_LOGIN, [], [DECOY])


def test_a_credential_never_shows_its_hash() -> None:
    assert "hash of" not in repr(CREDENTIALS["trader"])


def test_a_row_of_the_directory_becomes_a_credential() -> None:
    async def fetch(query: str, parameters: object) -> tuple[object, ...] | None:
        assert "password_hash" in query
        return ("$argon2id$", ["pop3"], True, "abcd1234") if parameters == {"login": "trader"} else None

    assert asyncio.run(find_credential(fetch, "trader")) == Credential(
        "$argon2id$", ("pop3",), active=True, mailbox="abcd1234"
    )
    assert asyncio.run(find_credential(fetch, "nobody")) is None
