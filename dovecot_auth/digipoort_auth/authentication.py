"""The decision whether a login is accepted; the directory and the password hash are asked through functions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from digipoort_auth.protocol import AuthRequest

# What Dovecot calls a service, and what a credential calls it. A service that is not named here is denied to everyone.
SERVICES: Final = {b"pop3": "pop3", b"smtp": "submission"}
# The directory's own constraint on a login: what does not match cannot be in it.
_LOGIN: Final = re.compile(rb"[a-z0-9][a-z0-9._@-]{0,127}")


class Refusal(StrEnum):
    """Why a login is refused: for the admin's log only, a client is never told which it is."""

    SERVICE_DENIED = "service-denied"
    UNKNOWN_LOGIN = "unknown-login"
    INACTIVE = "inactive"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 - a reason


@dataclass(frozen=True, slots=True)
class Credential:
    """What the directory has about a login: `active` is false too when its party is not."""

    password_hash: str = field(repr=False)
    services: tuple[str, ...]
    active: bool
    mailbox: str | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The login is who it says; `mailbox` is None for a credential that only submits."""

    login: str
    mailbox: str | None


Find: TypeAlias = "Callable[[str], Awaitable[Credential | None]]"
Verify: TypeAlias = "Callable[[str, bytes], Awaitable[bool]]"


def objection(service: str | None, credential: Credential | None) -> Refusal | None:
    """Return why a login is refused whatever its password is; None when the password decides."""
    if service is None:
        return Refusal.SERVICE_DENIED
    if credential is None:
        return Refusal.UNKNOWN_LOGIN
    if not credential.active:
        return Refusal.INACTIVE
    return None if service in credential.services else Refusal.SERVICE_DENIED


async def authenticate(request: AuthRequest, find: Find, verify: Verify, decoy: str) -> Accepted | Refusal:
    """Return the verdict on one login; logins are compared in lower case (ASCII).

    `find` gets a login's credential, `verify` compares a hash and a password. A login that is refused anyway costs a
    comparison with the hash `decoy` too, so that the time does not tell whether a login exists. Raises what the two
    functions raise; then there is no verdict.
    """
    service = SERVICES.get(request.service)
    login = request.login.lower()
    credential = await find(login.decode()) if service is not None and _LOGIN.fullmatch(login) else None
    refusal = objection(service, credential)
    if credential is None or refusal is not None:
        await verify(decoy, request.password)
        return refusal or Refusal.UNKNOWN_LOGIN
    if not await verify(credential.password_hash, request.password):
        return Refusal.WRONG_PASSWORD
    return Accepted(login.decode(), credential.mailbox)
