"""Password hashes: what is stored verifies, and what cannot be verified is never taken for a wrong password."""

from __future__ import annotations

import re

import pytest

from digipoort.passwords import MAX_PASSWORD_OCTETS, PasswordHashError, hash_password, verify_password

PASSWORD = b"correct horse \xff battery"


@pytest.fixture(scope="module")
def encoded() -> str:
    return hash_password(PASSWORD)


def test_a_hash_verifies_its_own_password_only(encoded: str) -> None:
    assert verify_password(encoded, PASSWORD)
    assert not verify_password(encoded, PASSWORD + b" ")
    assert not verify_password(encoded, b"")


def test_the_parameters_are_explicit_and_the_salt_is_random(encoded: str) -> None:
    assert re.match(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22,}\$[\w+/]+$", encoded)
    assert hash_password(PASSWORD) != encoded


@pytest.mark.parametrize("password", [b"", b"x" * (MAX_PASSWORD_OCTETS + 1), b"nul\0inside"])
def test_a_password_that_no_client_could_send_is_refused(password: bytes) -> None:
    with pytest.raises(ValueError, match="A password"):
        hash_password(password)


def test_the_longest_password_is_taken() -> None:
    longest = b"\xff" * MAX_PASSWORD_OCTETS
    assert verify_password(hash_password(longest), longest)


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "$6$salt$hash",
        "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$",
        "$argon2id$v=19$m=x,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=19456,t=2,p=1$!!!!$aGFzaGhhc2g",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$é",
        "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=19456,t=100,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=131072,t=2,p=4096$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=-1,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
    ],
)
def test_a_hash_without_verdict_says_so(damaged: str) -> None:
    with pytest.raises(PasswordHashError) as caught:
        verify_password(damaged, PASSWORD)
    assert str(caught.value).startswith("The ")
    assert not damaged or damaged not in str(caught.value)
