"""What Postfix itself answers in our name is said in the catalogue's words, and stays within a reply line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import jinja2
import pytest

from digipoort import reasons
from digipoort.interface.profile import CEILINGS
from digipoort.reasons import Finding, Reason, findings_in

TEMPLATES: Final = Path(__file__).resolve().parents[2] / "ansible" / "roles" / "postfix" / "templates"
# A rule of refusals.pcre: a pattern, and what Postfix adds to the reply; \\c joins it to Postfix's own words.
RULE: Final = re.compile(r"/(?P<pattern>.+)/ (?P<joined>\\c )?(?P<text>DGP-.+)")
LINES: Final = (TEMPLATES / "refusals.pcre.j2").read_text(encoding="utf-8").splitlines()
RULES: Final = [rule for line in LINES if (rule := RULE.fullmatch(line))]
# RFC 5321 section 4.5.3.1.5: 512 with CRLF. A text follows the codes, or, when it is joined, the words of Postfix.
REPLY_LINE_OCTETS: Final = 510
POSTFIX_WORDS_OCTETS: Final = 300


@pytest.mark.parametrize(
    ("template", "reason"),
    [("main.cf.j2", reasons.INTERNAL_ERROR), ("master.cf.j2", reasons.AUTHENTICATION_REQUIRED)],
)
def test_a_template_quotes_the_catalogue(template: str, reason: Reason) -> None:
    assert Finding(reason).reply() in (TEMPLATES / template).read_text(encoding="utf-8")


def test_every_line_of_the_refusals_is_understood() -> None:
    others = [line for line in LINES if line and not line.startswith("#") and not RULE.fullmatch(line)]
    assert others == ["if !/ DGP-[0-9]{4} /", "endif"]
    assert len(RULES) > 10


@pytest.mark.parametrize("rule", RULES, ids=[rule["pattern"] for rule in RULES])
def test_a_refusal_has_the_catalogues_words(rule: re.Match[str]) -> None:
    (finding,) = findings_in(rule["text"])
    assert finding.text() == rule["text"]
    # Postfix expands $name in these texts.
    assert "$" not in rule["text"]
    assert len(rule["text"]) + POSTFIX_WORDS_OCTETS <= REPLY_LINE_OCTETS


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("550 5.5.2 gateway.test Error: bare <LF> received", "DGP-3014"),
        ("550 5.7.1 disallowed character", "DGP-3014"),
        ("552 5.3.4 Message size exceeds fixed limit", "DGP-1010"),
        ("552 5.3.4 Error: message file too big", "DGP-1010"),
        ("554 5.4.0 Error: too many hops", "DGP-3039"),
        ("530 5.7.0 Must issue a STARTTLS command first", "DGP-1001"),
        ("535 5.7.8 Error: authentication failed: (reason unavailable)", "DGP-1012"),
        ("454 4.7.0 Temporary authentication failure: Connection lost", "DGP-9009"),
        ("550 5.7.0 Error: insufficient authorization", "DGP-1013"),
        ("554 5.7.1 <example.org>: Etrn command rejected: Access denied", "DGP-1013"),
        ("503 5.5.1 Error: nested MAIL command", "DGP-1014"),
        ("554 5.5.0 Error: SMTP protocol synchronization", "DGP-1014"),
        ("554 5.5.1 Error: no valid recipients", "DGP-1014"),
        ("500 5.5.2 Error: bad syntax", "DGP-1011"),
        ("501 5.1.7 Bad sender address syntax", "DGP-1011"),
        ("504 5.5.4 Encryption required for requested authentication mechanism", "DGP-1011"),
        ("555 5.5.4 Unsupported option: FOO=554 5.4.0 Error: too many hops", "DGP-1011"),
        ("421 4.4.2 gateway.test Error: timeout exceeded", "DGP-1015"),
        ("421 4.7.0 gateway.test Error: too many connections from 192.0.2.1", "DGP-1015"),
        ("450 4.7.1 Error: too many AUTH commands from 192.0.2.1", "DGP-1015"),
        ("452 4.5.3 Error: too many recipients", "DGP-1015"),
        ("454 4.3.0 Try again later", "DGP-9007"),
        ("452 4.3.1 Insufficient system storage", "DGP-9007"),
        ("550 5.7.1 <x%y@gov.test>: Relay access denied", "DGP-1006"),
        ("450 4.1.0 <a@trade.test>: Sender address rejected: User unknown in relay recipient table", "DGP-9005"),
        ("550 5.1.1 <552 5.3.4 @x.test>: Recipient address rejected", None),
    ],
)
def test_the_first_pattern_that_matches_a_reply_of_postfix(reply: str, code: str | None) -> None:
    found = next((findings_in(rule["text"]) for rule in RULES if re.search(rule["pattern"], reply)), [])
    assert [finding.reason.code for finding in found] == ([code] if code else [])


def test_the_limit_of_hops_is_the_interfaces_ceiling() -> None:
    (finding,) = [found for rule in RULES for found in findings_in(rule["text"]) if found.parameters]
    assert finding == Finding(reasons.TOO_MANY_HOPS, {"limit": str(CEILINGS["max_received"])})
    limits = [
        int(limit)
        for name in ("master.cf.j2", "main.cf.j2")
        for limit in re.findall(r"hopcount_limit *= *(\d+)", (TEMPLATES / name).read_text(encoding="utf-8"))
    ]
    # What submission takes, acceptance takes with the fields that the gateway adds.
    assert len(limits) == 2
    assert CEILINGS["max_received"] < limits[0] < limits[1]


def test_the_submission_services_forward_every_refusal() -> None:
    master = (TEMPLATES / "master.cf.j2").read_text(encoding="utf-8")
    submission, _, others = master.partition("{%- endmacro %}")
    assert "smtpd_reject_footer_maps=pcre:{{ digipoort_postfix_config_directory }}/refusals.pcre" in submission
    assert "smtpd_reject_footer_maps" not in others


def _options(*, ask: bool, file: str = "", directory: str = "") -> list[str]:
    """Return the options of a submission service in master.cf that are about client certificates."""
    environment = jinja2.Environment(trim_blocks=True, autoescape=False)  # noqa: S701 - no HTML
    template = environment.from_string((TEMPLATES / "master.cf.j2").read_text(encoding="utf-8"))
    settings = {
        "digipoort_client_certificates": ask,
        "digipoort_client_ca_file": file,
        "digipoort_client_ca_directory": directory,
        "digipoort_agency_transports": {},
        "digipoort_submission_address": "127.0.0.1",
    }
    options = str(getattr(template.make_module(settings), "submission")()).splitlines()  # noqa: B009 - the template's own
    return [option for option in options if re.search("cert|smtpd_tls|_relay_", option) and "#" not in option]


def test_no_certificate_is_asked_for_unless_wanted() -> None:
    assert _options(ask=False, file="/ca.pem", directory="/ca") == [
        "  -o { smtpd_relay_restrictions = permit_sasl_authenticated, check_client_access"
        f" static:{{{Finding(reasons.AUTHENTICATION_REQUIRED).reply()}}}, reject }}"
    ]


@pytest.mark.parametrize(
    ("trusted", "settings"),
    [
        ({}, []),
        ({"file": "/ca.pem"}, ["  -o smtpd_tls_CAfile=/ca.pem"]),
        ({"directory": "/ca"}, ["  -o smtpd_tls_CApath=/ca"]),
    ],
)
def test_a_certificate_is_asked_for(trusted: dict[str, str], settings: list[str]) -> None:
    first, *others, relay = _options(ask=True, **trusted)
    assert first == "  -o smtpd_tls_ask_ccert=yes"
    assert [option for option in others if "smtpd_tls" in option] == settings
    # Whoever shows none, or one that stands for nobody, comes to the refusal as ever.
    assert re.search(r" check_ccert_access \{.*\}, check_client_access static:\{530 .*\}, reject \}$", relay)
