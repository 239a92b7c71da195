"""Cases for the checks of the header: addresses, dates, identifiers, what may not stand there, and how much."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged
from tests.corpus.wire import (
    MIME_VERSION,
    TEXT,
    basic,
    content_type,
    entity,
    fill_fields,
    header,
    instead,
    joined,
    long_field,
    multipart,
    part,
    plus,
    text_part,
    without,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.corpus.sample import Case, Envelope
    from tests.corpus.wire import Message

MAX_FIELDS: Final = 200
MAX_FIELD_OCTETS: Final = 8_192
MAX_HEADER_OCTETS: Final = 65_536
MAX_RECEIVED: Final = 20
_RECEIPT_REQUESTS: Final = (
    b"Disposition-Notification-To", b"Disposition-Notification-Options", b"Return-Receipt-To",
    b"Return-Receipt-Requested", b"Read-Receipt-To", b"X-Confirm-Reading-To", b"X-Acknowledge-To",
)  # fmt: skip
_GOOD_DATES: Final = {
    "no day name": b"23 Nov 2026 10:00:00 +0100",
    "one digit day": b"Tue, 3 Nov 2026 10:00:00 +0100",
    "no seconds": b"Mon, 23 Nov 2026 10:00 +0100",
    "GMT": b"Mon, 23 Nov 2026 10:00:00 GMT",
    "zone -0000": b"Mon, 23 Nov 2026 10:00:00 -0000",
    "comments": b"Mon, 23 Nov 2026 10:00:00 +0100 (CET (winter))",
    "folded": b"Mon,\r\n 23 Nov 2026\r\n\t10:00:00 +0100",
    "leap day": b"Tue, 29 Feb 2028 23:59:59 +0100",
    "leap second": b"Sat, 31 Dec 2016 23:59:60 +0000",
    "first year": b"Mon, 1 Jan 1900 00:00:00 +0000",
}
_BAD_DATES: Final = {
    "wrong day name": b"Tue, 23 Nov 2026 10:00:00 +0100",
    "year of two digits": b"Mon, 23 Nov 26 10:00:00 +0100",
    "Dutch month": b"Mon, 23 Mrt 2026 10:00:00 +0100",
    "no such day": b"29 Feb 2027 10:00:00 +0100",
    "ISO 8601": b"2026-11-23T10:00:00+01:00",
    "zone by name": b"Mon, 23 Nov 2026 10:00:00 CET",
    "no zone": b"Mon, 23 Nov 2026 10:00:00",
    "hour 24": b"Mon, 23 Nov 2026 24:00:00 +0100",
    "year 1899": b"31 Dec 1899 10:00:00 +0000",
    "empty": b"",
    "something after it": b"Mon, 23 Nov 2026 10:00:00 +0100 x",
}
_GOOD_IDENTIFIERS: Final = {
    "literal": b"<a.1@[10.0.0.1]>",
    "comment": b"<a.1@partij.digipoort.test> (aangifte)",
    "folded": b"\r\n <a.1@partij.digipoort.test>",
    "every atom character": b"<!#$%&'*+-/=?^_`{|}~@partij.digipoort.test>",
}
_BAD_IDENTIFIERS: Final = {
    "no brackets": b"a.1@partij.digipoort.test",
    "no at sign": b"<aangifte>",
    "a space inside": b"<a 1@partij.digipoort.test>",
    "two": b"<a.1@partij.digipoort.test> <a.2@partij.digipoort.test>",
    "quoted": b'<"a 1"@partij.digipoort.test>',
    "two dots": b"<a..1@partij.digipoort.test>",
    "empty": b"",
}


def header_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield the cases of the header's checks."""
    good = basic(envelope)
    yield from chain(
        _required(good, envelope),
        _repeated(good, envelope),
        _senders(good, envelope),
        _recipients(good, envelope),
        _dates(good),
        _identifiers(good),
        _unwanted(good, envelope),
        _counted(good),
        _sizes(good),
        _octets(good),
        _received(good),
        _automatic(good),
        _reports(good),
    )


def _required(good: Message, envelope: Envelope) -> Iterator[Case]:
    yield judged("3001 only what is required", without(good, b"subject").raw())
    for name in (b"From", b"Date", b"Message-ID"):
        yield judged(f"3001 no {name.decode()}", without(good, name.lower()).raw(), 3001)
    copied = plus(without(good, b"to"), f"Cc: {envelope.recipient}".encode())
    yield judged("3001 no To", copied.raw(), 3001)


def _repeated(good: Message, envelope: Envelope) -> Iterator[Case]:
    yield judged("3002 To and Cc twice", plus(good, *[b"To: x@y.test", b"Cc: x@y.test"] * 2).raw())
    sender = envelope.sender.encode()
    for field in (
        b"From: " + sender, b"Date: 23 Nov 2026 10:00:00 +0100", b"Message-ID: <2@y.test>", b"Subject: nogmaals",
    ):  # fmt: skip
        yield judged(f"3002 {field.partition(b':')[0].decode()} twice", plus(good, field).raw(), 3002)
    for field in (b"Sender: " + sender, b"reply-to: " + sender):
        yield judged(f"3002 {field.partition(b':')[0].decode()} twice", plus(good, field, field).raw(), 3002)


def _senders(good: Message, envelope: Envelope) -> Iterator[Case]:
    sender = envelope.sender.encode()
    local, _, domain = sender.partition(b"@")
    for name, value in {
        "name": b'"Bloemen, B.V." <%b>' % sender,
        "comment": b"%b (balie)" % sender,
        "capitals": sender.upper(),
        "needless quotes": b'"%b"@%b' % (local, domain),
        "folded": b"Bloemen\r\n <%b>" % sender,
        "encoded name": b"=?utf-8?q?Bloemen_=C3=A9=C3=A9n?= <%b>" % sender,
    }.items():
        yield judged(f"3003 From with {name}", instead(good, b"From: " + value).raw())
    for name, value in {
        "another address": b"x@y.test",
        "two mailboxes": b"%b, x@y.test" % sender,
        "a group": b"Bloemen: %b;" % sender,
        "nothing": b"",
        "the sender as a name only": b'"%b" <x@y.test>' % sender,
        "an open comment": b"%b (balie" % sender,
    }.items():
        yield judged(f"3003 From is {name}", instead(good, b"From: " + value).raw(), 3003)
    yield judged("3017 Sender is the sender", plus(good, b"Sender: Balie <%b>" % sender).raw())
    yield judged("3017 Sender is another", plus(good, b"Sender: x@y.test").raw(), 3017)
    domain = sender.partition(b"@")[2]
    yield judged("3044 Reply-To is near", plus(good, b"Reply-To: Balie <balie@%b>, %b" % (domain, sender)).raw())
    for name, value in {
        "elsewhere": b"x@y.test",
        "partly": b"%b, x@y.test" % sender,
        "a group": b"x: %b;" % sender,
    }.items():
        yield judged(f"3044 Reply-To is {name}", plus(good, b"Reply-To: " + value).raw(), 3044)
    yield judged("3017 Sender is two", plus(good, b"Sender: %b, x@y.test" % sender).raw(), 3017)


def _recipients(good: Message, envelope: Envelope) -> Iterator[Case]:
    recipient = envelope.recipient.encode()
    elsewhere = instead(good, b"To: x@y.test")
    yield judged("3004 recipient in Cc", plus(elsewhere, b"Cc: x@y.test, Douane <%b>" % recipient).raw())
    yield judged("3004 recipient in a group", instead(good, b"To: Douane: x@y.test, %b;" % recipient).raw())
    yield judged("3004 recipient in capitals", instead(good, b"To: " + recipient.upper()).raw())
    yield judged("3004 recipient nowhere", elsewhere.raw(), 3004)
    yield judged("3004 recipient in a comment", instead(good, b"To: x@y.test (%b)" % recipient).raw(), 3004)
    yield judged("3004 no recipients shown", instead(good, b"To: undisclosed-recipients:;").raw(), 3004)


def _dates(good: Message) -> Iterator[Case]:
    for name, value in _GOOD_DATES.items():
        yield judged(f"3019 {name}", instead(good, b"Date: " + value).raw())
    for name, value in _BAD_DATES.items():
        yield judged(f"3019 {name}", instead(good, b"Date: " + value).raw(), 3019)


def _identifiers(good: Message) -> Iterator[Case]:
    for name, value in _GOOD_IDENTIFIERS.items():
        yield judged(f"3020 {name}", instead(good, b"Message-ID: " + value).raw())
    for name, value in _BAD_IDENTIFIERS.items():
        yield judged(f"3020 {name}", instead(good, b"Message-ID: " + value).raw(), 3020)


def _unwanted(good: Message, envelope: Envelope) -> Iterator[Case]:
    sender = envelope.sender.encode()
    yield judged(
        "3005 3018 3024 names that only resemble",
        plus(good, b"X-Bcc: x@y.test", b"X-Resent-From: x@y.test", b"X-Return-Receipt-To: x@y.test").raw(),
    )
    yield judged("3005 Bcc", plus(good, b"Bcc: x@y.test").raw(), 3005)
    yield judged("3005 empty bcc", plus(good, b"bcc:").raw(), 3005)
    yield judged("3018 Resent-From", plus(good, b"Resent-From: " + sender).raw(), 3018)
    yield judged("3018 resent-message-id", plus(good, b"resent-message-id: <1@y.test>").raw(), 3018)
    for name in _RECEIPT_REQUESTS:
        yield judged(f"3024 {name.decode()}", plus(good, name + b": " + sender).raw(), 3024)
    yield judged("3025 From line in the body", good.raw() + b"From the sender, with regards\r\n")
    for mark in (b"", b">"):
        line = mark + b"From %b Mon Nov 23 10:00:00 2026\r\n" % sender
        yield judged(f"3025 {mark.decode()}From line of a mailbox", line + good.raw(), 3025)


def _counted(good: Message) -> Iterator[Case]:
    for count in (MAX_FIELDS, MAX_FIELDS + 1, MAX_FIELDS + 100):
        raw = plus(good, *(b"X-Veld: %d" % index for index in range(count - len(good.fields)))).raw()
        codes = [3021] if count > MAX_FIELDS else []
        yield judged(f"3021 {count} fields", raw, *codes)


def _sizes(good: Message) -> Iterator[Case]:
    yield judged("3022 field at the limit", plus(good, long_field(b"X-Lang", MAX_FIELD_OCTETS)).raw())
    for octets in (MAX_FIELD_OCTETS + 1, 20_000):
        yield judged(f"3022 field of {octets} octets", plus(good, long_field(b"X-Lang", octets)).raw(), 3022)
    left = MAX_HEADER_OCTETS - len(header(good.fields))
    yield judged("3015 header at the limit", plus(good, *fill_fields(left)).raw())
    for more in (1, 10_000):
        yield judged(f"3015 header {more} octets over", plus(good, *fill_fields(left + more)).raw(), 3015)
    part_left = MAX_HEADER_OCTETS - len(header([TEXT]))
    yield judged("3015 header of a part at the limit", multipart(good, _tall_part(part_left)).raw())
    yield judged("3015 header of a part over", multipart(good, text_part(), _tall_part(part_left + 1)).raw(), 3015)


def _tall_part(filled: int) -> bytes:
    return part([TEXT, *fill_fields(filled)], b"x\r\n")


def _octets(good: Message) -> Iterator[Case]:
    encoded = b"Subject: =?utf-8?b?w6nDqW4=?= =?iso-8859-1?q?=E9=E9n?="
    yield judged("3023 encoded words", instead(good, encoded).raw())
    yield judged("3023 UTF-8 in Subject", instead(good, "Subject: één".encode()).raw(), 3023)
    yield judged("3023 Latin-1 in a field of its own", plus(good, b"X-Naam: \xe9\xe9n").raw(), 3023)
    described = part([TEXT, "Content-Description: één".encode()], b"x\r\n")
    yield judged("3023 UTF-8 in the header of a part", multipart(good, described).raw(), 3023)


def _received(good: Message) -> Iterator[Case]:
    for count in (MAX_RECEIVED, MAX_RECEIVED + 1, MAX_RECEIVED + 10):
        trace = tuple(
            b"Received: from a.test by b.test id %d; Mon, 23 Nov 2026 10:00:00 +0100" % hop for hop in range(count)
        )
        raw = header(trace) + good.raw()
        codes = [3039] if count > MAX_RECEIVED else []
        yield judged(f"3039 {count} hops", raw, *codes)


def _automatic(good: Message) -> Iterator[Case]:
    for value in (b"no", b"No (written by hand)"):
        yield judged(f"3040 {value.decode()}", plus(good, b"Auto-Submitted: " + value).raw())
    for value in (b"auto-generated", b"auto-replied", b"auto-notified; owner-email=x@y.test", b""):
        yield judged(f"3040 {value.decode() or 'empty'}", plus(good, b"Auto-Submitted: " + value).raw(), 3040)


def _reports(good: Message) -> Iterator[Case]:
    status = part([b"Content-Type: message/delivery-status"], b"Reporting-MTA: dns; a.test\r\n")
    body = joined([text_part(), status])
    kinds = {b"; report-type=feedback-report": (), b"": (3041,)} | {
        b"; report-type=" + kind: (3041,) for kind in (b"delivery-status", b'"Disposition-Notification"')
    }
    for parameter, codes in kinds.items():
        raw = entity(good, [content_type(b"report") + parameter], body).raw()
        yield judged(f"3041 multipart/report{parameter.decode()}", raw, *codes)
    report = part([content_type(b"report", b"binnen") + b"; report-type=delivery-status"], joined([status], b"binnen"))
    yield judged("3041 a report inside a mixed", multipart(good, text_part(), report).raw())
    for kind in (b"delivery-status", b"disposition-notification"):
        raw = plus(good, MIME_VERSION, b"Content-Type: message/" + kind).raw()
        yield judged(f"3041 message/{kind.decode()}", raw, 3041)
