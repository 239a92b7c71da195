"""What the directory holds, as it travels from the CLI and the seed file to the store; the schema checks the values."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from digipoort.resubmission import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

# Our own choice: what a flow gets when nothing is said. No published interface specification prescribes a number.
DEFAULT_SIZE_LIMIT: Final = 10 * 1024 * 1024
_MAILBOX_ID_OCTETS: Final = 8


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation; `kind` is private or government."""

    code: str
    name: str
    kind: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class Flow:
    """A message flow, owned by the government party with the code `owner`; `size_limit` in octets.

    `resubmission` is a value of resubmission.Policy.
    """

    code: str
    name: str
    owner: str
    size_limit: int = DEFAULT_SIZE_LIMIT
    interface: Mapping[str, Any] = field(default_factory=dict)
    resubmission: str = Policy.TELL.value


@dataclass(frozen=True, slots=True)
class Destination:
    """How mail reaches a physical domain: Postfix's nexthop, TLS policy, and delivery transport (master.cf)."""

    domain: str
    nexthop: str
    tls_level: str = "secure"
    tls_match: str | None = None
    transport: str = "smtp"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox of the party with the code `party`, read over POP3."""

    mailbox: str
    party: str


@dataclass(frozen=True, slots=True)
class Remote:
    """A physical address `local_part@domain` at an agency; its domain is a destination's."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.local_part}@{self.domain}"


@dataclass(frozen=True, slots=True)
class Address:
    """A logical address; `flow` is its only flow for a government party, None for a private one.

    `target` is a mailbox's id, or a remote address, which is made when the directory does not hold it yet.
    """

    address: str
    party: str
    flow: str | None
    target: str | Remote


@dataclass(frozen=True, slots=True)
class FlowConnection:
    """A private address takes part in a flow from one day until another, both included; None: until further notice."""

    address: str
    flow: str
    valid_from: date
    valid_until: date | None = None


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that is not hashed yet: whether a stored hash is its own can only be told from it."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A login, the services it may use (pop3, submission) and the id of the mailbox it opens; `password`: its hash.

    `networks` (as access.parse_network spells them) are where its clients may be, anywhere when there are none; it is
    good from `valid_from` until `valid_until`, both included. A session that submits needs the certificate that has
    the fingerprint and the subject (common name) that are set; `certificate_suffices`: it needs no password then.
    """

    login: str
    party: str
    password: str | NewPassword = field(repr=False)
    services: tuple[str, ...]
    mailbox: str | None = None
    active: bool = True
    certificate_fingerprint: str | None = None
    certificate_subject: str | None = None
    certificate_suffices: bool = False
    valid_from: date | None = None
    valid_until: date | None = None
    networks: tuple[str, ...] = ()


DirectoryObject = Party | Flow | Destination | Mailbox | Address | FlowConnection | Credential
# Each kind's name, in the order in which objects can refer to each other.
KINDS: Final[Mapping[type[DirectoryObject], str]] = {
    Party: "party",
    Flow: "flow",
    Destination: "destination",
    Mailbox: "mailbox",
    Address: "address",
    FlowConnection: "connection",
    Credential: "credential",
}


def key_of(item: DirectoryObject) -> tuple[str, ...]:
    """Return an object's kind and natural key."""
    match item:
        case Party() | Flow():
            names: tuple[str, ...] = (item.code,)
        case Destination():
            names = (item.domain,)
        case Mailbox():
            names = (item.mailbox,)
        case Address():
            names = (item.address,)
        case FlowConnection():
            names = (item.address, item.flow, item.valid_from.isoformat())
        case Credential():
            names = (item.login,)
    return (KINDS[type(item)], *names)


def new_mailbox_id() -> str:
    """Return an id for a new mailbox that was never given before: 16 hexadecimal digits, 64 random bits."""
    return secrets.token_hex(_MAILBOX_ID_OCTETS)


def parse_remote(text: str) -> Remote | None:
    """Return the physical address that `user@domain` names, in lower case, or None when it is not of that form."""
    local_part, at, domain = text.lower().rpartition("@")
    return Remote(local_part, domain) if at and local_part and domain else None
