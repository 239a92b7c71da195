"""The interface's rules for a message's header and its agreement with the envelope, over fields already received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.reasons import Finding
from digipoort_milter.addresses import parse_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digipoort.profiles import InterfaceProfile
    from digipoort_milter.message import HeaderField

# Postfix cuts one field at about 60,000 octets without a word: what is near that may have lost its end. No setting.
MAX_FIELD_OCTETS: Final = 50_000


def header_findings(
    fields: Sequence[HeaderField], sender: str, recipients: Sequence[str], profile: InterfaceProfile
) -> list[Finding]:
    """Return what is wrong with the header; `sender` and `recipients` are normalised envelope addresses."""
    by_name: dict[str, list[bytes]] = {}
    for field in fields:
        by_name.setdefault(field.name.lower(), []).append(field.value)
    return [
        *_required(by_name, profile),
        *_sender(by_name.get("from", []), sender),
        *_recipients([*by_name.get("to", []), *by_name.get("cc", [])], recipients),
        *([Finding(reasons.BCC_PRESENT)] if "bcc" in by_name else []),
        *_octets(fields, profile),
    ]


def _required(by_name: dict[str, list[bytes]], profile: InterfaceProfile) -> list[Finding]:
    findings = []
    for name in profile.required_headers:
        count = len(by_name.get(name.lower(), []))
        if count == 0:
            findings.append(Finding(reasons.HEADER_MISSING, {"header": name}))
        elif count > 1:
            findings.append(Finding(reasons.HEADER_REPEATED, {"header": name}))
    return findings


def _sender(values: Sequence[bytes], sender: str) -> list[Finding]:
    """Every From must be the sender and nothing else; an absent one is the required headers' concern."""
    for value in values:
        addresses = parse_addresses(value)
        if not addresses.plain or addresses.mailboxes != (sender,):
            return [Finding(reasons.FROM_NOT_SENDER)]
    return []


def _recipients(values: Sequence[bytes], recipients: Sequence[str]) -> list[Finding]:
    named = {mailbox for value in values for mailbox in parse_addresses(value).mailboxes}
    return [] if all(recipient in named for recipient in recipients) else [Finding(reasons.RECIPIENT_NOT_IN_HEADER)]


def _octets(fields: Sequence[HeaderField], profile: InterfaceProfile) -> list[Finding]:
    findings = []
    if any(len(field.value) > MAX_FIELD_OCTETS for field in fields):
        findings.append(Finding(reasons.HEADER_TOO_LARGE, {"limit": str(MAX_FIELD_OCTETS)}))
    texts = [field.value.replace(b"\r\n", b"\n") for field in fields]
    for field, text in zip(fields, texts, strict=True):
        name_octets = len(field.name) + 1
        lines = text.split(b"\n")
        if name_octets + len(lines[0]) > profile.max_line_octets or max(map(len, lines)) > profile.max_line_octets:
            findings.append(Finding(reasons.LINE_TOO_LONG, {"limit": str(profile.max_line_octets)}))
            break
    if any(b"\r" in text or b"\0" in text for text in texts):
        findings.append(Finding(reasons.BODY_OCTET_FORBIDDEN))
    return findings
