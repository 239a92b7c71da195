"""The interface's rules for a message's header and its agreement with the envelope, judged field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.interface.addresses import parse_addresses
from digipoort.interface.collector import Collector
from digipoort.interface.fields import MAX_SHOWN_NAME, field_octets
from digipoort.interface.header_values import auto_submitted_keyword, is_date_time, message_id
from digipoort.reasons import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from digipoort.interface.measures import Measures
    from digipoort.interface.profile import InterfaceProfile

# Their values are judged when the header is complete; of all others only what is found in passing is kept.
_KEPT: Final = frozenset({"from", "sender", "reply-to", "to", "cc", "date", "message-id", "auto-submitted"})
# RFC 8098 section 2.1, and what mailers wrote before it or beside it.
_RECEIPT_REQUESTS: Final = frozenset(
    {
        "disposition-notification-to",
        "disposition-notification-options",
        "return-receipt-to",
        "return-receipt-requested",
        "read-receipt-to",
        "x-confirm-reading-to",
        "x-acknowledge-to",
    }
)
_MAILBOX_LINE: Final = "x-mailbox-line"
_RESENT: Final = "resent-"


class HeaderRules:
    """Judges one message's header; `sender` and `recipients` are normalised envelope addresses."""

    def __init__(self, profile: InterfaceProfile, sender: str, recipients: Sequence[str]) -> None:
        """Start before the first field."""
        self._profile = profile
        self._sender = sender
        self._recipients = recipients
        self._counts: dict[str, int] = {}
        self._values: dict[str, list[bytes]] = {}
        self._octets = 0
        self._passing = Collector()

    def add(self, key: str, name: str, value: bytes) -> None:
        """Take the next field, whose bare name in lower case is `key`.

        What lies beyond the profile's header limit is not looked at.
        """
        octets = field_octets(name, value)
        self._octets += octets
        if not self._complete():
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        if key in _KEPT:
            self._values.setdefault(key, []).append(value)
        shown, limit = name[:MAX_SHOWN_NAME], self._profile.max_field_octets
        if octets > limit:
            self._passing.find(reasons.FIELD_TOO_LARGE, header=shown, limit=str(limit))
        if not value.isascii():
            self._passing.find(reasons.HEADER_NOT_ASCII, header=shown)
        if key in _RECEIPT_REQUESTS:
            self._passing.find(reasons.RECEIPT_REQUESTED, header=name)
        elif key.startswith(_RESENT):
            self._passing.find(reasons.RESENT_PRESENT, header=shown)
        elif key == "bcc":
            self._passing.find(reasons.BCC_PRESENT)
        elif key == _MAILBOX_LINE:
            self._passing.find(reasons.MAILBOX_LINE)

    def findings(self, measures: Measures) -> list[Finding]:
        """Return what is wrong, after the last field; `measures` are those of the message as it came in."""
        judged = [*self._counted(), *self._addressed(), *self._valued()] if self._complete() else []
        return [*judged, *self._passing.findings, *self._sized(measures)]

    def _complete(self) -> bool:
        # Of a header that is too large nothing can be said to be absent.
        return self._octets <= self._profile.max_header_octets + self._profile.max_field_octets

    def _counted(self) -> Iterator[Finding]:
        for name in self._profile.required_headers:
            if name.lower() not in self._counts:
                yield Finding(reasons.HEADER_MISSING, {"header": name})
        for name in self._profile.single_headers:
            if self._counts.get(name.lower(), 0) > 1:
                yield Finding(reasons.HEADER_REPEATED, {"header": name})

    def _addressed(self) -> Iterator[Finding]:
        for name, reason in (("from", reasons.FROM_NOT_SENDER), ("sender", reasons.SENDER_HEADER_DIFFERS)):
            lists = [parse_addresses(value) for value in self._values.get(name, [])]
            if any(not addresses.plain or addresses.mailboxes != (self._sender,) for addresses in lists):
                yield Finding(reason)
        replies = [parse_addresses(value) for value in self._values.get("reply-to", [])]
        if not all(one.plain and one.mailboxes and all(map(self._is_near, one.mailboxes)) for one in replies):
            yield Finding(reasons.REPLY_TO_ELSEWHERE)
        values = [*self._values.get("to", []), *self._values.get("cc", [])]
        named = {mailbox for value in values for mailbox in parse_addresses(value).mailboxes}
        if not all(recipient in named for recipient in self._recipients):
            yield Finding(reasons.RECIPIENT_NOT_IN_HEADER)

    def _is_near(self, mailbox: str) -> bool:
        return mailbox.rpartition("@")[2] == self._sender.rpartition("@")[2]

    def _valued(self) -> Iterator[Finding]:
        if not all(map(is_date_time, self._values.get("date", []))):
            yield Finding(reasons.DATE_INVALID)
        if not all(map(message_id, self._values.get("message-id", []))):
            yield Finding(reasons.MESSAGE_ID_INVALID)
        for keyword in map(auto_submitted_keyword, self._values.get("auto-submitted", [])):
            if keyword not in self._profile.auto_submitted:
                yield Finding(reasons.AUTOMATIC_MESSAGE, {"keyword": keyword})

    def _sized(self, measures: Measures) -> Iterator[Finding]:
        profile = self._profile
        if measures.header_octets > profile.max_header_octets:
            yield Finding(reasons.HEADER_TOO_LARGE, {"limit": str(profile.max_header_octets)})
        if measures.fields > profile.max_header_fields:
            yield Finding(reasons.TOO_MANY_FIELDS, {"limit": str(profile.max_header_fields)})
        if measures.received > profile.max_received:
            yield Finding(reasons.TOO_MANY_HOPS, {"limit": str(profile.max_received)})
