"""The decision on a login, with functions in place of the directory and the hash."""

from __future__ import annotations

import asyncio

import pytest

from digipoort_auth.authentication import Accepted, Credential, Found, Refusal, authenticate, look_up
from digipoort_auth.directory import find_credential
from digipoort_auth.protocol import LookupRequest, VerifyRequest

DECOY = "decoy"
HASH = "hash of secret"
CREDENTIALS = {
    "trader": Credential(HASH, ("pop3", "submission"), active=True, mailbox="abcd1234"),
    "reader": Credential(HASH, ("pop3",), active=True, mailbox="efgh5678"),
    "submitter@example.nl": Credential(HASH, ("submission",), active=True, mailbox=None),
    "former": Credential(HASH, ("pop3",), active=False, mailbox="ijkl9012"),
    "early": Credential(HASH, ("pop3",), active=True, mailbox="ijkl9012", begun=False),
    "late": Credential(HASH, ("pop3",), active=True, mailbox="ijkl9012", ended=True),
    "office": Credential(HASH, ("pop3",), active=True, mailbox="ijkl9012", networks=("192.0.2.0/24", "2001:db8::/32")),
}


def decide(
    login: bytes, password: bytes, service: bytes, client: bytes = b"192.0.2.1", *, secured: bool = True
) -> tuple[Accepted | Refusal, list[str], list[str]]:
    """Return the verdict, the logins that were asked for and the hashes that were computed."""
    asked: list[str] = []
    computed: list[str] = []

    async def find(wanted: str) -> Credential | None:
        asked.append(wanted)
        return CREDENTIALS.get(wanted)

    async def verify(encoded: str, given: bytes) -> bool:
        computed.append(encoded)
        return encoded == DECOY or encoded == "hash of " + given.decode(errors="replace")

    request = VerifyRequest(service=service, login=login, password=password, client=client, secured=secured)
    return asyncio.run(authenticate(request, find, verify, DECOY)), asked, computed


@pytest.mark.parametrize(
    ("login", "service", "verdict"),
    [
        (b"trader", b"pop3", Accepted("trader", "abcd1234", HASH)),
        (b"TRADER", b"pop3", Accepted("trader", "abcd1234", HASH)),
        (b"trader", b"smtp", Accepted("trader", "abcd1234", HASH)),
        (b"submitter@example.nl", b"smtp", Accepted("submitter@example.nl", None, HASH)),
        (b"reader", b"smtp", Refusal.SERVICE_DENIED),
        (b"submitter@example.nl", b"pop3", Refusal.SERVICE_DENIED),
        (b"former", b"pop3", Refusal.INACTIVE),
        (b"nobody", b"pop3", Refusal.UNKNOWN_LOGIN),
        (b"early", b"pop3", Refusal.NOT_YET_VALID),
        (b"late", b"pop3", Refusal.EXPIRED),
        (b"office", b"pop3", Accepted("office", "ijkl9012", HASH)),
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
        row = ("$argon2id$", ["pop3"], True, "abcd1234", True, False, ["192.0.2.1/32"])
        return row if parameters == {"login": "trader", "timezone": "UTC"} else None

    assert asyncio.run(find_credential(fetch, "UTC", "trader")) == Credential(
        "$argon2id$", ("pop3",), active=True, mailbox="abcd1234", networks=("192.0.2.1/32",)
    )
    assert asyncio.run(find_credential(fetch, "UTC", "nobody")) is None


@pytest.mark.parametrize(
    ("client", "accepted"),
    [
        (b"192.0.2.1", True),
        (b"::ffff:192.0.2.1", True),
        (b"2001:db8::1", True),
        (b"192.0.3.1", False),
        (b"2001:db9::1", False),
        (b"unknown", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_a_login_of_certain_networks_is_refused_elsewhere(client: bytes, accepted: bool) -> None:  # noqa: FBT001
    verdict, _, computed = decide(b"office", b"secret", b"pop3", client)
    assert isinstance(verdict, Accepted) is accepted
    if not accepted:
        assert (verdict, computed) == (Refusal.NETWORK_DENIED, [DECOY])


def test_a_password_that_came_in_the_clear_is_not_even_compared() -> None:
    assert decide(b"trader", b"secret", b"pop3", secured=False) == (Refusal.NOT_ENCRYPTED, [], [])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"trader", Found("abcd1234")),
        (b"TRADER", Found("abcd1234")),
        (b"abcd1234@mailbox.test", Found("abcd1234")),
        (b"trader@mailbox.test", None),
        (b"abcd1234@other.test", None),
        (b"../x@mailbox.test", None),
        (b"a\nb", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_name_is_a_login_or_a_mailbox_with_its_domain(name: bytes, found: Found | None) -> None:
    async def login(wanted: str) -> Found | None:
        return Found("abcd1234") if wanted == "trader" else None

    async def mailbox(wanted: str) -> Found | None:
        return Found(wanted) if wanted == "abcd1234" else None

    assert asyncio.run(look_up(LookupRequest(name), login, mailbox, b"mailbox.test")) == found
