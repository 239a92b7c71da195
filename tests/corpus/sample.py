"""What a sample of the corpus is: octets for the wire, and the verdict that they must get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

# A receipt shows at most this many findings.
MAX_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom: logical addresses."""

    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Case:
    """One message for whatever flow: `raw` in wire form (CRLF, before dot-stuffing), `expected` the codes it violates.

    `in_session` tells that Postfix itself refuses it in the SMTP session.
    """

    name: str
    raw: bytes
    expected: tuple[str, ...] = ()
    in_session: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """A case on a flow; `flow` is the key of its government address in the sandbox's environment, e.g. AGS_ADDRESS."""

    name: str
    raw: bytes
    flow: str
    expected: tuple[str, ...]
    in_session: bool


def judged(name: str, raw: bytes, *numbers: int) -> Case:
    """Return a case that violates the checks with these numbers, e.g. 3001; without numbers it must be accepted."""
    return Case(name, raw, tuple(f"DGP-{number}" for number in sorted(numbers)))


def refused_in_session(name: str, raw: bytes, number: int) -> Case:
    """Return a case that Postfix refuses in the session, for the reason with this number."""
    return Case(name, raw, (f"DGP-{number}",), in_session=True)


def agrees(shown: Collection[str], expected: Collection[str]) -> bool:
    """Tell whether the codes that were shown are those expected: all of them, or any ten when there are more."""
    codes = set(shown)
    return codes <= set(expected) and len(codes) == min(len(set(expected)), MAX_SHOWN)
