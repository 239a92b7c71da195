"""The decision whether a login is accepted; the directory and the password hash are asked through functions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from digipoort import access

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from digipoort_auth.protocol import LookupRequest, VerifyRequest

# What Dovecot calls a service, and what a credential calls it. A service that is not named here is denied to everyone.
SERVICES: Final = {b"pop3": "pop3", b"smtp": "submission"}
# The directory's own constraints: what does not match cannot be in it.
_LOGIN: Final = re.compile(rb"[a-z0-9][a-z0-9._@-]{0,127}")
_MAILBOX: Final = re.compile(rb"[a-z0-9]{4,32}")


class Refusal(StrEnum):
    """Why a login is refused: for the admin's log only, a client is never told which it is."""

    NOT_ENCRYPTED = "not-encrypted"
    SERVICE_DENIED = "service-denied"
    UNKNOWN_LOGIN = "unknown-login"
    INACTIVE = "inactive"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    NETWORK_DENIED = "network-denied"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 - a reason
    # Not looked at: the network had this very password refused for this login and service a moment ago.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Credential:
    """What the directory has about a login.

    `active` is false too when its party is not; `begun` and `ended` tell of its period; `networks` are where its
    clients may be, anywhere when there are none.
    """

    password_hash: str = field(repr=False)
    services: tuple[str, ...]
    active: bool
    mailbox: str | None
    begun: bool = True
    ended: bool = False
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The login is who it says; `mailbox` is None for a credential that only submits."""

    login: str
    mailbox: str | None
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What a name without a password stands for: a mailbox, or None for a login that only submits."""

    mailbox: str | None


Find: TypeAlias = "Callable[[str], Awaitable[Credential | None]]"
FindName: TypeAlias = "Callable[[str], Awaitable[Found | None]]"
Verify: TypeAlias = "Callable[[str, bytes], Awaitable[bool]]"


def objection(service: str | None, client: bytes, credential: Credential | None) -> Refusal | None:
    """Return why a login is refused whatever its password is; None when the password decides."""
    if service is None:
        return Refusal.SERVICE_DENIED
    if credential is None:
        return Refusal.UNKNOWN_LOGIN
    grounds = (
        (not credential.active, Refusal.INACTIVE),
        (not credential.begun, Refusal.NOT_YET_VALID),
        (credential.ended, Refusal.EXPIRED),
        (service not in credential.services, Refusal.SERVICE_DENIED),
        (not access.admits(credential.networks, client), Refusal.NETWORK_DENIED),
    )
    return next((refusal for applies, refusal in grounds if applies), None)


async def authenticate(request: VerifyRequest, find: Find, verify: Verify, decoy: str) -> Accepted | Refusal:
    """Return the verdict on one login; logins are compared in lower case (ASCII).

    `find` gets a login's credential, `verify` compares a hash and a password. A login that is refused anyway costs a
    comparison with the hash `decoy` too, so that the time does not tell whether a login exists. Raises what the two
    functions raise; then there is no verdict.
    """
    if not request.secured:
        # Before anything else: that password was in the clear, and must not be worth anything to who reads along.
        return Refusal.NOT_ENCRYPTED
    service = SERVICES.get(request.service)
    login = request.login.lower()
    credential = await find(login.decode()) if service is not None and _LOGIN.fullmatch(login) else None
    refusal = objection(service, request.client, credential)
    if credential is None or refusal is not None:
        await verify(decoy, request.password)
        return refusal or Refusal.UNKNOWN_LOGIN
    if not await verify(credential.password_hash, request.password):
        return Refusal.WRONG_PASSWORD
    return Accepted(login.decode(), credential.mailbox, credential.password_hash)


async def look_up(
    request: LookupRequest, find_login: FindName, find_mailbox: FindName, mailbox_domain: bytes
) -> Found | None:
    """Return what a name stands for: a login, or a mailbox as `ID@mailbox_domain`. Raises what the functions raise."""
    name = request.login.lower()
    mailbox, _, domain = name.rpartition(b"@")
    if domain == mailbox_domain and _MAILBOX.fullmatch(mailbox):
        return await find_mailbox(mailbox.decode())
    return await find_login(name.decode()) if _LOGIN.fullmatch(name) else None
