"""Password hashes: what the admin CLI stores is what the authentication daemon verifies, so both take it from here.

New hashes are argon2id (RFC 9106) in the PHC string format, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. Hashes that other
systems made are verified too (hashschemes), and are replaced when their owner logs in (`needs_rehash`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import argon2

from digipoort import hashschemes
from digipoort.hashcost import DEFAULT_COST
from digipoort.hashschemes import PasswordHashError

if TYPE_CHECKING:
    from digipoort.hashcost import HashCost

__all__ = [
    "PasswordHashError",
    "checked_hash",
    "hash_password",
    "is_whole",
    "needs_rehash",
    "usable",
    "verify_password",
]

# A login reaches checkpassword as `login NUL password NUL NUL` in at most 512 octets, up to 128 of them the login's.
MAX_PASSWORD_OCTETS: Final = 256
_SALT_OCTETS: Final = 16
_HASH_OCTETS: Final = 32
# Stands in for what cannot be a password, so that refusing it takes as long as refusing another.
_STAND_IN: Final = b"x" * 8
_LABELLED: Final = re.compile(r"\{(?P<label>[A-Za-z0-9.-]{1,32})\}(?P<hash>.*)", re.DOTALL)


def hash_password(password: bytes, cost: HashCost = DEFAULT_COST) -> str:
    """Return the hash of a new password, with a random salt; releases the GIL while it computes.

    Raises ValueError as `usable` does, and PasswordHashError when there is no memory for it.
    """
    hasher = argon2.PasswordHasher(
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=cost.lanes,
        hash_len=_HASH_OCTETS,
        salt_len=_SALT_OCTETS,
    )
    try:
        return hasher.hash(usable(password))
    except argon2.exceptions.HashingError as error:
        raise PasswordHashError(f"The password cannot be hashed: {error}.") from error


def usable(password: bytes) -> bytes:
    """Return a password that can be one.

    Raises ValueError, with a sentence, for one that no mail client could log in with: empty, over 256 octets, or with a
    NUL octet (the checkpassword interface ends the password there).
    """
    if not 0 < len(password) <= MAX_PASSWORD_OCTETS:
        raise ValueError(f"A password has 1 to {MAX_PASSWORD_OCTETS} octets.")
    if b"\0" in password:
        raise ValueError("A password cannot contain a NUL octet.")
    return password


def verify_password(encoded: str, password: bytes) -> bool:
    """Tell whether `password` is the one that the hash `encoded` was made of; releases the GIL while it computes.

    What `usable` refuses is never the one, and takes as long. Raises PasswordHashError when the hash gives no verdict:
    a fault of the directory's contents or of this host, never of whoever logs in.
    """
    try:
        candidate = usable(password)
    except ValueError:
        hashschemes.matches(encoded, _STAND_IN)
        return False
    return hashschemes.matches(encoded, candidate)


def checked_hash(text: str) -> str:
    """Return the hash that the directory may store for a party that comes with one from another system.

    Grammar: [ "{" Dovecot's name of the scheme, in either case "}" ] hash. Nothing is computed. Raises
    PasswordHashError, with a sentence, for what `verify_password` could not verify: another scheme, a cost out of
    bounds, a hash that is not well-formed or not of the scheme that its prefix names.
    """
    labelled = _LABELLED.fullmatch(text)
    encoded = labelled["hash"] if labelled else text
    scheme = hashschemes.scheme_of(encoded)
    if labelled and labelled["label"].upper() not in scheme.labels:
        raise PasswordHashError(f"The hash is {scheme.name}, but its prefix in braces names another scheme.")
    return encoded


def is_whole(encoded: str, password: bytes) -> bool:
    """Tell whether a password that has just been verified by `encoded` was compared to its last octet.

    bcrypt compares 72. Of a longer one nobody knows which of its ends is the right one, and one of 72 may be cut off.
    """
    return len(password) < hashschemes.BCRYPT_OCTETS or hashschemes.scheme_of(encoded).name != "bcrypt"


def needs_rehash(encoded: str, cost: HashCost) -> bool:
    """Tell whether a password that has just been verified by `encoded` should be hashed anew at `cost`.

    True for every other scheme than argon2id and for every other cost, a higher one included: the settings decide.
    """
    return hashschemes.argon2id_cost(encoded) != cost
