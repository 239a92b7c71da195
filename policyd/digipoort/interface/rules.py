"""What each check of the interface looks at, after which document, and with which settings.

The specification for the parties (docs/interface.md) is printed from here and from the catalogue of reasons, so that
what a software vendor reads is what the milter and `digipoort lint` check. A clause that is "own" has no RFC behind it:
it is this gateway's rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort import reasons

if TYPE_CHECKING:
    from digipoort.reasons import Reason

# A property of the flow itself (digipoort flow limit), beside the settings of its interface profile.
SIZE_LIMIT: Final = "size_limit"


@dataclass(frozen=True, slots=True)
class Rule:
    """One check: the reason of its findings, what it demands, by which clauses, and the settings that govern it.

    `demand` is what a message must be, for a software vendor. `settings` are names of InterfaceProfile, or SIZE_LIMIT.
    """

    reason: Reason
    demand: str
    clause: str
    settings: tuple[str, ...] = ()


HEADER: Final = (
    Rule(
        reasons.HEADER_MISSING,
        "every header of the list is there",
        "RFC 5322 §3.6 (From, Date), §3.6.4 (Message-ID); To: own",
        ("required_headers",),
    ),
    Rule(
        reasons.HEADER_REPEATED,
        "every header of the list is there at most once (To and Cc may be repeated)",
        "RFC 5322 §3.6",
        ("single_headers",),
    ),
    Rule(
        reasons.FROM_NOT_SENDER,
        "From is exactly one mailbox, no group, and its address is MAIL FROM's (in any case of letters)",
        "RFC 5322 §3.4, §3.6.2; equality: own",
    ),
    Rule(
        reasons.SENDER_HEADER_DIFFERS,
        "a Sender, if any, is exactly one mailbox, and its address is MAIL FROM's",
        "RFC 5322 §3.6.2; equality: own",
    ),
    Rule(
        reasons.REPLY_TO_ELSEWHERE,
        "a Reply-To, if any, is mailboxes, no group, each in the domain of MAIL FROM",
        "RFC 5322 §3.6.2; domain: own",
    ),
    Rule(
        reasons.RECIPIENT_NOT_IN_HEADER,
        "the recipient of the envelope is a mailbox in To or Cc",
        "RFC 5322 §3.6.3; own",
    ),
    Rule(reasons.BCC_PRESENT, "no Bcc", "RFC 5322 §3.6.3; own"),
    Rule(reasons.RESENT_PRESENT, "no header whose name begins with Resent-", "RFC 5322 §3.6.6; own"),
    Rule(
        reasons.DATE_INVALID,
        "Date is a date-time: day-name (optional, but the right one), day, English month, four-digit year from 1900, "
        "hh:mm or hh:mm:ss, zone +hhmm or -hhmm, or UT or GMT; comments and folds are allowed",
        "RFC 5322 §3.3, §3.6.1, §4.3 (UT, GMT)",
    ),
    Rule(
        reasons.MESSAGE_ID_INVALID,
        "Message-ID is one msg-id, `<left@right>`: dot-atoms, or a literal in brackets on the right",
        "RFC 5322 §3.6.4",
    ),
    Rule(
        reasons.TOO_MANY_FIELDS,
        "no more header fields than this (the gateway's own do not count)",
        "own",
        ("max_header_fields",),
    ),
    Rule(
        reasons.FIELD_TOO_LARGE,
        "no header field longer than this, name, folds and CRLF included",
        "own",
        ("max_field_octets",),
    ),
    Rule(
        reasons.HEADER_TOO_LARGE,
        "the message's header, and the header of each part, is no longer than this",
        "own",
        ("max_header_octets",),
    ),
    Rule(
        reasons.HEADER_NOT_ASCII,
        "headers, those of parts too, are ASCII; other characters are written as encoded words or parameters (there is "
        "no SMTPUTF8)",
        "RFC 5322 §2.2, RFC 2046 §5.1, RFC 2047 §2, RFC 2231 §4",
    ),
    Rule(
        reasons.RECEIPT_REQUESTED,
        "no Disposition-Notification-To or -Options, Return-Receipt-To, Return-Receipt-Requested, Read-Receipt-To, "
        "X-Confirm-Reading-To, X-Acknowledge-To",
        "RFC 8098 §2.1, §2.2 (Disposition-Notification-); own",
    ),
    Rule(
        reasons.MAILBOX_LINE,
        "the first line is a header field, not the `From ` line of a mailbox file; no X-Mailbox-Line either",
        "RFC 5322 §2.2, RFC 4155",
    ),
    Rule(
        reasons.TOO_MANY_HOPS,
        "no more Received headers than this when the message is submitted",
        "RFC 5321 §6.3",
        ("max_received",),
    ),
    Rule(
        reasons.AUTOMATIC_MESSAGE,
        "the keyword of Auto-Submitted, if any, is in the list",
        "RFC 3834 §5; own",
        ("auto_submitted",),
    ),
    Rule(
        reasons.REPORT_SUBMITTED,
        "the message is no report: not multipart/report for delivery-status or disposition-notification or without "
        "report-type, nor message/delivery-status, message/disposition-notification",
        "RFC 6522 §3, RFC 3464 §2.1, RFC 8098 §3.1; own",
    ),
)

OCTETS: Final = (
    Rule(
        reasons.LINE_TOO_LONG,
        "no line, of header or body, longer than this without its CRLF",
        "RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6",
        ("max_line_octets",),
    ),
    Rule(
        reasons.BODY_OCTET_FORBIDDEN,
        "no NUL, and CR and LF only together. NUL and a bare LF are refused in the session already",
        "RFC 5322 §2.3, RFC 5321 §2.3.8, RFC 2045 §2.7, §2.8",
    ),
    Rule(
        reasons.EIGHT_BIT_UNDECLARED,
        "octets above 127 only in a part that declares 8bit; before the first and after the last part only when the "
        "multipart declares it",
        "RFC 2045 §2.7, §6.1, §6.4",
    ),
    Rule(
        reasons.MESSAGE_TOO_LARGE,
        "the message, as submitted in CRLF form, header and blank line included, is no larger than its flow's limit",
        "RFC 1870 §5 (what is counted); own",
        (SIZE_LIMIT,),
    ),
)

STRUCTURE: Final = (
    Rule(
        reasons.MIME_VERSION_INVALID,
        "MIME-Version is 1.0, and is there when the message has a Content-Type, -Transfer-Encoding or -Disposition",
        "RFC 2045 §4",
    ),
    Rule(
        reasons.MIME_FIELD_REPEATED,
        "MIME-Version, Content-Type, Content-Transfer-Encoding and Content-Disposition at most once in a part",
        "RFC 2045 §3; Content-Disposition: own",
    ),
    Rule(
        reasons.CONTENT_TYPE_INVALID,
        "Content-Type follows its grammar; a multipart has a valid boundary of 1 to 70 characters",
        "RFC 2045 §5.1, RFC 2046 §5.1.1",
    ),
    Rule(
        reasons.TRANSFER_ENCODING_INVALID,
        "Content-Transfer-Encoding is 7bit, 8bit, base64 or quoted-printable; of a multipart or message/rfc822 7bit or "
        "8bit. No binary: BINARYMIME is not offered",
        "RFC 2045 §6.1, §6.4, RFC 2046 §5.2.1, RFC 3030 §3",
    ),
    Rule(
        reasons.BOUNDARY_NOT_CLOSED,
        "every multipart has at least one part and its closing boundary; a boundary fills its line, white space at the "
        "end aside",
        "RFC 2046 §5.1, §5.1.1",
    ),
    Rule(reasons.TOO_DEEP, "parts are nested no deeper than this", "own", ("max_depth",)),
    Rule(reasons.TOO_MANY_PARTS, "no more parts than this", "own", ("max_parts",)),
    Rule(
        reasons.TYPE_FORBIDDEN,
        "no part is of a media type in the list",
        "RFC 2046 §5.2.2, §5.2.3; own",
        ("forbidden_media_types",),
    ),
    Rule(
        reasons.TYPE_NOT_ALLOWED,
        "every part that is no multipart or message is of a media type in the list; an empty list allows all",
        "own",
        ("allowed_media_types",),
    ),
)

CONTENTS: Final = (
    Rule(
        reasons.BASE64_INVALID,
        "base64 has its alphabet only, whole groups of four, the right padding, and nothing after it; a finding names "
        "the cause: alphabet, length, padding or after-padding",
        "RFC 2045 §6.8",
    ),
    Rule(
        reasons.QUOTED_PRINTABLE_INVALID,
        "in quoted-printable `=` begins two hexadecimal digits or ends the line, and all octets are ASCII",
        "RFC 2045 §6.7",
    ),
    Rule(
        reasons.CHARSET_MISSING,
        "a part with a Content-Type text/… declares its charset",
        "RFC 2046 §4.1.2, RFC 2045 §5.2; own",
    ),
    Rule(
        reasons.CHARSET_INVALID,
        "the charset of a text part is in the list, and its contents can be decoded in it",
        "RFC 2046 §4.1.2; own",
        ("charsets",),
    ),
    Rule(reasons.UUENCODE_PRESENT, "no uuencoded file in a text part that is 7bit or 8bit", "own"),
)

ATTACHMENTS: Final = (
    Rule(
        reasons.TOO_MANY_ATTACHMENTS,
        "no more attachments than this: parts with Content-Disposition attachment, or with a file name",
        "RFC 2183 §2.2, §2.3; own",
        ("max_attachments",),
    ),
    Rule(
        reasons.EXTENSION_NOT_ALLOWED,
        "no file name ends in a forbidden extension; when allowed ones are listed, it ends in one of those",
        "own",
        ("forbidden_extensions", "allowed_extensions"),
    ),
    Rule(
        reasons.FILE_NAME_INVALID,
        "a file name can be decoded (cause=encoding), holds no slash, backslash or colon and more than dots and spaces "
        "(path), no control or format characters (control) and at most 255 octets in UTF-8 (length); all names of a "
        "part, filename and name, say the same (ambiguous)",
        "RFC 2183 §2.3, §5, RFC 2231 §3, §4, RFC 2047; own",
    ),
    Rule(reasons.DISPOSITION_INVALID, "Content-Disposition follows its grammar", "RFC 2183 §2"),
    Rule(reasons.PART_TOO_LARGE, "no part is larger than this after decoding", "own", ("max_part_octets",)),
)

GROUPS: Final = {
    "Header (berichtkop)": HEADER,
    "Octets, lines and size": OCTETS,
    "MIME structure": STRUCTURE,
    "Contents": CONTENTS,
    "Attachments (bijlagen)": ATTACHMENTS,
}
RULES: Final[dict[str, Rule]] = {rule.reason.code: rule for rules in GROUPS.values() for rule in rules}
