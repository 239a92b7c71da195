"""The submission and acceptance roles, driven through pymilter's callbacks as libmilter drives them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import Milter
import pytest

from digipoort.interface.measures import Measures
from digipoort.references import is_reference
from digipoort_milter import acceptance, submission
from digipoort_milter.outcome import ChangeHeader, removals, sole_header
from tests.milter_samples import REFERENCE, Context, fields, logger, settings

if TYPE_CHECKING:
    from pathlib import Path

BODY = b"UNA:+.? '\r\n"
HEADER = (
    ("From", b" trader@logical.example"),
    ("To", b" ags@logical.example"),
    ("Date", b" Fri, 2 Jan 2026 00:00:00 +0000"),
    ("Message-ID", b" <1@x>"),
)
# What Postfix 3.7 offers in its negotiation.
OFFERED = [0x1FF, 0x1FFFFF, 0, 0]


def connect(session: Any, macros: dict[str, str] | None = None) -> Context:  # noqa: ANN401 - any role's session
    context = Context(macros={"i": "56EC520C0A4"} | (macros or {}))
    session._setctx(context)  # noqa: SLF001 - as pymilter's own negotiate callback does
    options = list(OFFERED)
    assert session.negotiate(options) == Milter.CONTINUE
    assert options[1] & Milter.P_HDR_LEADSPC
    return context


def feed(
    session: Any,  # noqa: ANN401 - any role's session
    header: tuple[tuple[str, bytes], ...],
    body: bytes = BODY,
    *,
    sender: bytes = b"<trader@logical.example>",
    parameters: tuple[bytes, ...] = (),
    recipient: bytes = b"<ags@logical.example>",
) -> int:
    session.envfrom_bytes(sender, *parameters)
    session.envrcpt_bytes(recipient, b"NOTIFY=SUCCESS")
    for name, value in header:
        session.header_bytes(name, value)
    session.body(body)
    code: int = session.eom()
    return code


@pytest.fixture
def sending() -> submission.SubmissionSession:
    return submission.session_factory(settings(), logger())()


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    path = tmp_path / "profiles.json"
    # Earlier submissions are the matter of test_milter_resubmission.py: here nobody is asked.
    interface = {"max_header_octets": 2000, "checks": {"DGP-3043": False}}
    flows = {"AGS": {"size_limit": 500, "interface": interface, "resubmission": "accept"}}
    path.write_text(json.dumps({"version": 1, "addresses": {"ags@logical.example": "AGS"}, "flows": flows}))
    return path


@pytest.fixture
def judging(profiles: Path) -> acceptance.AcceptanceSession:
    return acceptance.session_factory(settings(profiles), logger())()


def marks(
    body: bytes = BODY, size: int = 100, envelope: bytes | None = None, *, nul: bool = False
) -> tuple[tuple[str, bytes], ...]:
    digest = b" sha256=" + hashlib.sha256(body).hexdigest().encode()
    listed = [
        ("X-Digipoort-Reference", b" " + REFERENCE.encode()),
        ("X-Digipoort-Digest", digest),
        ("X-Digipoort-Measures", b" " + Measures(size, 100, 4, 0, 76, bare=False, nul=nul).text().encode()),
    ]
    if envelope is not None:
        listed.append(("X-Digipoort-Envelope", envelope))
    return tuple(listed)


def test_only_the_needed_callbacks_are_negotiated() -> None:
    sessions: list[tuple[Milter.Base, bool]] = [
        (submission.session_factory(settings(), logger())(), False),
        (acceptance.session_factory(settings(), logger())(), True),
    ]
    for session, recipients in sessions:
        context = Context()
        session._setctx(context)  # noqa: SLF001 - as in connect
        options = list(OFFERED)
        session.negotiate(options)
        skipped = options[1]
        for step in (Milter.P_NOCONNECT, Milter.P_NOHELO, Milter.P_NODATA, Milter.P_NOUNKNOWN, Milter.P_NOEOH):
            assert skipped & step
        for answer in (Milter.P_NR_MAIL, Milter.P_NR_HDR, Milter.P_NR_BODY):
            assert skipped & answer
        assert bool(skipped & Milter.P_NORCPT) is not recipients


def test_submission_marks_the_message(sending: submission.SubmissionSession, caplog: pytest.LogCaptureFixture) -> None:
    context = connect(sending, {"{auth_authen}": "trader", "{client_addr}": "192.0.2.1"})
    assert feed(sending, HEADER, parameters=(b"SIZE=9", b"RET=HDRS", b"ENVID=a")) == Milter.ACCEPT
    added = dict(context.added)
    assert is_reference(added["X-Digipoort-Reference"].strip())
    assert added["X-Digipoort-Digest"] == " sha256=" + hashlib.sha256(BODY).hexdigest()
    octets = len(b"".join(name.encode() + b":" + value + b"\r\n" for name, value in HEADER) + b"\r\n" + BODY)
    longest = len("Date: Fri, 2 Jan 2026 00:00:00 +0000")
    header_octets = octets - len(b"\r\n" + BODY)
    expected = Measures(octets, header_octets, 4, 0, longest, bare=False, nul=False)
    assert added["X-Digipoort-Measures"] == f" {expected.text()}"
    assert added["X-Digipoort-Envelope"] == " ENVID=a RET=HDRS"
    assert context.changed == []
    line = caplog.records[-1].getMessage()
    assert line.startswith(f"event=message_submitted ref={added['X-Digipoort-Reference'].strip()} queue_id=56EC520C0A4")
    assert "login=trader client=192.0.2.1" in line


def test_submission_removes_what_the_client_forged(sending: submission.SubmissionSession) -> None:
    context = connect(sending)
    forged = (
        ("X-Digipoort-Reference", b" 1"),
        ("x-digipoort-reference", b" 2"),
        ("X-DIGIPOORT-Other ", b" 3"),
    )
    feed(sending, (*forged, *HEADER))
    assert context.changed == [
        ("x-digipoort-reference", 2, ""),
        ("x-digipoort-reference", 1, ""),
        ("x-digipoort-other", 1, ""),
    ]
    clean = connect(sending)
    feed(sending, HEADER)
    assert dict(clean.added)["X-Digipoort-Measures"] == dict(context.added)["X-Digipoort-Measures"]


def test_submission_without_envelope_parameters(sending: submission.SubmissionSession) -> None:
    context = connect(sending)
    feed(sending, HEADER)
    assert [name for name, _ in context.added] == [
        "X-Digipoort-Reference",
        "X-Digipoort-Digest",
        "X-Digipoort-Measures",
    ]


def test_submission_refuses_a_flood_of_forged_headers(sending: submission.SubmissionSession) -> None:
    context = connect(sending)
    flood = tuple((f"X-Digipoort-{number}", b" x") for number in range(101))
    assert feed(sending, (*flood, *HEADER)) == Milter.REJECT
    assert context.reply is not None
    assert context.reply[:2] == ("550", "5.6.0")
    assert context.added == []
    assert context.changed == []


def test_submission_refuses_a_flood_of_fields(sending: submission.SubmissionSession) -> None:
    context = connect(sending)
    assert feed(sending, (("X-A", b" b"),) * 10_000) == Milter.ACCEPT
    assert feed(sending, (("X-A", b" b"),) * 10_001) == Milter.REJECT
    assert context.reply is not None
    assert str(context.reply[2]).startswith("DGP-3021 (limit=10000) ")


def test_messages_on_one_connection_share_nothing(sending: submission.SubmissionSession) -> None:
    context = connect(sending)
    feed(sending, (("X-Digipoort-Reference", b" 1"), *HEADER), parameters=(b"ENVID=a",))
    sending.envfrom_bytes(b"<x@y>", b"ENVID=b")
    sending.header_bytes("X-Digipoort-Measures", b" 2")
    sending.body(b"aborted")
    sending.abort()
    first, context.added = context.added, []
    context.changed = []
    feed(sending, HEADER)
    assert context.changed == []
    names = [name for name, _ in context.added]
    assert "X-Digipoort-Envelope" not in names
    assert dict(first)["X-Digipoort-Measures"] == dict(context.added)["X-Digipoort-Measures"]
    assert dict(first)["X-Digipoort-Reference"] != dict(context.added)["X-Digipoort-Reference"]


def test_without_leading_space_negotiated_postfix_writes_the_space(sending: submission.SubmissionSession) -> None:
    context = Context()
    sending._setctx(context)  # noqa: SLF001 - as in connect
    sending.negotiate([0x1FF, 0xFFFFF, 0, 0])
    feed(sending, HEADER)
    assert not any(value.startswith(" ") for _, value in context.added)


@pytest.mark.parametrize("step", ["header", "body", "finish"])
def test_a_fault_of_ours_is_temporary(
    sending: submission.SubmissionSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(step)

    context = connect(sending)
    with monkeypatch.context() as patch:
        patch.setattr(submission.Submission, step, fail)
        assert feed(sending, HEADER) == Milter.TEMPFAIL
    assert context.reply is not None
    assert context.reply[:2] == ("451", "4.3.0")
    assert str(context.reply[2]).startswith("DGP-9007 ")
    events = [record.getMessage() for record in caplog.records]
    assert len(events) == 1
    assert events[0].startswith("event=internal_error ref=DP-")
    assert feed(sending, HEADER) == Milter.ACCEPT


def test_a_fault_at_the_beginning_is_temporary(
    sending: submission.SubmissionSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError("no random octets")

    connect(sending)
    with monkeypatch.context() as patch:
        patch.setattr(submission, "new_reference", fail)
        assert feed(sending, HEADER) == Milter.TEMPFAIL


def test_end_without_a_beginning_is_temporary(sending: submission.SubmissionSession) -> None:
    connect(sending)
    assert sending.eom() == Milter.TEMPFAIL
    assert sending.close() == Milter.CONTINUE


def test_acceptance_accepts(judging: acceptance.AcceptanceSession, caplog: pytest.LogCaptureFixture) -> None:
    context = connect(judging)
    assert feed(judging, (*HEADER, *marks(envelope=b" ENVID=a RET=HDRS"))) == Milter.ACCEPT
    assert context.changed == [("X-Digipoort-Measures", 1, ""), ("X-Digipoort-Envelope", 1, "")]
    assert context.sender == ("<trader@logical.example>", "ENVID=a RET=HDRS")
    line = caplog.records[-1].getMessage()
    assert line.startswith(f"event=message_accepted ref={REFERENCE} queue_id=56EC520C0A4 elapsed_ms=")
    assert "flow=AGS" in line


def test_acceptance_leaves_the_envelope_alone_when_nothing_was_given(judging: acceptance.AcceptanceSession) -> None:
    context = connect(judging)
    assert feed(judging, (*HEADER, *marks())) == Milter.ACCEPT
    assert context.sender is None
    assert context.changed == [("X-Digipoort-Measures", 1, "")]


def test_acceptance_of_a_message_without_body(judging: acceptance.AcceptanceSession) -> None:
    connect(judging)
    judging.envfrom_bytes(b"<trader@logical.example>")
    judging.envrcpt_bytes(b"<ags@logical.example>")
    for name, value in (*HEADER, *marks(b"")):
        judging.header_bytes(name, value)
    assert judging.eom() == Milter.ACCEPT


def test_the_senders_flow_counts_on_the_return_leg(judging: acceptance.AcceptanceSession) -> None:
    connect(judging)
    header = (("From", b" ags@logical.example"), ("To", b" trader@logical.example"), *HEADER[2:], *marks())
    sender, recipient = b"<ags@logical.example>", b"<trader@logical.example>"
    assert feed(judging, header, sender=sender, recipient=recipient) == Milter.ACCEPT


@pytest.mark.parametrize(
    ("sender", "recipient", "switch", "answer"),
    [
        ("ags@logical.example", "trader@logical.example", {}, Milter.REJECT),
        ("ags@logical.example", "trader@logical.example", {"DGP-3045": False}, Milter.ACCEPT),
        # It cannot know them; and what it made up is its own affair.
        ("trader@logical.example", "ags@logical.example", {}, Milter.ACCEPT),
    ],
)
def test_an_agency_names_no_host_of_its_own(
    profiles: Path, sender: str, recipient: str, switch: dict[str, bool], answer: int
) -> None:
    document = json.loads(profiles.read_bytes()) | {"physical_domains": ["phys.example"]}
    document["flows"]["AGS"]["interface"]["checks"] |= switch
    profiles.write_text(json.dumps(document))
    judging = acceptance.session_factory(settings(profiles), logger())()
    context = connect(judging)
    header = (
        ("From", f" {sender}".encode()),
        ("To", f" {recipient}".encode()),
        HEADER[2],
        ("Message-ID", b" <1@mx7.phys.example>"),
        ("X-Mailer", b" phys.example"),
        *marks(),
    )
    assert feed(judging, header, sender=f"<{sender}>".encode(), recipient=f"<{recipient}>".encode()) == answer
    if answer == Milter.REJECT:
        assert context.reply is not None
        assert context.reply[2:] == (
            "DGP-3045 (header=Message-ID) The header Message-ID names a host or a domain that is not to leave your "
            "organisation.",
        )


def refusal(context: Context) -> list[str | None]:
    assert context.reply is not None
    return [*context.reply[:2], *(str(line)[:8] for line in context.reply[2:])]


def test_acceptance_tells_all_findings(judging: acceptance.AcceptanceSession, caplog: pytest.LogCaptureFixture) -> None:
    context = connect(judging)
    header = (*HEADER[:2], ("Bcc", b" x"), ("MIME-Version", b" 2"), *marks(b"\x00", size=501, nul=True))
    assert feed(judging, header, b"\x00") == Milter.REJECT
    assert refusal(context) == [
        "554", "5.6.0", "DGP-3001", "DGP-3005", "DGP-3006", "DGP-3014", "DGP-3016", "DGP-3001",
    ]  # fmt: skip
    assert "event=message_refused" in caplog.records[-1].getMessage()
    assert "reason=DGP-3001,DGP-3005,DGP-3006" in caplog.records[-1].getMessage()


def test_acceptance_tells_at_most_ten_findings(judging: acceptance.AcceptanceSession) -> None:
    context = connect(judging)
    kind = ("Content-Type", b" multipart/mixed; boundary=b")
    body = b"--b\r\nContent-Type: x\r\n\r\n" * 20
    assert feed(judging, (kind, *marks(body)), body) == Milter.REJECT
    assert len(refusal(context)) == 12


def test_size_alone(judging: acceptance.AcceptanceSession) -> None:
    context = connect(judging)
    assert feed(judging, (*HEADER, *marks(size=500))) == Milter.ACCEPT
    assert feed(judging, (*HEADER, *marks(size=501))) == Milter.REJECT
    assert refusal(context) == ["552", "5.3.4", "DGP-3016"]


def test_a_percent_sign_survives_libmilter(tmp_path: Path) -> None:
    path = tmp_path / "profiles.json"
    flows = {"A%": {"size_limit": 1, "interface": {}}}
    path.write_text(json.dumps({"version": 1, "addresses": {"ags@logical.example": "A%"}, "flows": flows}))
    session = acceptance.session_factory(settings(path), logger())()
    context = connect(session)
    assert feed(session, (*HEADER, *marks())) == Milter.REJECT
    assert context.reply is not None
    assert str(context.reply[2]).startswith("DGP-3016 (flow=A%% size=100 limit=1) ")


@pytest.mark.parametrize("missing", range(3))
def test_marks_missing(judging: acceptance.AcceptanceSession, missing: int) -> None:
    context = connect(judging)
    some = tuple(mark for index, mark in enumerate(marks()) if index != missing)
    assert feed(judging, (*HEADER, *some)) == Milter.TEMPFAIL
    assert refusal(context) == ["451", "4.3.0", "DGP-9006"]


def test_changed_body_is_an_error(judging: acceptance.AcceptanceSession, caplog: pytest.LogCaptureFixture) -> None:
    context = connect(judging)
    assert feed(judging, (*HEADER, *marks()), BODY + b"\r\n") == Milter.TEMPFAIL
    assert refusal(context) == ["451", "4.3.0", "DGP-9004"]
    assert caplog.records[-1].levelname == "ERROR"
    assert caplog.records[-1].getMessage().startswith(f"event=message_deferred ref={REFERENCE}")


def test_unknown_flow_waits(judging: acceptance.AcceptanceSession) -> None:
    context = connect(judging)
    assert feed(judging, (*HEADER, *marks()), recipient=b"<new@logical.example>") == Milter.TEMPFAIL
    assert refusal(context) == ["450", "4.3.0", "DGP-9005"]


def test_without_profiles_everything_waits(tmp_path: Path) -> None:
    session = acceptance.session_factory(settings(tmp_path / "none.json"), logger())()
    context = connect(session)
    assert feed(session, (*HEADER, *marks())) == Milter.TEMPFAIL
    assert refusal(context) == ["451", "4.3.0", "DGP-9007"]


def test_acceptance_forgets_an_aborted_message(judging: acceptance.AcceptanceSession) -> None:
    connect(judging)
    judging.envfrom_bytes(b"<trader@logical.example>")
    judging.envrcpt_bytes(b"<new@logical.example>")
    judging.header_bytes("Bcc", b" x")
    judging.body(b"\x00")
    judging.abort()
    assert feed(judging, (*HEADER, *marks())) == Milter.ACCEPT


def test_too_many_recipients_are_our_fault(judging: acceptance.AcceptanceSession) -> None:
    connect(judging)
    judging.envfrom_bytes(b"<trader@logical.example>")
    for _ in range(1001):
        judging.envrcpt_bytes(b"<ags@logical.example>")
    assert judging.eom() == Milter.TEMPFAIL


def test_removals_go_from_the_last() -> None:
    assert removals("A", 2) == [ChangeHeader("A", 2), ChangeHeader("A", 1)]


def test_sole_header_leaves_one() -> None:
    found = fields(("a", b"1"), ("B", b""), ("A", b"2"), ("A", b"3"))
    assert sole_header(found, "A", "x") == [ChangeHeader("A", 3), ChangeHeader("A", 2), ChangeHeader("A", 1, "x")]
