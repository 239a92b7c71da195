"""What a role decides about a message, as data: decisions are tested without Postfix and applied in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digipoort.interface.fields import HeaderField
    from digipoort.reasons import Finding


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add a header below the others; `value` without the space after the colon."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """Give a name's `index`-th header (from 1, whatever the name's case) another value; an empty value removes it."""

    name: str
    index: int
    value: str = ""


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """Give the envelope the sender again with ESMTP parameters, e.g. `ENVID=E1 RET=HDRS`; `address` as in MAIL FROM."""

    address: str
    parameters: str


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """Put other octets, in CRLF form, in the body's place."""

    content: bytes


Change: TypeAlias = AddHeader | ChangeHeader | ChangeSender | ReplaceBody


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer at end of message: without findings the changes are made and the message is accepted.

    With findings nothing is changed, and the first decides between a temporary and a permanent refusal.
    """

    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()


def removals(name: str, count: int) -> list[Change]:
    """Return the changes that remove all `count` headers of a name, the last first: a removal renumbers the rest."""
    return [ChangeHeader(name, index) for index in range(count, 0, -1)]


def sole_header(fields: Sequence[HeaderField], name: str, value: str) -> list[Change]:
    """Return the changes after which the header `name` occurs once, with this value."""
    count = sum(field.name.lower() == name.lower() for field in fields)
    if count == 0:
        return [AddHeader(name, value)]
    return [*removals(name, count)[:-1], ChangeHeader(name, 1, value)]
