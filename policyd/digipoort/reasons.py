"""The catalogue of verdicts: every refusal the gateway gives, with its code, its texts and its remedy.

SMTP replies, log lines, receipts, the CLI and the documentation all take their words from here, so that an admin who
reads a code in one place finds the same sentence in every other. Basic codes follow RFC 5321, enhanced codes RFC
3463/5248.

One finding in an SMTP reply has the grammar (ASCII, and short: a reply becomes one folded line in the DSN)::

    finding    = code [ SP "(" parameter *( SP parameter ) ")" ] SP english
    code       = "DGP-" 4DIGIT
    parameter  = name "=" value        ; value without SP, "(", ")" and "="
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

MAX_PARAMETER_OCTETS: Final = 120


@dataclass(frozen=True, slots=True)
class Reason:
    """One entry of the catalogue.

    `english` and `dutch` are sentences for the submitter; `{name}` in them is replaced by a finding's parameter.
    `remedy` tells the admin what to do. `english` is ASCII, because it also stands in SMTP replies.
    """

    code: str
    smtp: int
    status: str
    english: str
    dutch: str
    remedy: str

    @property
    def temporary(self) -> bool:
        """Whether the client is asked to try again (a 4yz reply, RFC 5321 section 4.2.1)."""
        return 400 <= self.smtp < 500  # noqa: PLR2004 - RFC 5321: the first digit is the verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason that applies to one message, with the parameters that tell where."""

    reason: Reason
    parameters: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the finding in its SMTP grammar: code, parameters, English."""
        values = {name: _printable(value) for name, value in self.parameters.items()}
        listed = " ".join(f"{name}={value}" for name, value in values.items())
        return f"{self.reason.code} {f'({listed}) ' if listed else ''}{_fill(self.reason.english, values)}"

    def reply(self) -> str:
        """Return the whole SMTP reply line, without CRLF: basic code, enhanced code, text."""
        return f"{self.reason.smtp} {self.reason.status} {self.text()}"

    def english(self) -> str:
        """Return the English sentence for the submitter, parameters filled in."""
        return _fill(self.reason.english, self.parameters)

    def dutch(self) -> str:
        """Return the Dutch sentence for the submitter, parameters filled in."""
        return _fill(self.reason.dutch, self.parameters)


def _printable(value: str) -> str:
    """Make a parameter's value safe for an SMTP reply line: bounded, ASCII, none of the grammar's delimiters."""
    return re.sub(r"[^!-'*-<>-~]", "_", value)[:MAX_PARAMETER_OCTETS] or "-"


def _fill(sentence: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "-"), sentence)


# --- 1xxx: submission, answered in the session -----------------------------------------------------------------------
TLS_REQUIRED = Reason(
    "DGP-1001",
    530,
    "5.7.0",
    "TLS is required before mail is accepted.",
    "Een TLS-verbinding is vereist voordat berichten worden aangenomen.",
    "The client must use STARTTLS or the implicit-TLS port.",
)
LOGIN_UNKNOWN = Reason(
    "DGP-1002",
    535,
    "5.7.8",
    "This login is not active.",
    "Deze inlognaam is niet actief.",
    "The credential or its party is disabled or removed, its period is over or has not begun, or the client is in none "
    "of its networks: the policy daemon's line has the cause, digipoort credential show the rest.",
)
LOGIN_MAY_NOT_SUBMIT = Reason(
    "DGP-1003",
    550,
    "5.7.1",
    "This login may not submit messages.",
    "Met deze inlognaam mogen geen berichten worden aangeleverd.",
    "Add the service 'submission' to the credential if the party should submit with it.",
)
SENDER_NOT_OWNED = Reason(
    "DGP-1004",
    550,
    "5.7.1",
    "The envelope sender is not an address of this login's party.",
    "Het afzenderadres (MAIL FROM) hoort niet bij de partij van deze inlognaam.",
    "Compare digipoort address list with the party of the login; the client must use its own logical address.",
)
NULL_SENDER = Reason(
    "DGP-1005",
    550,
    "5.7.1",
    "The null envelope sender is not accepted.",
    "Een leeg afzenderadres (MAIL FROM:<>) wordt niet aangenomen.",
    "Auto-replies and bounces cannot pass the gateway; the sending system must refuse in the session instead.",
)
RECIPIENT_NOT_LOGICAL = Reason(
    "DGP-1006",
    550,
    "5.7.1",
    "The recipient is not a logical address of this gateway.",
    "De ontvanger is geen logisch adres van deze voorziening.",
    "Parties address each other by logical address only; no other domain is relayed.",
)
AUTHENTICATION_REQUIRED = Reason(
    "DGP-1007",
    530,
    "5.7.0",
    "Authentication is required.",
    "Aanmelden met inlognaam en wachtwoord is vereist.",
    "The client must log in (RFC 6409 section 4.3); smtpd answers this itself, the text stands in master.cf. A "
    "certificate that stands for no login gets it too: event=certificate_unknown.",
)
GATEWAY_HEADERS_SENT = Reason(
    "DGP-1008",
    550,
    "5.6.0",
    "The message has more than {limit} X-Digipoort headers, which only this gateway may set.",
    "Het bericht heeft meer dan {limit} X-Digipoort-headers; alleen deze voorziening mag die zetten.",
    "A few are removed in silence; this many point to a loop or to an attack. Ask the party of the login.",
)
RATE_EXCEEDED = Reason(
    "DGP-1009",
    450,
    "4.7.1",
    "This login has sent too many messages in a short time; try again later.",
    "Met deze inlognaam zijn in korte tijd te veel berichten aangeleverd; probeer het later opnieuw.",
    "Settings SUBMISSION_RATE_RECIPIENTS and SUBMISSION_RATE_SECONDS of the policy daemon.",
)
MESSAGE_OVER_CEILING = Reason(
    "DGP-1010",
    552,
    "5.3.4",
    "The message is larger than this gateway takes for any flow.",
    "Het bericht is groter dan deze voorziening voor enige berichtstroom aanneemt.",
    "message_size_limit in master.cf, which EHLO announces; each flow has a lower limit of its own.",
)
COMMAND_INVALID = Reason(
    "DGP-1011",
    501,
    "5.5.4",
    "A command, an address or a parameter is not well-formed.",
    "Een opdracht, een adres of een parameter is niet welgevormd.",
    "The client breaks RFC 5321, 3461 (ENVID, NOTIFY, ORCPT) or 1870; Postfix's own words stand before the code.",
)
LOGIN_REFUSED = Reason(
    "DGP-1012",
    535,
    "5.7.8",
    "The login or the password is not right.",
    "De inlognaam of het wachtwoord is niet juist.",
    "authd's event=login_refused has the reason: unknown, inactive, not for submission, or a wrong password.",
)
COMMAND_NOT_OFFERED = Reason(
    "DGP-1013",
    502,
    "5.5.1",
    "This command is not offered here.",
    "Deze opdracht wordt hier niet aangeboden.",
    "The client should use what EHLO announces: no VRFY, EXPN, ETRN, BDAT, XCLIENT or XFORWARD.",
)
COMMAND_OUT_OF_ORDER = Reason(
    "DGP-1014",
    503,
    "5.5.1",
    "This command is not allowed at this moment of the session.",
    "Deze opdracht is op dit moment van de sessie niet toegestaan.",
    "The client breaks the order of RFC 5321 section 4.1.4, or did not wait for a reply before its next command.",
)
SESSION_LIMIT = Reason(
    "DGP-1015",
    421,
    "4.7.0",
    "A limit of this session or of its client address was reached; try again later.",
    "Een grens van deze sessie of van het clientadres is bereikt; probeer het later opnieuw.",
    "Postfix's words before the code tell which: errors, recipients, connections or logins per minute, or silence.",
)
CERTIFICATE_REQUIRED = Reason(
    "DGP-1016",
    550,
    "5.7.1",
    "This login needs the client certificate that was agreed for it.",
    "Bij deze inlognaam hoort het clientcertificaat dat ervoor is afgesproken.",
    "The session showed none, another one, or, for a subject, one that is expired or not of a CA for clients: compare "
    "the policy daemon's line with digipoort credential show.",
)

# --- 2xxx: acceptance, authorisation ---------------------------------------------------------------------------------
NO_SUCH_RECIPIENT = Reason(
    "DGP-2001",
    550,
    "5.1.1",
    "The recipient is not an address that this sender can reach.",
    "De ontvanger is geen adres dat deze afzender kan bereiken.",
    "The recipient is unknown, or both sides are private: the same answer on purpose. digipoort check tells which.",
)
BOTH_GOVERNMENT = Reason(
    "DGP-2002",
    550,
    "5.7.1",
    "Messages between two government parties do not pass this gateway.",
    "Berichten tussen twee overheidspartijen gaan niet via deze voorziening.",
    "One side of every message is a private party.",
)
NOT_CONNECTED = Reason(
    "DGP-2003",
    550,
    "5.7.1",
    "The private address is not connected to flow {flow}.",
    "Het adres van de private partij is niet aangesloten op berichtstroom {flow}.",
    "digipoort connection add, if the party has joined the flow.",
)
CONNECTION_NOT_VALID = Reason(
    "DGP-2004",
    550,
    "5.7.1",
    "The connection to flow {flow} is not valid today.",
    "De aansluiting op berichtstroom {flow} is vandaag niet geldig.",
    "Look at the dates in digipoort connection list.",
)
SIZE_OVER_FLOW_LIMIT = Reason(
    "DGP-2005",
    552,
    "5.3.4",
    "The message of {size} octets is larger than the limit of {limit} octets of flow {flow}.",
    "Het bericht van {size} octetten is groter dan de grens van {limit} octetten van berichtstroom {flow}.",
    "The limit is a property of the flow in the directory.",
)
SENDER_UNKNOWN = Reason(
    "DGP-2006",
    550,
    "5.7.1",
    "The sender's address is no longer known to this gateway.",
    "Het adres van de afzender is niet meer bekend bij deze voorziening.",
    "The address was removed, or its party disabled, between submission and acceptance.",
)

# --- 3xxx: acceptance, the interface ---------------------------------------------------------------------------------
HEADER_MISSING = Reason(
    "DGP-3001",
    554,
    "5.6.0",
    "The required header {header} is missing.",
    "De verplichte header {header} ontbreekt.",
    "The submitter's software must add the header (RFC 5322 section 3.6).",
)
HEADER_REPEATED = Reason(
    "DGP-3002",
    554,
    "5.6.0",
    "The header {header} occurs more than once.",
    "De header {header} komt meer dan eens voor.",
    "The submitter's software must send the header exactly once (RFC 5322 section 3.6).",
)
FROM_NOT_SENDER = Reason(
    "DGP-3003",
    554,
    "5.6.0",
    "The address in From is not the envelope sender.",
    "Het adres in From is niet gelijk aan de afzender op de envelop (MAIL FROM).",
    "The submitter must use its logical address in both places, and only one address in From.",
)
RECIPIENT_NOT_IN_HEADER = Reason(
    "DGP-3004",
    554,
    "5.6.0",
    "The recipient stands in neither To nor Cc.",
    "De ontvanger staat niet in To of Cc.",
    "Every envelope recipient must be named in To or Cc.",
)
BCC_PRESENT = Reason(
    "DGP-3005",
    554,
    "5.6.0",
    "The header Bcc is not allowed.",
    "De header Bcc is niet toegestaan.",
    "The submitter must name recipients in To or Cc.",
)
MIME_VERSION_INVALID = Reason(
    "DGP-3006",
    554,
    "5.6.0",
    "The header MIME-Version is missing or is not 1.0.",
    "De header MIME-Version ontbreekt of is niet 1.0.",
    "RFC 2045 section 4: it belongs to every message with a Content header.",
)
CONTENT_TYPE_INVALID = Reason(
    "DGP-3007",
    554,
    "5.6.0",
    "A Content-Type is not well-formed (part {part}).",
    "Een Content-Type is niet welgevormd (deel {part}).",
    "RFC 2045 section 5.1; a multipart needs a boundary, RFC 2046 section 5.1.1.",
)
TRANSFER_ENCODING_INVALID = Reason(
    "DGP-3008",
    554,
    "5.6.0",
    "A Content-Transfer-Encoding is not valid (part {part}).",
    "Een Content-Transfer-Encoding is niet geldig (deel {part}).",
    "RFC 2045 section 6: 7bit, 8bit, base64 or quoted-printable; composite types only 7bit or 8bit.",
)
BOUNDARY_NOT_CLOSED = Reason(
    "DGP-3009",
    554,
    "5.6.0",
    "A multipart is empty or its boundary is not closed (part {part}).",
    "Een multipart is leeg of de boundary ervan is niet afgesloten (deel {part}).",
    "RFC 2046 section 5.1.1; the message may have been cut off.",
)
TOO_DEEP = Reason(
    "DGP-3010",
    554,
    "5.6.0",
    "The MIME structure is nested deeper than {limit}.",
    "De MIME-structuur is dieper genest dan {limit}.",
    "The limit is max_depth in the flow's interface profile.",
)
TOO_MANY_PARTS = Reason(
    "DGP-3011",
    554,
    "5.6.0",
    "The message has more than {limit} MIME parts.",
    "Het bericht heeft meer dan {limit} MIME-delen.",
    "The limit is max_parts in the flow's interface profile.",
)
TYPE_FORBIDDEN = Reason(
    "DGP-3012",
    554,
    "5.6.1",
    "The media type {type} is not accepted (part {part}).",
    "Het mediatype {type} wordt niet aangenomen (deel {part}).",
    "forbidden_media_types of the flow; message/partial and message/external-body hide contents from the receiver.",
)
LINE_TOO_LONG = Reason(
    "DGP-3013",
    554,
    "5.6.0",
    "A line is longer than {limit} octets.",
    "Een regel is langer dan {limit} octetten.",
    "RFC 5322 section 2.1.1; the submitter should use base64 or quoted-printable.",
)
BODY_OCTET_FORBIDDEN = Reason(
    "DGP-3014",
    554,
    "5.6.0",
    "The message holds a NUL octet, or a bare CR or LF.",
    "Het bericht bevat een NUL-octet, of een losse CR of LF.",
    "RFC 5322 section 2.3; binary contents must be encoded.",
)
HEADER_TOO_LARGE = Reason(
    "DGP-3015",
    554,
    "5.6.0",
    "The headers are larger than {limit} octets.",
    "De headers zijn groter dan {limit} octetten.",
    "The limit is max_header_octets in the flow's interface profile.",
)
MESSAGE_TOO_LARGE = Reason(
    "DGP-3016",
    552,
    "5.3.4",
    "The message of {size} octets is larger than the limit of {limit} octets of flow {flow}.",
    "Het bericht van {size} octetten is groter dan de grens van {limit} octetten van berichtstroom {flow}.",
    "The limit is a property of the flow in the directory; octets are counted in CRLF form without our own headers.",
)
SENDER_HEADER_DIFFERS = Reason(
    "DGP-3017",
    554,
    "5.6.0",
    "The address in Sender is not the envelope sender.",
    "Het adres in Sender is niet gelijk aan de afzender op de envelop (MAIL FROM).",
    "A mailer shows Sender beside From: it must not name another.",
)
REPLY_TO_ELSEWHERE = Reason(
    "DGP-3044",
    554,
    "5.6.0",
    "An address in Reply-To is not in the domain of the envelope sender.",
    "Een adres in Reply-To staat niet in het domein van de afzender op de envelop (MAIL FROM).",
    "An answer outside the gateway would go astray, and the address may be one that nobody should know.",
)
RESENT_PRESENT = Reason(
    "DGP-3018",
    554,
    "5.6.0",
    "Resent headers are not allowed ({header}).",
    "Resent-headers zijn niet toegestaan ({header}).",
    "RFC 5322 section 3.6.6: the submitter must send a message of its own, not resend another's.",
)
DATE_INVALID = Reason(
    "DGP-3019",
    554,
    "5.6.0",
    "The header Date is not a valid date.",
    "De header Date is geen geldige datum.",
    "RFC 5322 section 3.3: day, month, four-digit year, time and numeric zone; the day of the week must agree.",
)
MESSAGE_ID_INVALID = Reason(
    "DGP-3020",
    554,
    "5.6.0",
    "The header Message-ID is not well-formed.",
    "De header Message-ID is niet welgevormd.",
    "RFC 5322 section 3.6.4: one <left@right>, without spaces.",
)
TOO_MANY_FIELDS = Reason(
    "DGP-3021",
    554,
    "5.6.0",
    "The message has more than {limit} header fields.",
    "Het bericht heeft meer dan {limit} headervelden.",
    "The limit is max_header_fields in the flow's interface profile.",
)
FIELD_TOO_LARGE = Reason(
    "DGP-3022",
    554,
    "5.6.0",
    "The header field {header} is larger than {limit} octets.",
    "Het headerveld {header} is groter dan {limit} octetten.",
    "The limit is max_field_octets in the flow's interface profile; Postfix keeps no field above 60,000.",
)
HEADER_NOT_ASCII = Reason(
    "DGP-3023",
    554,
    "5.6.0",
    "The header {header} holds octets above 127.",
    "De header {header} bevat octetten boven 127.",
    "RFC 5322 section 2.2; other characters are written as RFC 2047 and RFC 2231 say.",
)
RECEIPT_REQUESTED = Reason(
    "DGP-3024",
    554,
    "5.6.0",
    "Requests for a read receipt are not allowed ({header}).",
    "Verzoeken om een leesbevestiging zijn niet toegestaan ({header}).",
    "RFC 8098: the receiver's mailer would answer outside the gateway, and disclose itself.",
)
MAILBOX_LINE = Reason(
    "DGP-3025",
    554,
    "5.6.0",
    "The message begins with a mailbox file's From line.",
    "Het bericht begint met de From-regel van een mailboxbestand.",
    "It is no header field (RFC 5322 section 2.2); Postfix kept it as X-Mailbox-Line.",
)
EIGHT_BIT_UNDECLARED = Reason(
    "DGP-3026",
    554,
    "5.6.0",
    "Octets above 127 stand where no 8bit encoding is declared (part {part}).",
    "Octetten boven 127 staan waar geen 8bit-codering is opgegeven (deel {part}).",
    "RFC 2045 section 2.7 and 6.2: declare Content-Transfer-Encoding 8bit, or encode the part.",
)
MIME_FIELD_REPEATED = Reason(
    "DGP-3027",
    554,
    "5.6.0",
    "The header {header} occurs more than once (part {part}).",
    "De header {header} komt meer dan eens voor (deel {part}).",
    "RFC 2045 section 3: one of each; readers differ in which of two they follow.",
)
BASE64_INVALID = Reason(
    "DGP-3028",
    554,
    "5.6.0",
    "The base64 contents cannot be decoded: {cause} (part {part}).",
    "De base64-inhoud is niet te decoderen: {cause} (deel {part}).",
    "RFC 2045 section 6.8. Causes: alphabet, padding, length (no whole groups of four), after-padding.",
)
QUOTED_PRINTABLE_INVALID = Reason(
    "DGP-3029",
    554,
    "5.6.0",
    "The quoted-printable contents cannot be decoded (part {part}).",
    "De quoted-printable-inhoud is niet te decoderen (deel {part}).",
    "RFC 2045 section 6.7: an equals sign begins two hexadecimal digits or ends the line; octets are ASCII.",
)
CHARSET_MISSING = Reason(
    "DGP-3030",
    554,
    "5.6.0",
    "A text part declares no charset (part {part}).",
    "Een tekstdeel geeft geen tekenset (charset) op (deel {part}).",
    "RFC 2046 section 4.1.2; only a part without any Content-Type is US-ASCII of itself.",
)
CHARSET_INVALID = Reason(
    "DGP-3031",
    554,
    "5.6.0",
    "The text is not in an accepted charset: {charset} (part {part}).",
    "De tekst staat niet in een aanvaarde tekenset: {charset} (deel {part}).",
    "The charset is not in charsets of the flow, or the contents are not in the charset.",
)
UUENCODE_PRESENT = Reason(
    "DGP-3032",
    554,
    "5.6.1",
    "Uuencoded contents outside MIME are not accepted (part {part}).",
    "Inhoud in uuencode buiten MIME wordt niet aangenomen (deel {part}).",
    "The submitter should attach the file by MIME, in base64.",
)
TOO_MANY_ATTACHMENTS = Reason(
    "DGP-3033",
    554,
    "5.6.0",
    "The message has more than {limit} attachments.",
    "Het bericht heeft meer dan {limit} bijlagen.",
    "The limit is max_attachments in the flow's interface profile.",
)
TYPE_NOT_ALLOWED = Reason(
    "DGP-3034",
    554,
    "5.6.1",
    "The media type {type} is not one of those of this flow (part {part}).",
    "Het mediatype {type} hoort niet bij deze berichtstroom (deel {part}).",
    "allowed_media_types of the flow.",
)
EXTENSION_NOT_ALLOWED = Reason(
    "DGP-3035",
    554,
    "5.6.1",
    "Files named .{extension} are not accepted (part {part}).",
    "Bestanden met de extensie .{extension} worden niet aangenomen (deel {part}).",
    "forbidden_extensions and allowed_extensions of the flow.",
)
FILE_NAME_INVALID = Reason(
    "DGP-3036",
    554,
    "5.6.0",
    "A file name is not acceptable: {cause} (part {part}).",
    "Een bestandsnaam is niet aanvaardbaar: {cause} (deel {part}).",
    "Causes: encoding (RFC 2231, RFC 2047), path (slash, backslash, colon, dots), control, length, ambiguous.",
)
DISPOSITION_INVALID = Reason(
    "DGP-3037",
    554,
    "5.6.0",
    "A Content-Disposition is not well-formed (part {part}).",
    "Een Content-Disposition is niet welgevormd (deel {part}).",
    "RFC 2183 section 2.",
)
PART_TOO_LARGE = Reason(
    "DGP-3038",
    552,
    "5.3.4",
    "A part is larger than {limit} octets after decoding (part {part}).",
    "Een deel is na decoderen groter dan {limit} octetten (deel {part}).",
    "The limit is max_part_octets in the flow's interface profile.",
)
TOO_MANY_HOPS = Reason(
    "DGP-3039",
    554,
    "5.4.6",
    "The message has more than {limit} Received headers.",
    "Het bericht heeft meer dan {limit} Received-headers.",
    "RFC 5321 section 6.3: it probably goes round in a loop. The limit is max_received of the flow.",
)
AUTOMATIC_MESSAGE = Reason(
    "DGP-3040",
    550,
    "5.7.1",
    "Automatic answers are not accepted (Auto-Submitted: {keyword}).",
    "Automatische antwoorden worden niet aangenomen (Auto-Submitted: {keyword}).",
    "RFC 3834: two automatic systems would answer each other. Accepted keywords are auto_submitted of the flow.",
)
REPORT_SUBMITTED = Reason(
    "DGP-3041",
    550,
    "5.7.1",
    "Delivery and disposition reports are not accepted from a party.",
    "Ontvangst- en leesberichten worden niet aangenomen van een partij.",
    "Receipts come from the gateway only; a party answers with a message of its own.",
)

RESUBMITTED = Reason(
    "DGP-3042",
    550,
    "5.7.1",
    "This message was received before, as {earlier}; it is not processed again.",
    "Dit bericht is al eerder ontvangen, als {earlier}; het wordt niet nogmaals verwerkt.",
    "Same party, Message-ID, recipient and body; digipoort flow resubmission tells what the flow does with it.",
)
MESSAGE_ID_REUSED = Reason(
    "DGP-3043",
    554,
    "5.6.0",
    "Another message was received under this Message-ID before, as {earlier}.",
    "Onder deze Message-ID is al eerder een ander bericht ontvangen, als {earlier}.",
    "RFC 5322 section 3.6.4: each message, and each version of one, has a Message-ID of its own. A switch of the flow.",
)
PHYSICAL_NAME = Reason(
    "DGP-3045",
    554,
    "5.6.0",
    "The header {header} names a host or a domain that is not to leave your organisation.",
    "De header {header} noemt een host of domein dat uw organisatie niet mag verlaten.",
    "An agency's message named a domain of the directory's destinations; its software must use the logical domain.",
)

# --- 4xxx: delivery, after acceptance --------------------------------------------------------------------------------
DELIVERY_REFUSED = Reason(
    "DGP-4001",
    550,
    "5.0.0",
    "The message was accepted, but the receiving party's system refused it.",
    "Het bericht is aangenomen, maar het systeem van de ontvangende partij heeft het geweigerd.",
    "Postfix's own log line of the delivery has the remote reply.",
)
DELIVERY_EXPIRED = Reason(
    "DGP-4002",
    550,
    "5.4.7",
    "The message could not be delivered within the set time and was given up.",
    "Het bericht kon niet binnen de gestelde tijd worden afgeleverd en is opgegeven.",
    "Look for the deferrals in Postfix's log; the queue lifetime is maximal_queue_lifetime.",
)
DELIVERY_DELAYED = Reason(
    "DGP-4003",
    450,
    "4.0.0",
    "The message waits; delivery is tried again. No action is needed.",
    "Het bericht wacht; aflevering wordt opnieuw geprobeerd. Er is geen actie nodig.",
    "Look for the deferrals in Postfix's log.",
)
REFUSED_UNEXPLAINED = Reason(
    "DGP-4004",
    550,
    "5.0.0",
    "The message was not accepted.",
    "Het bericht is niet aangenomen.",
    "Postfix refused the message itself; its log line of the hop has the reason.",
)
EXPIRED_BEFORE_VERDICT = Reason(
    "DGP-4005",
    550,
    "5.4.7",
    "The message could not be judged within the set time and was given up.",
    "Het bericht kon niet binnen de gestelde tijd worden beoordeeld en is opgegeven.",
    "Acceptance was unavailable for the whole queue lifetime; look for the hop's deferrals in Postfix's log.",
)

RECEIVED_BEFORE = Reason(
    "DGP-4006",
    250,
    "2.0.0",
    "The same message was received before, as {earlier}; it is now delivered once more.",
    "Hetzelfde bericht is al eerder ontvangen, als {earlier}; het wordt nu nogmaals afgeleverd.",
    "Stands on a positive receipt. Same party, Message-ID, recipient and body; the flow's policy is tell.",
)

# --- 9xxx: faults of ours, always temporary --------------------------------------------------------------------------
DIRECTORY_UNAVAILABLE = Reason(
    "DGP-9001",
    451,
    "4.3.0",
    "The directory is temporarily unavailable; try again later.",
    "De administratie is tijdelijk niet beschikbaar; probeer het later opnieuw.",
    "Look at PostgreSQL, and at DIRECTORY_DSN with digipoort settings.",
)
DEADLINE_EXCEEDED = Reason(
    "DGP-9002",
    451,
    "4.3.0",
    "The check took too long; try again later.",
    "De controle duurde te lang; probeer het later opnieuw.",
    "The directory or this host is overloaded; REQUEST_DEADLINE is the limit.",
)
REQUEST_MALFORMED = Reason(
    "DGP-9003",
    451,
    "4.3.5",
    "The gateway could not understand its own request; try again later.",
    "De voorziening begreep een eigen verzoek niet; probeer het later opnieuw.",
    "Look at check_policy_service in master.cf: policy_context must be submission or acceptance.",
)
BODY_CHANGED = Reason(
    "DGP-9004",
    451,
    "4.3.0",
    "The message changed inside the gateway; try again later.",
    "Het bericht is binnen de voorziening gewijzigd; probeer het later opnieuw.",
    "The digest at acceptance differs from that at submission: a setting of the hop alters bodies. Compare with docs.",
)
NOT_YET_PUBLISHED = Reason(
    "DGP-9005",
    450,
    "4.3.0",
    "The address is not yet in use on this host; try again later.",
    "Het adres is op deze server nog niet in gebruik; probeer het later opnieuw.",
    "Run digipoort maps publish.",
)
STAGE_ONE_MARK_MISSING = Reason(
    "DGP-9006",
    451,
    "4.3.0",
    "The gateway's own marks are missing on the message; try again later.",
    "De eigen kenmerken van de voorziening ontbreken op het bericht; probeer het later opnieuw.",
    "The message reached acceptance without passing the submission milter: look at smtpd_milters.",
)
INTERNAL_ERROR = Reason(
    "DGP-9007",
    451,
    "4.3.0",
    "The gateway met an internal fault; try again later.",
    "De voorziening heeft een interne storing; probeer het later opnieuw.",
    "The log line with this code has the fault; please report it.",
)
HISTORY_UNAVAILABLE = Reason(
    "DGP-9008",
    451,
    "4.3.0",
    "Whether the message was received before is not known now; try again later.",
    "Of het bericht al eerder is ontvangen, is nu niet na te gaan; probeer het later opnieuw.",
    "Look at the policy daemon, at RESUBMISSION_SOCKET, and at the server of DIRECTORY_WRITE_DSN.",
)
LOGIN_UNAVAILABLE = Reason(
    "DGP-9009",
    454,
    "4.7.0",
    "Logins are temporarily impossible; try again later.",
    "Aanmelden is tijdelijk niet mogelijk; probeer het later opnieuw.",
    "Look at event=login_deferred of digipoort-sasl and of authd: Dovecot, authd or the directory has no answer.",
)

CATALOGUE: Final[dict[str, Reason]] = {
    reason.code: reason for reason in list(globals().values()) if isinstance(reason, Reason)
}

_FINDING = re.compile(r"(DGP-\d{4})(?: \(([^()]*)\))?")


def findings_in(text: str, limit: int = 10) -> list[Finding]:
    """Return the catalogue's findings that an SMTP reply or Diagnostic-Code names, in order, at most `limit`.

    Codes that are not in the catalogue are passed over, as are parameters that do not follow the grammar.
    """
    found = []
    for match in _FINDING.finditer(text):
        reason = CATALOGUE.get(match[1])
        if reason is not None:
            pairs = (item.partition("=") for item in (match[2] or "").split())
            found.append(Finding(reason, {name: value for name, equals, value in pairs if equals}))
        if len(found) == limit:
            break
    return found
