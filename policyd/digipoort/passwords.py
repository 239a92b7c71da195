"""Password hashes: what the admin CLI stores is what the authentication daemon verifies, so both take it from here.

argon2id (RFC 9106) in the PHC string format, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. The parameters are OWASP's
recommendation: strong against a stolen directory, and some 17 ms per login, a tenth of argon2-cffi's defaults.
"""

from __future__ import annotations

from typing import Final

import argon2

MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
LANES: Final = 1
# A login reaches checkpassword as `login NUL password NUL NUL` in at most 512 octets, up to 128 of them the login's.
MAX_PASSWORD_OCTETS: Final = 256
# A hash made elsewhere may cost more than ours, but never so much that one login starves the host.
MAX_MEMORY_KIB: Final = 128 * 1024
MAX_PASSES: Final = 16
MAX_LANES: Final = 16

_SCHEME: Final = "$argon2id$"
_HASHER: Final = argon2.PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


class PasswordHashError(Exception):
    """A stored hash gives no verdict: its scheme or cost is not supported, it is damaged, or computing it failed."""


def hash_password(password: bytes) -> str:
    """Return the hash of a new password, with a random salt. Raises ValueError as `usable` does."""
    return _HASHER.hash(usable(password))


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

    Raises PasswordHashError when the hash gives no verdict: a fault of the directory's contents or of this host, never
    of whoever logs in.
    """
    if not (encoded.startswith(_SCHEME) and encoded.isascii()):
        raise PasswordHashError("The scheme of the stored hash is not argon2id.")
    try:
        cost = argon2.extract_parameters(encoded)
        if cost.memory_cost > MAX_MEMORY_KIB or cost.time_cost > MAX_PASSES or cost.parallelism > MAX_LANES:
            raise PasswordHashError("The stored hash costs more memory, passes or lanes than is allowed.")
        return _HASHER.verify(encoded, password)
    except argon2.exceptions.VerifyMismatchError:
        return False
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash) as error:
        raise PasswordHashError(f"The stored hash cannot be verified: {str(error) or 'not well-formed'}.") from error
