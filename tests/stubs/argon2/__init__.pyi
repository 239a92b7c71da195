# ruff: noqa: A002 - the names are the library's
# Debian 12's argon2-cffi carries no types; these are the ones that digipoort uses.
from argon2 import exceptions as exceptions

class PasswordHasher:
    def __init__(
        self,
        *,
        time_cost: int = ...,
        memory_cost: int = ...,
        parallelism: int = ...,
        hash_len: int = ...,
        salt_len: int = ...,
    ) -> None: ...
    def hash(self, password: str | bytes) -> str: ...
    def verify(self, hash: str | bytes, password: str | bytes) -> bool: ...
