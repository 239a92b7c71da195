"""The words of a receipt for people: Dutch, then English, every sentence on a verdict from the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.reasons import Finding
from digipoort_milter.report_reader import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from digipoort_milter.report_reader import Recipient, Report


@dataclass(frozen=True, slots=True)
class _Words:
    """One language."""

    titles: Mapping[Verdict, str]
    sentences: Mapping[Verdict, str]
    advice: Mapping[str, str]
    other_advice: str
    reference: str
    flow: str
    envelope_id: str
    digest: str
    arrival: str
    written: str
    recipient: str
    next_step: str
    minimal_title: str
    minimal: str
    finding: Callable[[Finding], str]


_DUTCH: Final = _Words(
    titles={
        Verdict.ACCEPTED: "POSITIEVE ONTVANGSTBEVESTIGING",
        Verdict.REFUSED: "NEGATIEVE ONTVANGSTBEVESTIGING",
        Verdict.DELAYED: "VERTRAGING",
    },
    sentences={
        Verdict.ACCEPTED: "Het bericht is aangenomen en wordt afgeleverd. U hoeft niets te doen.",
        Verdict.REFUSED: "Het bericht is niet verwerkt:",
        Verdict.DELAYED: "Het bericht is nog niet verwerkt:",
    },
    advice={
        "2": "Controleer de adressen en uw aansluiting op de berichtstroom; neem zo nodig contact op met de beheerder.",
        "3": "Herstel het bericht en lever het opnieuw aan.",
        "DGP-3042": "U hoeft niets te doen: wat met dat kenmerk is ontvangen, geldt.",
        "DGP-3043": "Geef het bericht een eigen Message-ID en lever het opnieuw aan.",
        "DGP-4001": "Neem contact op met de ontvangende partij voordat u het bericht opnieuw aanlevert.",
        "DGP-4002": "Lever het bericht opnieuw aan, of neem contact op met de ontvangende partij.",
        "DGP-4003": "U hoeft niets te doen; lever het bericht niet opnieuw aan.",
        "DGP-4005": "Lever het bericht opnieuw aan.",
        "DGP-4006": "Lever een bericht waarvoor u een ontvangstbevestiging hebt niet opnieuw aan.",
    },
    other_advice="Neem contact op met de beheerder en noem het kenmerk.",
    reference="Kenmerk",
    flow="Berichtstroom",
    envelope_id="Uw kenmerk (ENVID)",
    digest="SHA-256 van de inhoud",
    arrival="Aangeleverd",
    written="Opgesteld",
    recipient="Ontvanger",
    next_step="Wat te doen",
    minimal_title="ONTVANGSTBERICHT ZONDER BIJZONDERHEDEN",
    minimal="De bijzonderheden van dit ontvangstbericht konden niet veilig worden weergegeven. "
    "Neem contact op met de beheerder en noem het kenmerk.",
    finding=Finding.dutch,
)
_ENGLISH: Final = _Words(
    titles={
        Verdict.ACCEPTED: "POSITIVE RECEIPT",
        Verdict.REFUSED: "NEGATIVE RECEIPT",
        Verdict.DELAYED: "DELAY",
    },
    sentences={
        Verdict.ACCEPTED: "The message was accepted and is being delivered. No action is needed.",
        Verdict.REFUSED: "The message was not processed:",
        Verdict.DELAYED: "The message has not been processed yet:",
    },
    advice={
        "2": "Check the addresses and your connection to the flow; contact the administrator if need be.",
        "3": "Correct the message and submit it again.",
        "DGP-3042": "Do nothing: what was received under that reference counts.",
        "DGP-3043": "Give the message a Message-ID of its own and submit it again.",
        "DGP-4001": "Contact the receiving party before you submit the message again.",
        "DGP-4002": "Submit the message again, or contact the receiving party.",
        "DGP-4003": "Do nothing; do not submit the message again.",
        "DGP-4005": "Submit the message again.",
        "DGP-4006": "Do not submit a message again for which you have a receipt.",
    },
    other_advice="Contact the administrator and mention the reference.",
    reference="Reference",
    flow="Message flow",
    envelope_id="Your reference (ENVID)",
    digest="SHA-256 of the contents",
    arrival="Submitted",
    written="Written",
    recipient="Recipient",
    next_step="What to do",
    minimal_title="RECEIPT WITHOUT DETAILS",
    minimal="The details of this receipt could not be shown safely. "
    "Contact the administrator and mention the reference.",
    finding=Finding.english,
)
_LANGUAGES: Final = (_DUTCH, _ENGLISH)
_SUBJECTS: Final = {
    Verdict.ACCEPTED: "Positieve ontvangstbevestiging / accepted",
    Verdict.REFUSED: "Negatieve ontvangstbevestiging / refused",
    Verdict.DELAYED: "Vertraging / delayed",
    None: "Ontvangstbericht / receipt",
}
_CLASS_POSITION: Final = len("DGP-")


def subject(verdict: Verdict | None, flow: str | None, reference: str | None) -> str:
    """Return a receipt's subject, ASCII: verdict, then flow and reference as far as they are known."""
    known = " ".join(filter(None, (flow, reference)))
    return f"{_SUBJECTS[verdict]}: {known}" if known else _SUBJECTS[verdict]


def report_text(report: Report, flow: str | None, written: datetime | None) -> str:
    """Return the text of a receipt, lines ended by LF; `written` is when Postfix wrote the notification."""
    return "\n\n".join("\n".join(_section(words, report, flow, written)) for words in _LANGUAGES) + "\n"


def minimal_text(verdict: Verdict | None, reference: str | None) -> str:
    """Return the text of a receipt that tells no more than the verdict, if known, and the reference."""
    sections = []
    for words in _LANGUAGES:
        title = words.minimal_title if verdict is None else words.titles[verdict]
        sections.append("\n".join([title, "", *_labelled(words.reference, reference), "", words.minimal]))
    return "\n\n".join(sections) + "\n"


def _section(words: _Words, report: Report, flow: str | None, written: datetime | None) -> Iterator[str]:
    yield words.titles[report.verdict]
    yield ""
    yield from _labelled(words.reference, report.reference)
    yield from _labelled(words.flow, flow)
    yield from _labelled(words.envelope_id, report.envelope_id)
    if report.digest:
        # On a line of its own the digest is not broken by quoted-printable, so that it can be searched for.
        yield f"{words.digest}:"
        yield f"  {report.digest}"
    yield from _labelled(words.arrival, _moment(report.arrival))
    yield from _labelled(words.written, _moment(written))
    for recipient in report.recipients:
        yield ""
        yield from _recipient_lines(words, recipient)


def _recipient_lines(words: _Words, recipient: Recipient) -> Iterator[str]:
    yield f"{words.recipient}: {recipient.address}"
    yield f"  {words.sentences[recipient.verdict]}"
    for finding in recipient.findings:
        yield f"  - {finding.reason.code}: {words.finding(finding)}"
    if recipient.findings:
        yield f"  {words.next_step}: {_advice(words, recipient.findings[0])}"


def _advice(words: _Words, finding: Finding) -> str:
    code = finding.reason.code
    return words.advice.get(code) or words.advice.get(code[_CLASS_POSITION]) or words.other_advice


def _labelled(label: str, value: str | None) -> list[str]:
    return [f"{label}: {value}"] if value else []


def _moment(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M:%S %z}".rstrip() if moment else None
