"""The schemes of password hashes that can be verified: how each looks, what it may cost, how it is computed.

argon2id is what the directory gets; the others are verified so that a party can move from another system with its
password. A hash has to match its scheme's pattern in full before any library sees it.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import argon2
import bcrypt

from digipoort import hashcost, libcrypt
from digipoort.hashcost import HashCost

if TYPE_CHECKING:
    from collections.abc import Callable

_HASHER: Final = argon2.PasswordHasher()
# bcrypt uses no more; the library cuts the rest off itself before version 5, and raises ValueError from there on.
BCRYPT_OCTETS: Final = 72
# The digits of libcrypt's base 64, in order of their value.
_DIGITS: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class PasswordHashError(Exception):
    """A stored hash gives no verdict: its scheme or cost is not supported, it is damaged, or computing it failed."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to hash a password; `affordable` judges a match of `pattern`, `matches` compares hash and password.

    `labels` are the names that Dovecot may put before such a hash, in braces.
    """

    name: str
    prefixes: tuple[str, ...]
    labels: frozenset[str]
    pattern: re.Pattern[str]
    affordable: Callable[[re.Match[str]], bool]
    matches: Callable[[str, bytes], bool]


def scheme_of(encoded: str) -> Scheme:
    """Return the scheme of a hash that can be verified. Raises PasswordHashError, with a sentence that never quotes."""
    for scheme in SCHEMES:
        if encoded.startswith(scheme.prefixes):
            match = scheme.pattern.fullmatch(encoded)
            if match is None:
                raise PasswordHashError(f"The stored {scheme.name} hash is not well-formed.")
            if not scheme.affordable(match):
                raise PasswordHashError(f"The stored {scheme.name} hash costs more, or less, than is allowed.")
            return scheme
    raise PasswordHashError(f"The scheme of the stored hash is none of {', '.join(item.name for item in SCHEMES)}.")


def matches(encoded: str, password: bytes) -> bool:
    """Tell whether `password`, without NUL and of at most 511 octets, is the one of `encoded`.

    Releases the GIL while it computes, and compares in constant time. Raises PasswordHashError.
    """
    scheme = scheme_of(encoded)
    try:
        return scheme.matches(encoded, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash, ValueError, OSError) as error:
        detail = str(error) or "not well-formed"
        raise PasswordHashError(f"The stored {scheme.name} hash cannot be verified: {detail}.") from error


def argon2id_cost(encoded: str) -> HashCost | None:
    """Return the cost of an argon2id hash; None for everything else."""
    match = _ARGON2ID.fullmatch(encoded)
    return HashCost(int(match["memory"]), int(match["passes"]), int(match["lanes"])) if match else None


def _argon2id_affordable(match: re.Match[str]) -> bool:
    memory, passes, lanes = int(match["memory"]), int(match["passes"]), int(match["lanes"])
    return memory <= hashcost.MAX_MEMORY_KIB and passes <= hashcost.MAX_PASSES and lanes <= hashcost.MAX_LANES


def _argon2id_matches(encoded: str, password: bytes) -> bool:
    try:
        return _HASHER.verify(encoded, password)
    except argon2.exceptions.VerifyMismatchError:
        return False


def _bcrypt_affordable(match: re.Match[str]) -> bool:
    return int(match["cost"]) <= hashcost.MAX_BCRYPT_COST


def _bcrypt_matches(encoded: str, password: bytes) -> bool:
    return bcrypt.checkpw(password[:BCRYPT_OCTETS], encoded.encode())


def _sha512_affordable(match: re.Match[str]) -> bool:
    rounds = match["rounds"]
    return rounds is None or hashcost.MIN_SHA512_ROUNDS <= int(rounds) <= hashcost.MAX_SHA512_ROUNDS


def _yescrypt_affordable(match: re.Match[str]) -> bool:
    # The pattern leaves no parameter but these two, so that memory bounds the time too: 128 * r * N octets, N = 2^n.
    n, r = _DIGITS.index(match["n"]) + 1, _DIGITS.index(match["r"]) + 1
    return 128 * r << n <= hashcost.MAX_MEMORY_KIB * 1024


def _crypt_matches(encoded: str, password: bytes) -> bool:
    stored = encoded.encode()
    return hmac.compare_digest(libcrypt.crypt(password, stored), stored)


# RFC 9106 and the PHC string format; each number without leading zeros.
_ARGON2ID: Final = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>[1-9][0-9]{0,9}),t=(?P<passes>[1-9][0-9]{0,9}),p=(?P<lanes>[1-9][0-9]{0,9})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)
# 22 digits of salt and 31 of hash, the last of each with bits to spare: any other there, and nothing ever matches.
_BCRYPT: Final = re.compile(
    r"\$2[aby]\$(?P<cost>0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]"
)
# crypt(5), without the characters that libxcrypt refuses in a salt.
_SHA512_CRYPT: Final = re.compile(
    r"\$6\$(?:rounds=(?P<rounds>[1-9][0-9]{0,8})\$)?(?!rounds=)(?:(?![$:;*!\\])[!-~]){1,16}\$[./0-9A-Za-z]{85}[./01]"
)
# The flavor j is the only one that passwd(1), mkpasswd(1) and PAM write. Numbers of several digits are larger than is
# allowed, and what may follow r (lanes, time, upgrades, ROM) nobody uses.
_YESCRYPT: Final = re.compile(
    r"\$y\$j(?P<n>[./0-9A-Za-j])(?P<r>[./0-9A-Za-j])\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{42}[./0-9A-D]"
)

SCHEMES: Final = (
    Scheme("argon2id", ("$argon2id$",), frozenset({"ARGON2ID"}), _ARGON2ID, _argon2id_affordable, _argon2id_matches),
    Scheme(
        "bcrypt",
        ("$2a$", "$2b$", "$2y$"),
        frozenset({"BLF-CRYPT", "CRYPT"}),
        _BCRYPT,
        _bcrypt_affordable,
        _bcrypt_matches,
    ),
    Scheme(
        "SHA512-CRYPT",
        ("$6$",),
        frozenset({"SHA512-CRYPT", "CRYPT"}),
        _SHA512_CRYPT,
        _sha512_affordable,
        _crypt_matches,
    ),
    Scheme("yescrypt", ("$y$",), frozenset({"CRYPT"}), _YESCRYPT, _yescrypt_affordable, _crypt_matches),
)
