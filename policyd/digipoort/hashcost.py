"""What a password hash may cost: settings choose within these bounds, and a hash made elsewhere has to keep to them.

Apart from the hashing itself, so that a program that only reads settings loads no cryptography.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# OWASP's smallest recommendation; less than that is no protection for a stolen directory.
MIN_MEMORY_KIB: Final = 7 * 1024
# The most that one login may cost, whatever the directory holds: some two seconds of one core, and 128 MiB.
MAX_MEMORY_KIB: Final = 128 * 1024
MAX_PASSES: Final = 8
MAX_LANES: Final = 16
MAX_BCRYPT_COST: Final = 14
MIN_SHA512_ROUNDS: Final = 1_000
MAX_SHA512_ROUNDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class HashCost:
    """The parameters of argon2id (RFC 9106, section 3.1): memory in KiB, passes over it, lanes side by side."""

    memory_kib: int
    passes: int
    lanes: int


# OWASP's recommendation: strong against a stolen directory, at some 17 ms per login, a tenth of argon2-cffi's defaults.
DEFAULT_COST: Final = HashCost(memory_kib=19 * 1024, passes=2, lanes=1)
