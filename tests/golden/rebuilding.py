"""Puts a notification through the receipt role, and makes the changes that Postfix would make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digipoort.interface.fields import HeaderField
from digipoort_milter.outcome import AddHeader, ChangeHeader, Outcome, ReplaceBody
from digipoort_milter.receipt import ReceiptMessage
from tests.milter_samples import MAIN_FIELDS, logger, no_macro, nothing_earlier, settings

if TYPE_CHECKING:
    from digipoort.profiles import Profiles
    from digipoort_milter.resubmission_client import Ask


def rebuild(
    body: bytes,
    fields: tuple[HeaderField, ...] = MAIN_FIELDS,
    profiles: Profiles | None = None,
    ask: Ask = nothing_earlier,
) -> Outcome:
    """Return what the receipt role makes of a notification's body."""
    message = ReceiptMessage(settings(), profiles, ask, logger())
    for name, value in fields:
        message.header(name, value)
    message.body(body)
    return message.finish(no_macro)


def applied(outcome: Outcome, fields: tuple[HeaderField, ...] = MAIN_FIELDS) -> tuple[tuple[HeaderField, ...], bytes]:
    """Return header and body after Postfix made the changes."""
    assert not outcome.findings
    result: list[HeaderField | None] = list(fields)
    body = b""
    for change in outcome.changes:
        if isinstance(change, ReplaceBody):
            body = change.content
        elif isinstance(change, AddHeader):
            result.append(HeaderField(change.name, b" " + change.value.encode("ascii")))
        elif isinstance(change, ChangeHeader):
            places = [
                index for index, field in enumerate(result) if field and field.name.lower() == change.name.lower()
            ]
            place = places[change.index - 1]
            result[place] = HeaderField(change.name, b" " + change.value.encode("ascii")) if change.value else None
    return tuple(field for field in result if field is not None), body


def octets(outcome: Outcome) -> bytes:
    """Return the receipt that MAIN_FIELDS and an outcome make, with CRLF."""
    fields, body = applied(outcome)
    header = b"".join(field.name.encode() + b":" + field.value.replace(b"\n", b"\r\n") + b"\r\n" for field in fields)
    return header + b"\r\n" + body
