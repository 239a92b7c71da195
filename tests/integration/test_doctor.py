"""`digipoort doctor` on the whole sandbox: all is well at first; then things are broken for real, and it says which."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
import trustme
from dotenv import dotenv_values
from psycopg.conninfo import conninfo_to_dict

from digipoort.doctor import commands, examination, host, postfixconfig, wiring
from digipoort.doctor.findings import Level
from digipoort.doctor.parts import PARTS
from digipoort.doctor.wiring import Paths
from digipoort.settings import AdminSettings, load, read_variables
from tests.integration import pop3
from tests.sandbox import layout as names
from tests.sandbox import stacks
from tests.sandbox.clients import compose
from tests.sandbox.gateway import admin_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from digipoort.doctor.postfixconfig import PostfixConfig, Service
    from tests.integration.gateway import Gateway

# What the machine that runs the tests may have its own ways with.
MACHINES: Final = {"time service", "units", "disk", "versions"}


@dataclass(frozen=True, slots=True)
class Told:
    """What doctor said: its exit status, its lines, and all of its output."""

    status: int
    findings: list[dict[str, str]]
    output: str

    def bad(self) -> set[str]:
        """Return the checks that were not ok, but for those that are the machine's."""
        return {one["check"] for one in self.findings if one["level"] != "ok"} - MACHINES

    def line(self, check: str, found: str) -> dict[str, str]:
        """Return the one line of a check with these words."""
        (line,) = [one for one in self.findings if one["check"] == check and found in one["found"]]
        return line


def _doctor(gateway: Gateway, *parts: str, **settings: str) -> Told:
    done = subprocess.run(
        [sys.executable, "-m", "digipoort.cli", "doctor", "--json", *parts],
        env=admin_environment(gateway.layout) | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return Told(done.returncode, json.loads(done.stdout), done.stdout)


@contextlib.contextmanager
def _stopped(gateway: Gateway, *daemons: str) -> Iterator[None]:
    gateway.control("stop", *daemons)
    try:
        yield
    finally:
        gateway.control("start", *daemons)


@contextlib.contextmanager
def _mode(path: Path, mode: int) -> Iterator[None]:
    before = path.stat().st_mode & 0o7777
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.fixture
def copy(gateway: Gateway, tmp_path: Path) -> Path:
    """Return a copy of Postfix's configuration, to be broken while the sandbox's goes on."""
    folder = tmp_path / "postfix"
    shutil.copytree(gateway.layout.postfix, folder)
    return folder


def _edit(folder: Path, *settings: str) -> dict[str, str]:
    """Change settings in a copy, and return the setting that makes doctor look at it."""
    subprocess.run(["/usr/sbin/postconf", "-c", folder, *settings], check=True)
    return {"POSTFIX_CONFIG_DIRECTORY": str(folder)}


def test_a_fresh_sandbox_is_well(gateway: Gateway) -> None:
    gateway.settle()
    told = _doctor(gateway)
    assert (told.status, told.bad()) == (0, set())
    checks = {one["check"] for one in told.findings}
    assert checks >= {
        "versions", "settings files", "settings", "directory", "schema", "writing", "privileges", "clock", "time zone",
        "credentials", "maps", "tables", "units", "policy daemon", "resubmission", "milter submission",
        "milter acceptance", "milter receipt", "authd", "sasl", "dovecot auth", "dovecot lmtp", "receipts wired",
        "submission wired", "acceptance wired", "main.cf", "certificate", "hop", "agency client", "submission",
        "submissions", "acceptance", "pop3", "pop3s", "queue", "mailboxes", "postmaster", "disk", "time service",
    }  # fmt: skip


def test_no_secret_is_told(gateway: Gateway, copy: Path) -> None:
    settings = dotenv_values(gateway.layout.settings / "admin.env", interpolate=False)
    passwords = [
        str(conninfo_to_dict(str(settings[name]))["password"]) for name in ("DIRECTORY_DSN", "DIRECTORY_WRITE_DSN")
    ]
    broken = _edit(copy, "smtpd_tls_chain_files=/etc/hostname", "internal_mail_filter_classes=")
    with _stopped(gateway, "postgresql"):
        told = _doctor(gateway, **broken)
    assert told.status == 1
    assert not [word for word in (*passwords, "PRIVATE KEY") if word in told.output]


@pytest.mark.parametrize(
    ("daemons", "bad"),
    [
        (("authd",), {"authd"}),
        (("policyd",), {"policy daemon", "resubmission"}),
        (("milter-receipt",), {"milter receipt"}),
        (("milter-submission",), {"milter submission", "submission", "submissions"}),
        (("milter-acceptance",), {"milter acceptance", "acceptance"}),
        (("dovecot",), {"dovecot auth", "dovecot lmtp", "pop3", "pop3s"}),
        (("postfix",), {"submission", "submissions", "acceptance"}),
        (("postgresql",), {"directory", "writing", "policy daemon", "resubmission", "authd"}),
    ],
)
def test_a_daemon_that_is_not_there(gateway: Gateway, daemons: tuple[str, ...], bad: set[str]) -> None:
    with _stopped(gateway, *daemons):
        told = _doctor(gateway)
    assert (told.status, told.bad()) == (1, bad)
    assert all(one["remedy"] for one in told.findings if one["level"] == "fault")


def test_a_relay_for_logins_that_is_not_there(gateway: Gateway) -> None:
    # Whether smtpd is there is another matter: one that runs already goes on until its next login.
    with _stopped(gateway, "sasl"):
        told = _doctor(gateway, "sockets")
    assert (told.status, told.bad()) == (1, {"sasl"})


def test_sockets_that_are_open_to_all_or_closed_to_postfix(gateway: Gateway) -> None:
    path = gateway.layout.milter_run / "milter-receipt.sock"
    with _mode(path, 0o666):
        told = _doctor(gateway, "sockets")
    assert (told.status, told.bad()) == (1, {"milter receipt"})
    assert "every user of this host may connect" in told.line("milter receipt", "mode 0666")["found"]
    with _mode(gateway.layout.policyd_run, 0o700):
        told = _doctor(gateway, "sockets")
    assert told.bad() == {"policy daemon"}
    assert told.line("policy daemon", "Postfix's user may not connect")["found"].endswith("run-policyd keeps it out")
    with _mode(gateway.layout.authd_run, 0o700):
        told = _doctor(gateway, "sockets")
    assert told.line("authd", "Dovecot's auth may not connect")["level"] == "fault"


def test_settings_that_everybody_can_read(gateway: Gateway) -> None:
    with _mode(gateway.layout.settings / "authd.env", 0o644):
        told = _doctor(gateway, "files")
    assert told.line("settings files", "authd.env has mode 0644")["level"] == "fault"


@pytest.mark.parametrize("program", ["authd", "sasl"])
def test_settings_with_which_a_daemon_would_not_start_again(gateway: Gateway, program: str) -> None:
    file = gateway.layout.settings / f"{program}.env"
    before = file.read_bytes()
    file.write_bytes(before + b"DRAIN_SECONDS=none\n")
    try:
        told = _doctor(gateway, "directory")
    finally:
        file.write_bytes(before)
    assert (told.status, told.bad()) == (1, {"settings"})
    assert told.line("settings", f"{file}: DRAIN_SECONDS is not a number")["level"] == "fault"


def test_a_change_that_is_not_published(gateway: Gateway) -> None:
    gateway.administer(("flow", "limit", "AGS", "20000000"))
    try:
        told = _doctor(gateway, "directory")
        assert (told.status, told.bad()) == (0, {"maps"})
        assert "1 change behind the directory" in told.line("maps", "is published")["found"]
    finally:
        gateway.administer(("flow", "limit", "AGS", "10485760"), ("maps", "publish"))
    assert _doctor(gateway, "directory").bad() == set()


def test_tables_that_postfix_cannot_read_or_that_are_others(gateway: Gateway) -> None:
    table = gateway.layout.maps / "transport.lmdb"
    with _mode(table, 0o600):
        told = _doctor(gateway, "tables")
    assert "Permission denied" in told.line("tables", "Postfix's user gets no answer from transport")["found"]
    assert told.status == 1
    text = gateway.layout.maps / "mailbox"
    text.write_bytes(text.read_bytes().replace(b"lmtp:", b"smtp:"))
    try:
        told = _doctor(gateway, "tables")
        assert told.line("tables", "mailbox answers otherwise than its text says")["level"] == "fault"
    finally:
        # As the remedy says.
        text.unlink()
        gateway.administer(("maps", "publish"))
    assert _doctor(gateway, "tables").bad() == set()


def _write(folder: Path, certificate: trustme.LeafCert, name: str) -> tuple[Path, Path]:
    key, file = folder / f"{name}.key", folder / f"{name}.pem"
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(file)
    return key, file


@pytest.mark.parametrize(
    ("days", "level", "found"),
    [(-1, "fault", "ended on"), (3, "fault", "ends on"), (20, "warning", "ends on"), (40, "ok", "ends on")],
)
def test_a_certificate_that_ends(
    gateway: Gateway, copy: Path, tmp_path: Path, days: int, level: str, found: str
) -> None:
    now = datetime.now(UTC)
    certificate = trustme.CA().issue_cert(
        names.HOSTNAME, not_before=now - timedelta(days=90), not_after=now + timedelta(days=days, hours=1)
    )
    key, file = _write(tmp_path, certificate, "mine")
    told = _doctor(gateway, "certificates", **_edit(copy, f"smtpd_tls_chain_files={key},{file}"))
    line = told.line("certificate", f"{file} {found}")
    assert (line["level"], told.status) == (level, int(level == "fault"))


def test_certificates_and_keys_that_do_not_fit(gateway: Gateway, copy: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    key, _ = _write(tmp_path, authority.issue_cert(names.HOSTNAME), "one")
    _, other = _write(tmp_path, authority.issue_cert("mail.example.org"), "other")
    edited = _edit(copy, f"smtpd_tls_chain_files={key},{other}")
    key.chmod(0o644)
    told = _doctor(gateway, "certificates", **edited)
    assert told.line("certificate", "is not the key of")["level"] == "fault"
    assert told.line("certificate", "one.key is owned by 0, mode 0644")["level"] == "fault"
    assert told.line("certificate", f"is not for {names.HOSTNAME}")["level"] == "warning"
    told = _doctor(gateway, "doors", **edited)
    assert told.bad() == {"submission", "submissions"}, "Dovecot's is still the one on disk"
    assert told.status == 0
    other.unlink()
    told = _doctor(gateway, "certificates", **edited)
    assert told.line("certificate", "other.pem is not there")["level"] == "fault"
    told = _doctor(gateway, "certificates", **_edit(copy, f"smtpd_tls_chain_files={tmp_path}"))
    assert told.line("certificate", f"{tmp_path} is no file")["level"] == "fault"
    assert told.line("hop", "both ends")["level"] == "ok", "the others are looked at all the same"
    told = _doctor(gateway, "certificates", **_edit(copy, f"smtpd_tls_chain_files={key}"))
    assert told.line("certificate", "there is no key with a certificate after it")["level"] == "fault"


def test_a_hop_that_does_not_know_itself(gateway: Gateway, copy: Path) -> None:
    master = copy / "master.cf"
    text = master.read_text(encoding="utf-8")
    fingerprint = next(line for line in text.splitlines() if "fingerprint_cert_match=" in line).partition("match=")[2]
    wrong = "00" + fingerprint[2:]
    master.write_text(text.replace(f"match={fingerprint}", f"match={wrong}"), encoding="utf-8")
    setting = {"POSTFIX_CONFIG_DIRECTORY": str(copy)}
    told = _doctor(gateway, "certificates", **setting)
    assert told.line("hop", "another fingerprint (hop, tlsproxy-hop)")["level"] == "fault"
    master.write_text(text.replace(f"{fingerprint} = hop", f"{wrong} = hop"), encoding="utf-8")
    told = _doctor(gateway, "certificates", **setting)
    assert told.line("hop", "acceptance does not take the hop's certificate")["level"] == "fault"
    both = f"{fingerprint} = hop }}, {{ {wrong} = mine"
    master.write_text(text.replace(f"{fingerprint} = hop", both), encoding="utf-8")
    told = _doctor(gateway, "certificates", **setting)
    assert told.line("hop", "acceptance takes more certificates")["level"] == "fault"
    with _mode(gateway.layout.pki / "hop.key", 0o640):
        told = _doctor(gateway, "certificates")
    assert told.line("hop", "hop.key is not root's alone")["level"] == "fault"


def test_receipts_that_no_milter_sees(gateway: Gateway, copy: Path) -> None:
    told = _doctor(gateway, "wiring", **_edit(copy, "internal_mail_filter_classes="))
    assert (told.status, told.bad()) == (1, {"receipts wired"})
    assert "receipts would show physical addresses" in told.line("receipts wired", "internal_mail")["found"]


@pytest.fixture(scope="module")
def postfix(gateway: Gateway) -> PostfixConfig:
    return postfixconfig.read(gateway.layout.postfix)


def _paths(gateway: Gateway) -> Paths:
    layout = gateway.layout
    return Paths(layout.policyd_run / "policyd.sock", layout.milter_run, layout.sasl_run / "sasl.sock", layout.maps)


MAIN: Final = {
    "mynetworks": "10.0.0.0/8",
    "mydestination": "localhost",
    "authorized_submit_users": "static:anyone",
    "local_header_rewrite_clients": "permit_mynetworks",
    "default_transport": "smtp",
    "relay_transport": "lmtp:unix:/run/lmtp.sock",
    "virtual_alias_maps": "hash:/etc/aliases",
    "transport_maps": "",
    "smtp_tls_policy_maps": "",
    "smtp_tls_security_level": "may",
    "smtpd_forbid_bare_newline": "no",
    "smtpd_forbid_bare_newline_exclusions": "$mynetworks",
    "smtpd_tls_auth_only": "no",
    "hop_destination_recipient_limit": "50",
    "non_smtpd_milters": "",
    "milter_default_action": "accept",
    "smtpd_sasl_path": "/run/dovecot/auth",
}


@pytest.mark.parametrize("name", MAIN)
def test_a_setting_that_was_changed_by_hand(gateway: Gateway, postfix: PostfixConfig, name: str) -> None:
    assert {one.level for one in wiring.judge(postfix, _paths(gateway))} == {Level.OK}
    changed = replace(postfix, main={**postfix.main, name: MAIN[name]})
    faults = [one.found for one in wiring.judge(changed, _paths(gateway)) if one.level is Level.FAULT]
    assert faults
    assert all(name in found for found in faults)


def _submission(service: Service) -> bool:
    return "smtpd_sasl_auth_enable" in service.options


def _acceptance(service: Service) -> bool:
    return "relay_clientcerts" in service.options


def _called(name: str) -> Callable[[Service], bool]:
    return lambda service: service.name == name


OPTIONS: Final[list[tuple[Callable[[Service], bool], str, str]]] = [
    (_submission, "smtpd_command_filter", ""),
    (_submission, "smtpd_milters", ""),
    (_submission, "smtpd_recipient_restrictions", "reject_unauth_destination"),
    (_submission, "smtpd_relay_restrictions", "permit_sasl_authenticated, permit"),
    (_submission, "smtpd_relay_restrictions", "permit_sasl_authenticated, permit, reject"),
    (_submission, "smtpd_tls_security_level", "may"),
    (_submission, "receive_override_options", ""),
    (_submission, "smtpd_sasl_path", "private/auth"),
    (_acceptance, "smtpd_client_restrictions", "permit"),
    (_acceptance, "smtpd_relay_restrictions", "permit"),
    (_acceptance, "smtpd_tls_ask_ccert", "no"),
    (_acceptance, "smtpd_tls_security_level", "none"),
    (_acceptance, "smtpd_recipient_restrictions", "permit"),
    (_acceptance, "smtpd_milters", ""),
    (_called("hop"), "smtp_tls_security_level", "encrypt"),
    (_called("hop"), "smtp_discard_ehlo_keywords", ""),
    (_called("trace"), "cleanup_service_name", "cleanup"),
]


@pytest.mark.parametrize(("is_meant", "name", "value"), OPTIONS)
def test_a_service_that_was_changed_by_hand(
    gateway: Gateway, postfix: PostfixConfig, is_meant: Callable[[Service], bool], name: str, value: str
) -> None:
    services = tuple(
        replace(one, options={**one.options, name: value}) if is_meant(one) else one for one in postfix.services
    )
    found = wiring.judge(replace(postfix, services=services), _paths(gateway))
    faults = [one.found for one in found if one.level is Level.FAULT]
    assert faults
    assert all(name in one for one in faults)


@pytest.mark.parametrize("name", ["virtual_alias_maps", "smtp_tls_policy_maps"])
def test_a_table_that_is_asked_before_the_directorys(gateway: Gateway, postfix: PostfixConfig, name: str) -> None:
    for value in (f"hash:/etc/aliases, {postfix.main[name]}", f"{postfix.main[name]} hash:/etc/aliases"):
        found = wiring.judge(replace(postfix, main={**postfix.main, name: value}), _paths(gateway))
        assert [one.found.split(" ")[0] for one in found if one.level is Level.FAULT] == [name]


def test_a_question_that_comes_too_late(gateway: Gateway, postfix: PostfixConfig) -> None:
    name = "smtpd_recipient_restrictions"
    services = tuple(
        replace(one, options={**one.options, name: f"permit_sasl_authenticated, {one.options[name]}"})
        if name in one.options
        else one
        for one in postfix.services
    )
    found = wiring.judge(replace(postfix, services=services), _paths(gateway))
    faults = {one.check for one in found if one.level is Level.FAULT}
    assert faults == {"submission wired", "acceptance wired"}


def test_a_door_that_nobody_guards(gateway: Gateway, postfix: PostfixConfig) -> None:
    paths = _paths(gateway)
    door = replace(postfix.acceptance[0], name="25", options={})
    more = wiring.judge(replace(postfix, services=(*postfix.services, door)), paths)
    assert any("another number of doors without a login than one" in one.found for one in more)
    assert any("25 listens beyond this host" in one.found for one in more)
    for name, words in (("hop", "no service hop"), ("bounce", "no service bounce")):
        without = tuple(one for one in postfix.services if one.name != name)
        found = wiring.judge(replace(postfix, services=without), paths)
        assert any(words in one.found for one in found)
    closed = tuple(one for one in postfix.services if not _submission(one))
    assert any("can log in" in one.found for one in wiring.judge(replace(postfix, services=closed), paths))


def test_acceptance_that_lets_strangers_in(gateway: Gateway) -> None:
    master = gateway.layout.postfix / "master.cf"
    before = master.read_text(encoding="utf-8")
    wide = before.replace("smtpd_client_restrictions = permit_tls_clientcerts, reject", "smtpd_client_restrictions =")
    wide = wide.replace(
        "smtpd_relay_restrictions = permit_tls_clientcerts, reject", "smtpd_relay_restrictions = permit"
    )
    assert wide != before
    try:
        master.write_text(wide, encoding="utf-8")
        gateway.postfix("postfix", "reload")
        told = gateway.wait_for(
            lambda: found if (found := _doctor(gateway, "doors", "wiring")).bad() else None, "an open door"
        )
    finally:
        master.write_text(before, encoding="utf-8")
        gateway.postfix("postfix", "reload")
    assert told.bad() == {"acceptance", "acceptance wired"}
    assert told.line("acceptance", "does not refuse a stranger as it must")["level"] == "fault"
    gateway.wait_for(lambda: not _doctor(gateway, "doors").bad(), "closed doors")


def test_mail_that_waits(gateway: Gateway) -> None:
    gateway.settle("TRADER")
    account = gateway.account("TRADER")
    address = gateway.env["AGS_ADDRESS"]
    message = compose(account.address, address, "doctor", "Aangifte").as_bytes()
    with _stopped(gateway, "milter-acceptance"):
        gateway.send(account, [address], message)
        gateway.wait_for(lambda: "1 deferred" in _doctor(gateway, "queue").output, "a deferred message")
        gateway.postfix("postsuper", "-h", "ALL", "deferred")
        told = _doctor(gateway, "queue")
        assert told.line("queue", "1 messages are on hold")["level"] == "warning"
        gateway.postfix("postsuper", "-H", "ALL")
    corrupt = gateway.layout.spool / "corrupt" / "doctor"
    corrupt.touch()
    try:
        assert _doctor(gateway, "queue").line("queue", "1 files are damaged")["level"] == "fault"
    finally:
        corrupt.unlink()
    gateway.postfix("postqueue", "-f")
    gateway.settle("TRADER")


def test_mailboxes_that_others_can_open(gateway: Gateway) -> None:
    pop3.clear(gateway)
    pop3.deliver(gateway, *pop3.samples(1))
    assert _doctor(gateway, "mailboxes").bad() == set()
    box = gateway.layout.mail / pop3.READER.mailbox
    with _mode(box, 0o755):
        told = _doctor(gateway, "mailboxes")
    assert told.line("mailboxes", f"1 are open to others: {pop3.READER.mailbox}")["level"] == "fault"
    shutil.chown(box, "root")
    try:
        told = _doctor(gateway, "mailboxes")
        assert told.line("mailboxes", "1 are not the owner's")["level"] == "fault"
    finally:
        shutil.chown(box, names.MAIL_UID)
    pop3.clear(gateway)


# The last of all: the sandbox stays like this until the module ends.
@pytest.mark.parametrize("stack", ["2.4-lua-postfix-3.10"], indirect=True)
def test_debian_13_is_well_too(gateway: Gateway, stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_there(
        words: Sequence[str | Path],
        *,
        stdin: str = "",
        user: commands.User | None = None,
        seconds: float | None = None,
    ) -> commands.Said:
        # Who enters the other Debian's tree must be root.
        del user
        program, *rest = map(str, words)
        return run_here(stacks.STACKS[stack].command(program, *rest), stdin=stdin, seconds=seconds)

    run_here = commands.run
    monkeypatch.setattr(commands, "run", run_there)
    variables = read_variables(admin_environment(gateway.layout))
    here = host.look(variables, load(AdminSettings, variables))
    assert here.dovecot_version.startswith("2.4.")
    found = examination.examine(here, PARTS)
    assert [one for one in found if one.level is not Level.OK and one.check not in MACHINES] == []
    (told,) = [one.found for one in found if one.check == "versions"]
    assert "Postfix 3.10." in told
