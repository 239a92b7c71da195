"""What resubmissions mean to a verdict and to a receipt, apart from how the policy daemon is asked.

Acceptance claims: the first message of its name is remembered from then on. A receipt is written from stage 1's copy,
which carries nothing of the verdict, so the receipt recalls; and a receipt that says that a claimed message came to
nothing after all releases it, so that the submitter can do what the receipt advises: submit again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.interface.addresses import normalised
from digipoort.interface.fields import parse_fields
from digipoort.interface.header_values import message_id
from digipoort.reasons import Finding
from digipoort.resubmission import Policy, Question, Request, Standing, Submitted
from digipoort_milter.report_reader import MAX_RETURNED_FIELDS, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digipoort.profiles import FlowProfile, Profiles
    from digipoort.resubmission import History
    from digipoort_milter.report_reader import Recipient, Report
    from digipoort_milter.resubmission_client import Ask

_AFTER_ACCEPTANCE: Final = "DGP-4"


def sole_message_id(values: Sequence[bytes]) -> bytes | None:
    """Return the identifier in the Message-ID values of a message, or None when there is not exactly one."""
    return message_id(values[0]) if len(values) == 1 else None


def refusals(flow: FlowProfile, messages: Sequence[Submitted], ask: Ask) -> list[Finding]:
    """Claim a message, given once for each recipient, and return why its flow refuses it. Raises Unanswered."""
    histories = ask([Question(Request.CLAIM, message) for message in messages])
    found = [refusal(flow, history) for history in histories]
    return [finding for finding in found if finding is not None]


def refusal(flow: FlowProfile, history: History) -> Finding | None:
    """Return why a flow refuses a message with such a history, or None when it does not."""
    earlier = {"earlier": history.earlier or "-"}
    if history.standing is Standing.REUSED and flow.refuses_reused_identifiers:
        return Finding(reasons.MESSAGE_ID_REUSED, earlier)
    if history.standing is Standing.REPEATED and flow.resubmission is Policy.REFUSE:
        return Finding(reasons.RESUBMITTED, earlier)
    return None


def told(report: Report, submitter: str, profiles: Profiles, ask: Ask) -> Report:
    """Return the report with DGP-4006 for each recipient who gets the message once more. Raises Unanswered.

    What the report says was not delivered after all is released. `submitter` is a normalised address.
    """
    header = parse_fields(report.returned.header, MAX_RETURNED_FIELDS)
    identifier = sole_message_id([field.value for field in header if field.name.lower() == "message-id"])
    if identifier is None or report.reference is None or report.digest is None:
        return report
    questions = {}
    for place, recipient in enumerate(report.recipients):
        address = normalised(recipient.address.encode("ascii"))
        request = _request(recipient, profiles.flow_for((address,), submitter))
        if request is not None:
            names = (submitter.encode("utf-8", "surrogateescape"), address.encode("ascii"))
            questions[place] = Question(request, Submitted(report.reference, *names, identifier, report.digest))
    if not questions:
        return report
    histories = dict(zip(questions, ask(list(questions.values())), strict=True))
    recipients = [_told(recipient, histories.get(place)) for place, recipient in enumerate(report.recipients)]
    return replace(report, recipients=tuple(recipients))


def _request(recipient: Recipient, flow: FlowProfile | None) -> Request | None:
    """Return what a recipient's fate asks for. A message that acceptance itself refused was never claimed."""
    if flow is None or not flow.recognises_resubmissions:
        return None
    if recipient.verdict is Verdict.ACCEPTED:
        return Request.RECALL if flow.resubmission is Policy.TELL else None
    gone = recipient.verdict is Verdict.REFUSED and recipient.findings[0].reason.code.startswith(_AFTER_ACCEPTANCE)
    return Request.RELEASE if gone else None


def _told(recipient: Recipient, history: History | None) -> Recipient:
    if recipient.verdict is not Verdict.ACCEPTED or history is None or history.standing is not Standing.REPEATED:
        return recipient
    return replace(recipient, findings=(Finding(reasons.RECEIVED_BEFORE, {"earlier": history.earlier or "-"}),))
