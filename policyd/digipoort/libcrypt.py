"""crypt(3) of the system's libcrypt, for hashes that other systems made: Python 3.13 has no `crypt` module any more.

Debian's libcrypt.so.1 is libxcrypt, which PAM itself depends on, so every host has it. crypt_rn(3) is safe in
threads as long as each call has its own buffer, and ctypes releases the GIL while it computes.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# crypt.h: sizeof(struct crypt_data).
_BUFFER_OCTETS: Final = 32 * 1024


def crypt(phrase: bytes, setting: bytes) -> bytes:
    """Return the hash of `phrase` as `setting`, which may be a whole hash, tells to compute it.

    Raises OSError when there is no hash: the setting is malformed or not supported (EINVAL), memory is short (ENOMEM),
    the phrase has more than 511 octets (ERANGE), libcrypt cannot be loaded. Raises ValueError for a NUL octet, where C
    would stop reading.
    """
    if b"\0" in phrase or b"\0" in setting:
        raise ValueError("crypt(3) would stop at the NUL octet.")
    data = ctypes.create_string_buffer(_BUFFER_OCTETS)
    result = loaded()(phrase, setting, data, _BUFFER_OCTETS)
    if result is None:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    # crypt(5): an error token begins with an asterisk, no hash does.
    if result.startswith(b"*"):
        raise OSError("crypt(3) answered with an error token")
    return result


@functools.cache
def loaded() -> Callable[[bytes, bytes, ctypes.Array[ctypes.c_char], int], bytes | None]:
    """Return crypt_rn(3), loaded at the first call. Raises OSError."""
    crypt_rn = ctypes.CDLL("libcrypt.so.1", use_errno=True).crypt_rn
    crypt_rn.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    crypt_rn.restype = ctypes.c_char_p
    return crypt_rn
