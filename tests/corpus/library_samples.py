"""Messages that the standard library writes, under each policy that software for parties is likely to use."""

from __future__ import annotations

from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.corpus.sample import Case, Envelope

_DATE: Final = "Mon, 23 Nov 2026 10:00:00 +0100"
_EDIFACT: Final = b"UNB+UNOC:3+NL854502130:ZZZ+NLDOUANE:ZZZ+261123:0930+1'\r\nUNZ+0+1'\r\n"
_TEXT: Final = "Geachte heer/mevrouw,\n\nBijgaand één aangifte (€ 18.450,00).\n\n-- \nBloemenimport\n"
_LONG: Final = "Rozen, vers gesneden, kleur één; " * 60 + "\n"
_PDF: Final = b"%PDF-1.4\n" + bytes(range(256)) * 40
_NAME: Final = "Factuur één, november 2026.pdf"
_LONG_NAME: Final = "Factuur " + "één " * 30 + "2026.pdf"
_POLICIES: Final = {
    "smtp": policy.SMTP,
    "smtp 7bit": policy.SMTP.clone(cte_type="7bit"),
    "smtp 998": policy.SMTP.clone(max_line_length=998),
}


def library_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield what email.message and email.mime write."""
    for label, rules in _POLICIES.items():
        for name, fill in _SHAPES.items():
            message = EmailMessage(policy=rules)
            _address(message, envelope)
            fill(message)
            _fix_boundaries(message)
            yield judged(f"email {label}: {name}", message.as_bytes())
    for name, old in _old_style(envelope).items():
        _fix_boundaries(old)
        yield judged(f"email compat32: {name}", old.as_bytes(policy=policy.compat32.clone(linesep="\r\n")))


def _address(message: EmailMessage, envelope: Envelope) -> None:
    message["From"] = Address("Bloemenimport één", addr_spec=envelope.sender)
    message["To"] = [Address("Douane, afdeling AGS", addr_spec=envelope.recipient), Address(addr_spec="x@y.test")]
    message["Date"] = _DATE
    message["Message-ID"] = "<20261123.1@partij.digipoort.test>"
    message["Subject"] = (
        "Aangifte één van de bloemenimport, met een onderwerp dat te lang is voor één regel: " + "é" * 40
    )


def _fix_boundaries(message: Message) -> None:
    """Give every multipart a boundary that is the same in each run."""
    for number, entity in enumerate(message.walk()):
        if entity.is_multipart() and entity.get_content_maintype() == "multipart":
            entity.set_boundary(f"=_grens_{number}")


def _text(message: EmailMessage) -> None:
    message.set_content(_TEXT)


def _ascii(message: EmailMessage) -> None:
    message.set_content("UNZ+0+1'\n", charset="us-ascii")


def _latin(message: EmailMessage) -> None:
    message.set_content(_TEXT, charset="iso-8859-15")


def _long(message: EmailMessage) -> None:
    message.set_content(_LONG)


def _eight_bit(message: EmailMessage) -> None:
    message.set_content(_TEXT, cte="8bit")


def _attached(message: EmailMessage) -> None:
    message.set_content(_TEXT)
    message.add_attachment(_EDIFACT, maintype="application", subtype="edifact", filename="aangifte.edi")
    message.add_attachment(_PDF, maintype="application", subtype="pdf", filename=_NAME)
    message.add_attachment("a;b\nc;d\n", subtype="csv", filename=_LONG_NAME)


def _alternative(message: EmailMessage) -> None:
    message.set_content(_TEXT)
    message.add_alternative("<p>Eén aangifte <img src='cid:1@y.test'></p>\n", subtype="html")
    html = message.get_payload(1)
    assert isinstance(html, EmailMessage)
    html.add_related(b"\x89PNG\r\n\x1a\n\0", maintype="image", subtype="png", cid="<1@y.test>")
    message.add_attachment(_PDF, maintype="application", subtype="pdf", filename="factuur.pdf")


def _enclosed(message: EmailMessage) -> None:
    message.set_content(_TEXT)
    inner = EmailMessage(policy=message.policy)
    inner["Subject"] = "Eén bericht daarin"
    inner["From"] = "x@y.test"
    inner.set_content(_TEXT, cte="quoted-printable")
    message.add_attachment(inner)


_SHAPES: Final[dict[str, Callable[[EmailMessage], None]]] = {
    "text": _text,
    "ascii": _ascii,
    "latin": _latin,
    "long lines": _long,
    "8bit": _eight_bit,
    "attachments": _attached,
    "alternative and related": _alternative,
    "message": _enclosed,
}


def _old_style(envelope: Envelope) -> dict[str, Message]:
    mixed = MIMEMultipart()
    mixed.attach(MIMEText(_TEXT, "plain", "utf-8"))
    for name in ("factuur.pdf", ("utf-8", "nl", _NAME), ("iso-8859-1", "", _NAME)):
        pdf = MIMEApplication(_PDF, "pdf")
        pdf.add_header("Content-Disposition", "attachment", filename=name)
        mixed.attach(pdf)
    alternative = MIMEMultipart("alternative")
    alternative.attach(MIMEText("UNZ+0+1'\n", "plain", "us-ascii"))
    alternative.attach(MIMEText(_TEXT, "html", "iso-8859-15"))
    forwarded = MIMEMultipart()
    forwarded.attach(MIMEMessage(MIMEText("UNZ+0+1'\n", "plain", "us-ascii")))
    messages: dict[str, Message] = {
        "text": MIMEText(_TEXT, "plain", "utf-8"),
        "attachments": mixed,
        "alternative": alternative,
        "message": forwarded,
    }
    for message in messages.values():
        message["From"] = f"Bloemenimport <{envelope.sender}>"
        message["To"] = envelope.recipient
        message["Date"] = _DATE
        message["Message-ID"] = "<20261123.2@partij.digipoort.test>"
        message["Subject"] = Header("Aangifte één van de bloemenimport " * 4, "utf-8").encode(linesep="\n")
    return messages
