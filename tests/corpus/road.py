"""Sends samples through a running gateway, octet by octet as they are, and collects everything that comes of each."""

from __future__ import annotations

import email
import re
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from tests.corpus.wire import CRLF

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Iterable, Mapping, Sequence
    from email.message import Message

    from tests.corpus.sample import Sample
    from tests.integration.gateway import Gateway
    from tests.sandbox.clients import Account

_SESSIONS: Final = 4
_WAIT_SECONDS: Final = 90.0
_PREFIX: Final = "corpus-"
_CODE = re.compile(r"DGP-\d{4}")
_TOLD = re.compile(r"^ *- (DGP-\d{4}):", re.MULTILINE)
_REFERENCE = re.compile(rb"^X-Digipoort-Reference: (\S+)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reply:
    """The last reply of the session on one message."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt: the codes that its Diagnostic-Code has for software, and those that its text tells to people."""

    envelope_id: str
    reference: bytes
    action: str
    codes: frozenset[str]
    told: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that came of one sample; `copies` are those that the agency got, in wire form."""

    reply: Reply
    receipts: tuple[Receipt, ...]
    copies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Journey:
    """What came of every sample, by its name, and the references of receipts and copies that belong to none."""

    outcomes: Mapping[str, Outcome]
    strays: tuple[bytes, ...]


def travel(gateway: Gateway, account: Account, samples: Sequence[Sample]) -> Journey:
    """Submit all samples, wait until nothing is on its way, and match receipts and copies with them.

    A sample is known by its ENVID, on which its receipts come back; a copy by the reference that a receipt tells.
    """
    maildir = Path(gateway.env["AGENCY_MAILDIR"], "new")
    # What earlier tests left is not ours.
    gateway.wait_for(gateway.queue_is_empty, "an empty queue")
    gateway.fetch(account)
    before = set(maildir.iterdir())
    numbered = {f"{_PREFIX}{number}": sample for number, sample in enumerate(samples)}
    replies = _submit_all(gateway, account, list(numbered.items()))
    receipts = _receipts(gateway, account, sum(reply.code == 250 for reply in replies.values()))
    copies: dict[bytes, list[bytes]] = defaultdict(list)
    for path in set(maildir.iterdir()) - before:
        content = path.read_bytes()
        copies[_reference(content)].append(content)
    outcomes = {}
    for envelope_id, sample in numbered.items():
        own = tuple(receipts.pop(envelope_id, ()))
        delivered = [copy for reference in {one.reference for one in own} for copy in copies.pop(reference, ())]
        outcomes[sample.name] = Outcome(replies[envelope_id], own, tuple(delivered))
    return Journey(outcomes, (*(one.reference for ones in receipts.values() for one in ones), *copies))


def _submit_all(gateway: Gateway, account: Account, numbered: Sequence[tuple[str, Sample]]) -> dict[str, Reply]:
    shares = [numbered[share::_SESSIONS] for share in range(_SESSIONS)]
    with ThreadPoolExecutor(_SESSIONS) as pool:
        return {name: reply for replies in pool.map(lambda share: _submit(gateway, account, share), shares)
                for name, reply in replies.items()}  # fmt: skip


def _submit(gateway: Gateway, account: Account, numbered: Iterable[tuple[str, Sample]]) -> dict[str, Reply]:
    """Submit in one session, or in a new one after each message that is refused: smtpd may have hung up."""
    replies = {}
    session = gateway.smtp(login=account)
    for envelope_id, sample in numbered:
        replies[envelope_id] = _submit_one(session, account.address, envelope_id, sample, gateway.env[sample.flow])
        if replies[envelope_id].code != 250:
            session.close()
            session = gateway.smtp(login=account)
    session.quit()
    return replies


def _submit_one(session: smtplib.SMTP, sender: str, envelope_id: str, sample: Sample, recipient: str) -> Reply:
    for command in (f"MAIL FROM:<{sender}> BODY=8BITMIME ENVID={envelope_id}", f"RCPT TO:<{recipient}>", "DATA"):
        code, text = session.docmd(command)
        if code not in {250, 354}:
            return Reply(code, text.decode(errors="replace"))
    session.send((CRLF + sample.raw).replace(b"\r\n.", b"\r\n..").removeprefix(CRLF) + b".\r\n")
    code, text = session.getreply()
    return Reply(code, text.decode(errors="replace"))


def _receipts(gateway: Gateway, account: Account, expected: int) -> dict[str, list[Receipt]]:
    """Fetch until as many receipts are there as messages were taken, then until the queue is empty."""
    found: dict[str, list[Receipt]] = defaultdict(list)
    deadline = time.monotonic() + _WAIT_SECONDS
    complete = False
    while not complete and time.monotonic() < deadline:
        complete = sum(map(len, found.values())) >= expected and gateway.queue_is_empty()
        for raw in gateway.fetch(account):
            receipt = _read(raw)
            found[receipt.envelope_id].append(receipt)
        time.sleep(0.2)
    return found


def _read(raw: bytes) -> Receipt:
    """Return what a receipt says; a minimal one tells no ENVID."""
    # The lenient reader of the standard library: samples are enclosed in receipts.
    message = email.message_from_bytes(raw)
    if not message.is_multipart():
        return Receipt("", _reference(raw), "minimal", frozenset(), frozenset())
    text, status = cast("list[Message]", message.get_payload())[:2]
    groups = cast("list[Message]", status.get_payload())
    fields = {name.lower(): value for group in groups for name, value in group.items()}
    told = _TOLD.findall(cast("bytes", text.get_payload(decode=True)).decode())
    return Receipt(
        envelope_id=fields.get("original-envelope-id", ""),
        reference=_reference(raw),
        action=fields["action"],
        codes=frozenset(_CODE.findall(fields.get("diagnostic-code", ""))),
        told=frozenset(told),
    )


def _reference(raw: bytes) -> bytes:
    match = _REFERENCE.search(raw)
    return match[1] if match else b"none"
