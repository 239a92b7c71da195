"""What acceptance and receipts ask the policy daemon about earlier submissions, in the octets that both ends share.

A submission is known by its sender's party, its Message-ID and its recipient; the digest of its body tells whether what
comes later under that name is the same message. The protocol has the form of Postfix's own (SMTPD_POLICY_README)::

    question = "request=" ( "claim" / "recall" / "release" ) LF
               "reference=" reference LF "sender=" address LF "recipient=" address LF
               "message_id=" msg-id LF "digest=" 64HEXDIG LF LF
    answer   = "standing=" ( "first" / "repeated" / "reused" ) LF [ "earlier=" reference LF ] LF
             / "reason=" code LF LF                 ; no answer: a temporary reason of the catalogue

`claim` asks whether the message is the first of its name and remembers it if so, `recall` only asks, `release` forgets
the message if it is the one remembered. Each may be repeated without harm: the same reference is the same submission.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from digipoort.framing import RequestMalformed, parse_attributes
from digipoort.references import is_reference

END_OF_BLOCK: Final = b"\n\n"
# A Message-ID is a header field of at most about 60,000 octets; the end included.
MAX_BLOCK_OCTETS: Final = 128 * 1024
_VALUE = re.compile(rb"[!-~]+")
_DIGEST = re.compile(rb"[0-9a-f]{64}")


class Policy(enum.StrEnum):
    """What a flow does with a resubmission: take it like any other, refuse it, or take it and say so on the receipt."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    TELL = "tell"


class Request(enum.StrEnum):
    """What is asked."""

    CLAIM = "claim"
    RECALL = "recall"
    RELEASE = "release"


class Standing(enum.StrEnum):
    """What a message is to those before it: the first, the same once more, or another under the name of an earlier."""

    FIRST = "first"
    REPEATED = "repeated"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class Submitted:
    """One message for one recipient; addresses as the directory spells them, `digest` 64 hexadecimal digits."""

    reference: str
    sender: bytes
    recipient: bytes
    message_id: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Question:
    """A request about one message."""

    request: Request
    message: Submitted


@dataclass(frozen=True, slots=True)
class History:
    """A message's standing; `earlier` is the reference of the one before it, None for the first."""

    standing: Standing
    earlier: str | None = None


class Unanswered(Exception):  # noqa: N818 - what the question is
    """The question has no answer now, and is asked again later; the message is for the admin."""


def format_question(question: Question) -> bytes:
    """Return a question's octets. Raises ValueError for a value that the grammar has no room for."""
    message = question.message
    values = {
        b"request": question.request.value.encode("ascii"),
        b"reference": message.reference.encode("ascii"),
        b"sender": message.sender,
        b"recipient": message.recipient,
        b"message_id": message.message_id,
        b"digest": message.digest.encode("ascii"),
    }
    if not all(map(_VALUE.fullmatch, values.values())):
        raise ValueError("a value of the question is empty, or holds more than printable ASCII")
    return _block(values)


def parse_question(block: bytes) -> Question:
    """Return the question in `block`, its end included. Raises RequestMalformed for what no milter would ask."""
    values = parse_attributes(block)
    try:
        request = Request(values.get(b"request", b"").decode("ascii", "replace"))
    except ValueError:
        raise RequestMalformed("The attribute request is neither claim, recall nor release.") from None
    sender, recipient, message_id = (values.get(name, b"") for name in (b"sender", b"recipient", b"message_id"))
    if not all(map(_VALUE.fullmatch, (sender, recipient, message_id))):
        raise RequestMalformed("The attributes sender, recipient and message_id are not all given.")
    reference, digest = values.get(b"reference", b"").decode("ascii", "replace"), values.get(b"digest", b"")
    if not is_reference(reference) or not _DIGEST.fullmatch(digest):
        raise RequestMalformed("The attributes reference and digest are not both well-formed.")
    return Question(request, Submitted(reference, sender, recipient, message_id, digest.decode("ascii")))


def format_answer(history: History) -> bytes:
    """Return an answer's octets."""
    earlier = {} if history.earlier is None else {b"earlier": history.earlier.encode("ascii")}
    return _block({b"standing": history.standing.value.encode("ascii"), **earlier})


def format_unanswered(code: str) -> bytes:
    """Return the octets that say why there is no answer: the code of a temporary reason."""
    return _block({b"reason": code.encode("ascii")})


def parse_answer(block: bytes) -> History:
    """Return the answer in `block`, its end included. Raises Unanswered when it is none."""
    try:
        values = parse_attributes(block)
    except RequestMalformed as fault:
        raise Unanswered(str(fault)) from fault
    if b"reason" in values:
        raise Unanswered(values[b"reason"].decode("ascii", "replace"))
    earlier = values.get(b"earlier", b"").decode("ascii", "replace")
    try:
        standing = Standing(values.get(b"standing", b"").decode("ascii", "replace"))
    except ValueError:
        raise Unanswered("The answer has no standing.") from None
    if standing is Standing.FIRST:
        return History(standing)
    if not is_reference(earlier):
        raise Unanswered("The answer names no earlier reference.")
    return History(standing, earlier)


def _block(values: dict[bytes, bytes]) -> bytes:
    return b"".join(b"%b=%b\n" % pair for pair in values.items()) + b"\n"
