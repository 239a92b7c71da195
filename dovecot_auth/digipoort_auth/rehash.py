"""Replaces old password hashes: only a login that has just been verified brings the password that a new one is made of.

It happens beside the answer and can fail without harm: the old hash goes on to work, and the next login tries again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

from digipoort import passwords, reasons
from digipoort.directory.pool import DirectoryUnavailable
from digipoort.passwords import PasswordHashError
from digipoort_auth.hashing import HashQueueFull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from digipoort.hashcost import HashCost
    from digipoort_auth.authentication import Accepted

    Hash: TypeAlias = Callable[[bytes, HashCost], Awaitable[str]]
    Replace: TypeAlias = Callable[[str, str, str], Awaitable[bool]]

# Each holds a password in memory for as long as it waits.
MAX_UNDER_WAY: Final = 8
_DEADLINE_SECONDS: Final = 60.0


class Rehash:
    """The hashes that are being replaced."""

    def __init__(self, hash_: Hash, replace: Replace, log: FilteringBoundLogger, cost: HashCost) -> None:
        """Take what makes a hash of a password, what stores it (login, former, successor), and today's cost."""
        self._hash = hash_
        self._replace = replace
        self._log = log
        self._cost = cost
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def consider(self, accepted: Accepted, password: bytes) -> None:
        """Begin to replace the hash of a login that was accepted with `password`, if it is not of today's kind."""
        if accepted.login in self._under_way or len(self._under_way) >= MAX_UNDER_WAY:
            return
        if passwords.needs_rehash(accepted.password_hash, self._cost) and passwords.is_whole(
            accepted.password_hash, password
        ):
            task = asyncio.get_running_loop().create_task(self._replaced(accepted, password))
            self._under_way[accepted.login] = task
            task.add_done_callback(lambda _: self._under_way.pop(accepted.login))

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _replaced(self, accepted: Accepted, password: bytes) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                successor = await self._hash(password, self._cost)
                replaced = await self._replace(accepted.login, accepted.password_hash, successor)
        except TimeoutError:
            self._failed(accepted, "no answer in time")
        except HashQueueFull:
            self._failed(accepted, "too many wait to be hashed")
        except (DirectoryUnavailable, PasswordHashError) as error:
            self._failed(accepted, str(error))
        except Exception:  # noqa: BLE001 - the login went well, and the next one tries again
            self._log.exception("internal_error", reason=reasons.INTERNAL_ERROR.code, login=accepted.login)
        else:
            # False: an admin gave the login another password meanwhile, which must stay.
            if replaced:
                self._log.info("hash_replaced", login=accepted.login)

    def _failed(self, accepted: Accepted, detail: str) -> None:
        self._log.warning("hash_not_replaced", login=accepted.login, detail=detail)
