"""The Postfix policy delegation protocol (SMTPD_POLICY_README), without any decision.

::

    request    = 1*( name "=" value LF ) LF
    name       = 1*( %x01-09 / %x0B-3C / %x3E-FF )
    value      = *( any octet but NUL and LF )
    reply      = "action=" action LF LF         ; action: access(5)

Strict where two readers could differ: a CR is an octet of the value, not part of a line's end. Lenient where that is
harmless: unknown attributes are passed over, and of an attribute that occurs twice the last one counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.decision import Certificate
from digipoort.framing import RequestMalformed, parse_attributes

if TYPE_CHECKING:
    from digipoort.reasons import Finding

END_OF_REQUEST: Final = b"\n\n"
# The end included.
MAX_REQUEST_OCTETS: Final = 64 * 1024
# `certificate`: whether a session without a login may go on to the question of `submission`.
CONTEXTS: Final = {b"submission": "submission", b"acceptance": "acceptance", b"certificate": "certificate"}
# xtext (RFC 3461 section 4) as Postfix writes it: it leaves "=" as it is.
_XTEXT: Final = re.compile(rb"(?:[!-*,-~]|\+[0-9A-F]{2})*")
_XTEXT_OCTET: Final = re.compile(rb"\+([0-9A-F]{2})")
# 2^63 - 1 has 19 digits; no message is larger, and int() on a longer run would only burn time.
_MAX_SIZE_DIGITS: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """The attributes of one request that the gateway uses; what Postfix left empty or out is empty here."""

    context: str
    sender: bytes
    recipient: bytes
    size: int
    sasl_username: bytes
    encryption_protocol: bytes
    queue_id: bytes
    instance: bytes
    client_address: bytes
    certificate: Certificate


def parse_request(block: bytes) -> PolicyRequest:
    """Return the request in `block`, its final LF LF included.

    Raises RequestMalformed for what Postfix would not send, and for a request that is not about a recipient:
    authorisation is decided at RCPT TO, so a question at another moment means that master.cf is wrong, which must show.
    """
    attributes = parse_attributes(block)
    if attributes.get(b"request") != b"smtpd_access_policy":
        raise RequestMalformed("The attribute request is not smtpd_access_policy.")
    context = CONTEXTS.get(attributes.get(b"policy_context", b""))
    if context is None:
        raise RequestMalformed("The attribute policy_context is none of submission, acceptance and certificate.")
    if attributes.get(b"protocol_state") != b"RCPT":
        raise RequestMalformed("The attribute protocol_state is not RCPT.")
    if b"sender" not in attributes or not attributes.get(b"recipient"):
        raise RequestMalformed("The attributes sender and recipient are not both given.")
    return PolicyRequest(
        context=context,
        sender=attributes[b"sender"],
        recipient=attributes[b"recipient"],
        size=_size(attributes.get(b"size", b"")),
        sasl_username=attributes.get(b"sasl_username", b""),
        encryption_protocol=attributes.get(b"encryption_protocol", b""),
        queue_id=attributes.get(b"queue_id", b""),
        instance=attributes.get(b"instance", b""),
        client_address=attributes.get(b"client_address", b""),
        certificate=Certificate(
            attributes.get(b"ccert_fingerprint", b""), _unquoted(attributes.get(b"ccert_subject", b""))
        ),
    )


def _unquoted(subject: bytes) -> bytes:
    """Return a common name out of its xtext, or nothing, as without one, for what Postfix would not write."""
    if not _XTEXT.fullmatch(subject):
        return b""
    return _XTEXT_OCTET.sub(lambda octet: bytes.fromhex(octet[1].decode("ascii")), subject)


def _size(value: bytes) -> int:
    if not value:
        return 0
    if not value.isdigit() or len(value) > _MAX_SIZE_DIGITS:
        raise RequestMalformed("The attribute size is not a number of octets.")
    return int(value)


def format_reply(finding: Finding | None, *, known: bool = False) -> bytes:
    """Return the reply to a request: a refusal, or DUNNO, so that Postfix's own restrictions still apply after it.

    `known` is for the context `certificate` only, where OK ends one list of restrictions and not the recipient's.
    """
    action = finding.reply() if finding else "OK" if known else "DUNNO"
    return f"action={action}\n\n".encode("ascii")
