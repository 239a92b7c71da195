"""`digipoort lint`: how a file becomes header and body as in Postfix, the verdict, and what the command prints."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from digipoort import reasons
from digipoort.cli import lint as command
from digipoort.cli import main
from digipoort.interface.message_file import lint
from digipoort.interface.profile import InterfaceProfile
from digipoort.profiles import FlowProfile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.testing import Result

    from digipoort.interface.message_file import Verdict

HEADER: Final = (
    b"From: Bloemen <bloemen@party.test>\r\nTo: ags@gov.test\r\nDate: Mon, 23 Nov 2026 21:15:02 +0100\r\n"
    b"Message-ID: <1@party.test>\r\n"
)
BODY: Final = b"UNB+UNOC:3'\r\n"
GOOD: Final = HEADER + b"\r\n" + BODY
BASE64: Final = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n*"
FLOW: Final = FlowProfile("AGS", 10_000, InterfaceProfile())
PIECES: Final = (
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b"From ", b">", b":", b"From:", b"To: ", b"a@b.test", b"<", b"(", b'"',
    b"X-Digipoort-A:", b"Content-Type: multipart/mixed; boundary=x\r\n", b"MIME-Version: 1.0\n", b"--x\r\n", b"--x--",
    b"\xff", b"x" * 3000, b"Content-Transfer-Encoding: base64\n",
)  # fmt: skip
NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
PROFILES: Final = {
    "version": 1,
    "addresses": {"ags@gov.test": "AGS"},
    "flows": {
        "AGS": {"size_limit": 10_000, "interface": {"checks": {"DGP-3005": False}}},
        "EMCS": {"size_limit": len(GOOD) - 1, "interface": {}},
        "NCTS": {"size_limit": 10_000, "interface": {"allowed_extensions": ["edi"]}},
    },
}


def codes(verdict: Verdict) -> list[str]:
    return [finding.reason.code for finding in verdict.findings]


def notes(verdict: Verdict) -> str:
    return " ".join(note.english for note in verdict.notes)


def body_digest(body: bytes) -> str:
    return f"sha256={hashlib.sha256(body).hexdigest()}"


# --- reading ---------------------------------------------------------------------------------------------------------
def test_a_good_message_is_accepted_and_measured() -> None:
    verdict = lint(GOOD, FLOW)
    assert (verdict.findings, verdict.notes) == ((), ())
    assert (verdict.measures.octets, verdict.digest) == (len(GOOD), body_digest(BODY))


def test_lines_that_all_end_in_lf_are_judged_as_a_mail_client_sends_them() -> None:
    verdict = lint(GOOD.replace(b"\r\n", b"\n"), FLOW)
    assert verdict.findings == ()
    assert (verdict.measures.octets, verdict.digest) == (len(GOOD), lint(GOOD, FLOW).digest)
    assert "end in LF" in notes(verdict)


@pytest.mark.parametrize(
    "raw",
    [
        GOOD + b"bare LF\n",
        GOOD.replace(b"\r\n", b"\n", 1),
        GOOD + b"bare\rCR\r\n",
        GOOD + b"CR CR LF\r\r\n",
        GOOD + b"CR at the end\r",
        GOOD.replace(b"Bloemen", b"Bloe\rmen"),
        GOOD + b"\0\r\n",
        GOOD.replace(b"Bloemen", b"\0"),
        GOOD.replace(b"\r\n", b"\n") + b"bare\rCR\n",
    ],
)
def test_a_bare_cr_or_lf_or_a_nul_is_found_in_header_and_body(raw: bytes) -> None:
    assert reasons.BODY_OCTET_FORBIDDEN.code in codes(lint(raw, FLOW))


def test_the_last_line_gets_its_end_as_in_smtp() -> None:
    assert lint(GOOD.removesuffix(b"\r\n"), FLOW) == lint(GOOD, FLOW)


@pytest.mark.parametrize("raw", [HEADER, HEADER.removesuffix(b"\r\n"), HEADER + b"\r\n"])
def test_a_message_without_body_has_an_empty_one(raw: bytes) -> None:
    verdict = lint(raw, FLOW)
    assert (codes(verdict), verdict.notes, verdict.digest) == ([], (), body_digest(b""))
    assert verdict.measures.octets == len(HEADER) + 2


@pytest.mark.parametrize("rest", [0, 1, 2])
def test_a_line_end_at_the_end_of_a_chunk_stays_one(rest: int) -> None:
    body = b"x" * 70 + b"\r\n"
    filled = (b"." * (65_536 - 1 - rest) + b"\r\n" + body * 2000)[1:]
    verdict = lint(HEADER + b"\r\n" + filled, FlowProfile("AGS", 2**30, InterfaceProfile(max_line_octets=100_000)))
    assert (codes(verdict), verdict.digest) == ([], body_digest(filled))


@pytest.mark.parametrize("first", [b"From bloemen@party.test Mon\r\n", b">From x\r\n", b"From a\r\nFrom b\r\n"])
def test_a_mailbox_files_from_line_is_found_and_the_header_goes_on(first: bytes) -> None:
    verdict = lint(first + GOOD, FLOW)
    assert set(codes(verdict)) == {reasons.MAILBOX_LINE.code}
    assert verdict.digest == lint(GOOD, FLOW).digest


@pytest.mark.parametrize("space", [b" ", b"\t"])
@pytest.mark.parametrize(("first", "number"), [(b"", 1), (b"From a\r\n", 2)])
def test_a_first_line_that_begins_with_white_space_ends_the_header(first: bytes, number: int, space: bytes) -> None:
    verdict = lint(first + space + GOOD, FLOW)
    assert codes(verdict).count(reasons.HEADER_MISSING.code) == 4
    assert verdict.digest == body_digest(space + GOOD)
    assert f"Line {number} is no header field" in notes(verdict)


@pytest.mark.parametrize(
    "line", [b"no field", b"name with space: x", b": no name", b"caf\xc3\xa9: x", b"\r", b"a" * 2048]
)
def test_a_line_that_is_no_field_ends_the_header_with_a_note_only(line: bytes) -> None:
    verdict = lint(HEADER + b"Subject: a\r\n fold\r\n" + line + b": value\r\nX-Later: y\r\n", FLOW)
    assert "Line 7 is no header field" in notes(verdict)
    assert verdict.digest == body_digest(line + b": value\r\nX-Later: y\r\n")
    assert verdict.measures.fields == 5


def test_white_space_before_the_colon_is_let_pass_and_not_counted() -> None:
    verdict = lint(GOOD.replace(b"Date:", b"Date \t:"), FLOW)
    assert (codes(verdict), verdict.measures.octets) == ([], len(GOOD))


def test_a_folded_field_is_one_field_that_counts_its_line_ends() -> None:
    raw = GOOD.replace(b"Bloemen <", b"Bloemen\r\n\t<")
    verdict = lint(raw, FLOW)
    assert (codes(verdict), verdict.measures.octets, verdict.measures.fields) == ([], len(raw), 4)


def test_the_gateways_headers_are_removed_with_a_note() -> None:
    verdict = lint(b"x-digipoort-Reference: forged\r\nX-DIGIPOORT-A: b\r\n" + GOOD, FLOW)
    assert (codes(verdict), verdict.measures) == ([], lint(GOOD, FLOW).measures)
    assert "removes 2 of the headers" in notes(verdict)


def test_an_empty_file_lacks_what_is_required() -> None:
    verdict = lint(b"", FLOW)
    assert codes(verdict) == [reasons.HEADER_MISSING.code] * 4
    assert (verdict.measures.octets, verdict.digest) == (2, body_digest(b""))


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_any_octets_get_a_verdict_and_line_ends_of_one_kind_do_not_matter(raw: bytes) -> None:
    verdict = lint(raw, FLOW)
    assert len(verdict.findings) <= 10
    if b"\r" not in raw:
        other = lint(raw.replace(b"\n", b"\r\n"), FLOW)
        assert (verdict.findings, verdict.measures, verdict.digest) == (other.findings, other.measures, other.digest)


# --- the envelope ----------------------------------------------------------------------------------------------------
def test_the_sender_is_the_address_in_from_unless_another_is_given() -> None:
    assert codes(lint(GOOD, FLOW, "BLOEMEN@party.test")) == []
    assert codes(lint(GOOD, FLOW, "maas@party.test")) == [reasons.FROM_NOT_SENDER.code]
    assert codes(lint(b"Sender: maas@party.test\r\n" + GOOD, FLOW)) == [reasons.SENDER_HEADER_DIFFERS.code]


@pytest.mark.parametrize("value", [b"a@party.test, b@party.test", b"nobody", b"party: ;"])
def test_without_one_address_in_from_the_sender_is_not_known(value: bytes) -> None:
    verdict = lint(GOOD.replace(b"Bloemen <bloemen@party.test>", value), FLOW)
    assert codes(verdict) == [reasons.FROM_NOT_SENDER.code]
    assert "envelope sender (MAIL FROM) is not known" in notes(verdict)


def test_recipients_are_looked_for_only_when_given() -> None:
    raw = GOOD.replace(b"To: ags@gov.test", b"To: other@gov.test")
    assert codes(lint(raw, FLOW)) == []
    assert codes(lint(raw, FLOW, recipients=["AGS@gov.test"])) == [reasons.RECIPIENT_NOT_IN_HEADER.code]
    assert codes(lint(GOOD, FLOW, recipients=["<AGS@gov.test>"])) == []
    assert codes(lint(GOOD, FLOW, recipients=["\udcff@gov.test"])) == [reasons.RECIPIENT_NOT_IN_HEADER.code]


def test_the_flows_size_limit_counts() -> None:
    assert codes(lint(GOOD, FlowProfile("AGS", len(GOOD), InterfaceProfile()))) == []
    assert codes(lint(GOOD, FlowProfile("AGS", len(GOOD) - 1, InterfaceProfile()))) == [reasons.MESSAGE_TOO_LARGE.code]


# --- the command -----------------------------------------------------------------------------------------------------
@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.eml"
    path.write_bytes(GOOD)
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.eml"
    path.write_bytes(b"Bcc: \x1b[2J@x.test\r\n" + GOOD.replace(b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\n" + BASE64))
    return str(path)


@pytest.fixture
def profiles(tmp_path: Path) -> str:
    path = tmp_path / "profiles.json"
    path.write_text(json.dumps(PROFILES), encoding="utf-8")
    return str(path)


def run(*arguments: str, typed: bytes = b"", settings: Mapping[str, str] = NO_SETTINGS) -> Result:
    """Run the command with these settings and no others."""
    variables = {"LOGICAL_DOMAINS": None, "MAPS_DIRECTORY": None, "DIGIPOORT_SETTINGS": None, **settings}
    return CliRunner(mix_stderr=False).invoke(main, ["lint", *arguments], input=typed, env=variables)


def test_a_table_per_file_in_english(good: str, bad: str) -> None:
    result = run(good, bad)
    assert result.exit_code == 1, result.stderr
    assert result.stdout.splitlines() == [
        f"{good}: accepted ({len(GOOD)} octets, {body_digest(BODY)})",
        f"{bad}: refused",
        "  PART  CODE      FINDING",
        "  -     DGP-3005  The header Bcc is not allowed.",
        "  0     DGP-3028  The base64 contents cannot be decoded: alphabet (part 0).",
    ]
    assert result.stderr == ""


def test_a_table_in_dutch_with_notes(bad: str) -> None:
    result = run("--language", "nl", "-", bad, typed=GOOD.replace(b"\r\n", b"\n"))
    assert result.exit_code == 1, result.stderr
    assert result.stdout.splitlines() == [
        f"-: aangenomen ({len(GOOD)} octets, {body_digest(BODY)})",
        "  let op: Alle regels eindigen op LF; ze zijn beoordeeld met CRLF, zoals een mailprogramma ze verstuurt.",
        f"{bad}: geweigerd",
        "  DEEL  CODE      BEVINDING",
        "  -     DGP-3005  De header Bcc is niet toegestaan.",
        "  0     DGP-3028  De base64-inhoud is niet te decoderen: alphabet (deel 0).",
    ]


def test_json_has_every_field(good: str, bad: str) -> None:
    result = run("--json", good, bad, "-", typed=b"no field\r\n" + GOOD)
    assert result.exit_code == 1, result.stderr
    first, second, third = json.loads(result.stdout)
    assert first == {
        "file": good,
        "accepted": True,
        "octets": len(GOOD),
        "digest": body_digest(BODY),
        "findings": [],
        "notes": [],
    }
    assert (second["file"], second["accepted"], second["notes"]) == (bad, False, [])
    assert second["findings"] == [
        {
            "code": "DGP-3005",
            "smtp": 554,
            "status": "5.6.0",
            "parameters": {},
            "english": "The header Bcc is not allowed.",
            "dutch": "De header Bcc is niet toegestaan.",
        },
        {
            "code": "DGP-3028",
            "smtp": 554,
            "status": "5.6.0",
            "parameters": {"cause": "alphabet", "part": "0"},
            "english": "The base64 contents cannot be decoded: alphabet (part 0).",
            "dutch": "De base64-inhoud is niet te decoderen: alphabet (deel 0).",
        },
    ]
    assert third["notes"] == [
        {
            "english": "Line 1 is no header field: the header ends before it, and it belongs to the body.",
            "dutch": "Regel 1 is geen headerveld: de header eindigt ervoor, en de regel hoort bij de inhoud.",
        },
        {
            "english": "From is not one address, so the envelope sender (MAIL FROM) is not known.",
            "dutch": "From is niet één adres, dus de afzender op de envelop (MAIL FROM) is niet bekend.",
        },
    ]


def test_what_a_message_holds_cannot_steer_the_terminal(profiles: str) -> None:
    # A private-use character: storable in a file name, but a terminal may do anything with it.
    named = b"Content-Type: application/octet-stream; name*=utf-8''x.%EE%80%80\r\n\r\n"
    raw = GOOD.replace(b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\n" + named)
    for json_or_table in ([], ["--json"]):
        result = run("--flow", "NCTS", "--profiles", profiles, *json_or_table, "-", typed=raw)
        assert result.exit_code == 1, result.stderr
        assert "DGP-3035" in result.stdout
        assert result.stdout.replace("\n", "").isprintable()


def test_the_envelope_is_taken_from_options(good: str) -> None:
    result = run(
        "--json", "--sender", "maas@party.test", "--recipient", "a@gov.test", "--recipient", "b@gov.test", good
    )
    (item,) = json.loads(result.stdout)
    assert [finding["code"] for finding in item["findings"]] == ["DGP-3003", "DGP-3004"]


def test_a_flow_is_read_from_a_profiles_file_without_settings(good: str, profiles: str) -> None:
    assert run("--flow", "AGS", "--profiles", profiles, good).exit_code == 0
    assert run("--flow", "AGS", "--profiles", profiles, "-", typed=b"Bcc: x@y.test\r\n" + GOOD).exit_code == 0
    result = run("--json", "--flow", "EMCS", "--profiles", profiles, good)
    (item,) = json.loads(result.stdout)
    assert result.exit_code == 1
    assert item["findings"][0]["parameters"] == {
        "flow": "EMCS",
        "size": str(len(GOOD)),
        "limit": str(len(GOOD) - 1),
    }


def test_without_profiles_those_published_on_this_host_count(good: str, profiles: str, tmp_path: Path) -> None:
    settings = {"LOGICAL_DOMAINS": "gov.test", "MAPS_DIRECTORY": str(tmp_path)}
    assert run("--flow", "AGS", good, settings=settings).exit_code == 0
    assert run("--flow", "EMCS", good, settings=settings).exit_code == 1
    assert run("--flow", "AGS", good).exit_code == os.EX_CONFIG
    assert profiles == str(tmp_path / "profiles.json")


def test_an_unknown_flow_is_refused_with_the_known_ones(good: str, profiles: str) -> None:
    result = run("--flow", "ECS", "--profiles", profiles, good)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "ECS is not one of AGS, EMCS, NCTS." in result.stderr


@pytest.mark.parametrize(
    ("content", "sentence"), [("{", "not JSON"), ('{"version": 2, "addresses": {}, "flows": {}}', "version is not 1")]
)
def test_profiles_that_cannot_be_used_are_a_fault(good: str, profiles: str, content: str, sentence: str) -> None:
    Path(profiles).write_text(content, encoding="utf-8")
    result = run("--flow", "AGS", "--profiles", profiles, good)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{profiles}: " in result.stderr
    assert sentence in result.stderr


def test_profiles_without_a_flow_are_wrong_usage(good: str, profiles: str) -> None:
    result = run("--profiles", profiles, good)
    assert result.exit_code == 2
    assert "--profiles needs --flow" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--language", "de", "-"), ("--unknown", "-")])
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_what_cannot_be_read_is_told_after_the_verdicts(good: str, tmp_path: Path) -> None:
    missing, folder = str(tmp_path / "missing.eml"), str(tmp_path)
    result = run("--json", missing, good, folder)
    assert result.exit_code == 2
    assert [item["file"] for item in json.loads(result.stdout)] == [good]
    assert result.stderr.splitlines() == [
        f"digipoort: {missing}: No such file or directory.",
        f"digipoort: {folder}: Is a directory.",
    ]


def test_a_file_above_the_ceiling_is_not_judged(good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_FILE_OCTETS", len(GOOD))
    assert run(good).exit_code == 0
    monkeypatch.setattr(command, "MAX_FILE_OCTETS", len(GOOD) - 1)
    result = run(good)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"digipoort: {good}: larger than {len(GOOD) - 1} octets.\n"


def test_it_runs_as_a_process_with_nothing_set_up(good: str, bad: str) -> None:
    def process(*arguments: str, typed: bytes = b"") -> tuple[int, Any]:
        result = subprocess.run(
            [sys.executable, "-m", "digipoort.cli", "lint", "--json", *arguments],
            input=typed,
            capture_output=True,
            check=False,
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        )
        return result.returncode, json.loads(result.stdout)

    assert process(good)[0] == 0
    assert process(good, bad)[0] == 1
    status, (item,) = process("-", typed=GOOD)
    assert (status, item["accepted"], item["octets"]) == (0, True, len(GOOD))
