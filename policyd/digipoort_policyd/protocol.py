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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.framing import RequestMalformed, parse_attributes

if TYPE_CHECKING:
    from digipoort.reasons import Finding

END_OF_REQUEST: Final = b"\n\n"
# The end included.
MAX_REQUEST_OCTETS: Final = 64 * 1024
CONTEXTS: Final = {b"submission": "submission", b"acceptance": "acceptance"}
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
        raise RequestMalformed("The attribute policy_context is neither submission nor acceptance.")
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
    )


def _size(value: bytes) -> int:
    if not value:
        return 0
    if not value.isdigit() or len(value) > _MAX_SIZE_DIGITS:
        raise RequestMalformed("The attribute size is not a number of octets.")
    return int(value)


def format_reply(finding: Finding | None) -> bytes:
    """Return the reply to a request: a refusal, or DUNNO, so that Postfix's own restrictions still apply after it."""
    action = "DUNNO" if finding is None else finding.reply()
    return f"action={action}\n\n".encode("ascii")
