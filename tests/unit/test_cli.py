"""The admin's program: what its commands do to a real directory, what they say, and how they end."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING

import psycopg
import pytest

from digipoort import passwords, reasons
from digipoort.cli import frame
from digipoort.directory.migrate import packaged_migrations
from digipoort.reasons import Finding
from tests.unit.directory_samples import digipoort, fill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def dsn(directory_dsn: str) -> str:
    """Fill a fresh directory and return its conninfo."""
    fill(directory_dsn)
    return directory_dsn


def refused(dsn: str, *arguments: str) -> str:
    """Return the sentence with which a command is refused."""
    result = digipoort(dsn, *arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.stderr
    assert result.stderr.startswith("digipoort: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("digipoort: ").strip()


def listed(dsn: str, kind: str) -> list[dict[str, object]]:
    result = digipoort(dsn, kind, "list", "--json")
    assert result.exit_code == 0, result.stderr
    items: list[dict[str, object]] = json.loads(result.stdout)
    return items


def test_migrate_and_seed_can_be_repeated(empty_database: str) -> None:
    assert refused(empty_database, "party", "list") == (
        "The directory has no tables of digipoort: run digipoort migrate."
    )
    applied = "".join(f"applied {migration.name}\n" for migration in packaged_migrations())
    assert digipoort(empty_database, "migrate").stdout == applied
    assert digipoort(empty_database, "migrate").stdout == "nothing to apply\n"
    assert digipoort(empty_database, "seed").stdout == "added 13, present already 0\n"
    assert digipoort(empty_database, "seed").stdout == "added 0, present already 13\n"


def test_migrate_refuses_a_newer_directory(directory_dsn: str) -> None:
    with psycopg.connect(directory_dsn) as connection:
        connection.execute("INSERT INTO migration (name) VALUES ('9999_future')")
    assert "9999_future" in refused(directory_dsn, "migrate")


def test_seed_refuses_an_address_outside_the_logical_domains(dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "seed.toml"
    path.write_text('[[address]]\naddress = "a@else.test"\nparty = "AAL"\nmailbox = "b0b0"\n', encoding="utf-8")
    assert refused(dsn, "seed", str(path)).startswith("The domain of a@else.test is not a logical domain")


def test_a_list_is_an_aligned_table(dsn: str) -> None:
    assert digipoort(dsn, "party", "list").stdout.splitlines() == [
        "CODE    NAME          KIND        ACTIVE",
        "AAL     Bloemen B.V.  private     yes",
        "DOUANE  Douane        government  yes",
        "MAAS    Maas B.V.     private     yes",
        "NVWA    NVWA/LNV      government  yes",
    ]


def test_a_name_cannot_steer_the_terminal(dsn: str) -> None:
    digipoort(dsn, "party", "add", "X", "\x1b[2Jcleared", "--kind", "private")
    output = digipoort(dsn, "party", "list").stdout
    assert "\x1b" not in output
    assert "?[2Jcleared" in output


def test_everything_can_be_added_and_is_listed(dsn: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("geheim\n", encoding="utf-8")
    password.chmod(0o640)
    interface = '{"max_depth": 3}'
    commands = [
        ["party", "add", "RIVM", "RIVM", "--kind", "government"],
        ["flow", "add", "METING", "Metingen", "--owner", "RIVM", "--size-limit", "2000", "--interface", interface],
        ["destination", "add", "rivm.test", "[10.0.0.1]:25", "--tls-level", "fingerprint", "--tls-match", "AB:CD"],
        ["address", "add", "meting@gov.test", "RIVM", "--flow", "METING", "--remote", "In@RIVM.test"],
        ["address", "add", "maas@party.test", "MAAS", "--new-mailbox"],
        ["connection", "add", "maas@party.test", "METING", "--from", "2024-01-01", "--until", "2024-12-31"],
        ["connection", "add", "maas@party.test", "AGS"],
    ]
    for command in commands:
        result = digipoort(dsn, *command)
        assert result.exit_code == 0, result.stderr
    (flow,) = [item for item in listed(dsn, "flow") if item["code"] == "METING"]
    assert (flow["owner"], flow["size_limit"], flow["interface"]) == ("RIVM", 2000, {"max_depth": 3})
    addresses = {item["address"]: item for item in listed(dsn, "address")}
    assert addresses["meting@gov.test"]["target"] == "in@rivm.test"
    mailbox = str(addresses["maas@party.test"]["target"]).removeprefix("mailbox:")
    dates = [
        (item["valid_from"], item["valid_until"]) for item in listed(dsn, "connection") if item["flow"] == "METING"
    ]
    assert dates == [("2024-01-01", "2024-12-31")]
    services = ["--service", "pop3", "--service", "submission"]
    result = digipoort(
        dsn, "credential", "add", "maas", "MAAS", *services, "--mailbox", mailbox, "--password-file", str(password)
    )
    assert result.exit_code == 0, result.stderr
    assert listed(dsn, "credential")[1] == {
        "login": "maas",
        "party": "MAAS",
        "services": "pop3 submission",
        "mailbox": mailbox,
        "state": "active",
        "active": True,
        "valid_from": None,
        "valid_until": None,
        "networks": "",
        "certificate": None,
        "certificate_fingerprint": None,
        "certificate_subject": None,
        "certificate_suffices": False,
    }
    assert passwords.verify_password(stored_hash(dsn, "maas"), b"geheim")


def stored_hash(dsn: str, login: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT password_hash FROM credential WHERE login = %s", [login]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_password_is_typed_twice_and_never_shown(dsn: str) -> None:
    command = ["credential", "add", "maas", "MAAS", "--service", "submission"]
    result = digipoort(dsn, *command, typed="geheim\ngeheim\n")
    assert result.exit_code == 0, result.stderr
    assert "geheim" not in result.stdout
    assert passwords.verify_password(stored_hash(dsn, "maas"), b"geheim")
    result = digipoort(dsn, "credential", "rotate", "maas", typed="anders\nanders\n")
    assert result.exit_code == 0, result.stderr
    assert passwords.verify_password(stored_hash(dsn, "maas"), b"anders")


def test_a_password_that_no_client_could_use_is_refused(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch(0o600)
    command = ["credential", "add", "maas", "MAAS", "--service", "submission", "--password-file"]
    assert refused(dsn, *command, str(tmp_path / "empty")) == "A password has 1 to 256 octets."
    assert refused(dsn, *command, str(tmp_path / "absent")).endswith("No such file or directory.")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("party add AAL x --kind private", "There is a party with this code already."),
        ("flow add X x --owner ABSENT", "There is no party ABSENT: digipoort party add."),
        ("flow add X x --owner AAL", "A flow is owned by a government party; this party is private."),
        ("destination add gov.test x", "The domain gov.test is a logical domain: it cannot be a physical one too."),
        (
            "destination add receipts.mailbox.invalid x",
            "The domain receipts.mailbox.invalid is the domain of the mailboxes (MAILBOX_DOMAIN): it cannot be a "
            "destination's.",
        ),
        (
            "destination add mailbox.invalid x",
            "The domain mailbox.invalid is the domain of the mailboxes (MAILBOX_DOMAIN): it cannot be a destination's.",
        ),
        (
            "address add a@party.test AAL --remote a@else.test",
            "There is no destination for the domain else.test: digipoort destination add.",
        ),
        (
            "address add a@party.test AAL --remote a@agency.test",
            "Only a government party has physical addresses; a private party has mailboxes.",
        ),
        (
            "address add a@party.test MAAS --mailbox b0b0",
            "The mailbox or physical address belongs to another party than the address.",
        ),
        ("address add a@party.test AAL --mailbox c0c0", "There is no mailbox c0c0: digipoort mailbox add."),
        (
            "address add a@gov.test NVWA --new-mailbox --flow AGS",
            "The flow belongs to another party: an address has a flow of its own party.",
        ),
        (
            "address add a@gov.test NVWA --new-mailbox",
            "A government address has exactly one flow; a private address is connected to flows.",
        ),
        ("connection add a@party.test AGS", "There is no address a@party.test: digipoort address add."),
        ("connection add bloemen@party.test X", "There is no flow X: digipoort flow add."),
        (
            "connection add ags@gov.test AGS",
            "Only private addresses are connected to flows; this is a government party's address.",
        ),
        (
            "connection add bloemen@party.test AGS",
            "The address is connected to this flow already in (a part of) this period.",
        ),
        ("party disable X", "There is no party X."),
        ("credential disable x", "There is no login x."),
        ("flow limit X 5", "There is no flow X."),
        (
            "connection end bloemen@party.test AGS --on 2019-01-01 --yes",
            "bloemen@party.test has no connection to AGS that goes on after 2019-01-01.",
        ),
    ],
)
def test_a_refusal_says_what_it_means(dsn: str, command: str, sentence: str) -> None:
    assert refused(dsn, *command.split()) == sentence


def test_a_refused_address_leaves_no_mailbox_behind(dsn: str) -> None:
    refused(dsn, "address", "add", "bloemen@party.test", "AAL", "--new-mailbox")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM target WHERE kind = 'mailbox'").fetchone() == (1,)


@pytest.mark.parametrize(
    "command",
    [
        "address add a@party.test AAL",
        "address add a@party.test AAL --new-mailbox --mailbox b0b0",
        "address add a@gov.test NVWA --remote nowhere",
        "flow add X x --owner NVWA --interface []",
        "flow add X x --owner NVWA --interface {",
        "flow limit AGS 0",
        "connection add bloemen@party.test AGS --from tomorrow",
        "check aal bloemen@party.test ags@gov.test many",
        "settings nothing",
    ],
)
def test_wrong_usage_ends_with_2(dsn: str, command: str) -> None:
    assert digipoort(dsn, *command.split()).exit_code == 2


def test_an_argument_that_is_not_text_is_wrong_usage(dsn: str) -> None:
    result = digipoort(dsn, "party", "add", "X", "\udcff", "--kind", "private")
    assert (result.exit_code, result.stderr) == (2, "digipoort: An argument is not UTF-8 text.\n")


@pytest.mark.parametrize(
    "command", ["party list", "party show AAL", "migrate", "seed", "party disable AAL", "check a b@c.test d@e.test"]
)
def test_a_directory_that_is_down_ends_with_75(command: str) -> None:
    result = digipoort("host=/nonexistent", *command.split())
    assert result.exit_code == os.EX_TEMPFAIL
    assert result.stderr.startswith("digipoort: The directory cannot be used now: ")


def test_settings_that_cannot_be_used_end_with_78(dsn: str) -> None:
    result = digipoort(dsn, "party", "list", LOGICAL_DOMAINS=" ")
    assert result.exit_code == os.EX_CONFIG
    assert result.stderr == "digipoort: LOGICAL_DOMAINS needs at least one value (it is ' ').\n"


def test_settings_are_shown_with_passwords_masked() -> None:
    result = digipoort("host=a password=hunter2", "settings", "admin")
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert "DIRECTORY_DSN" in result.stdout
    assert "POLICYD_SOCKET" in digipoort("host=a", "settings").stdout


def test_faulty_settings_are_told_for_each_program() -> None:
    result = digipoort("host=a", "settings", LOG_LEVEL="loud")
    assert result.exit_code == os.EX_CONFIG
    assert [line.split()[1] for line in result.stderr.splitlines()] == [
        "policyd:",
        "milter:",
        "authd:",
        "sasl:",
        "admin:",
        "maps:",
    ]


def test_every_change_is_ascribed_to_who_made_it(dsn: str) -> None:
    digipoort(dsn, "party", "disable", "AAL", "--yes")
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT actor, object FROM change_log ORDER BY id DESC LIMIT 1").fetchone()
    assert row == ("beheerder", "party")


def test_without_sudo_the_actor_is_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert frame.actor() == pwd.getpwuid(os.getuid()).pw_name


def test_check_gives_both_verdicts_and_their_grounds(dsn: str) -> None:
    result = digipoort(dsn, "check", "aal", "bloemen@party.test", "ags@gov.test", "1000")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "submission: allowed",
        "  login                    aal",
        "  login_active             yes",
        "  begun                    yes",
        "  ended                    no",
        "  networks                 -",
        "  may_submit               yes",
        "  certificate_fingerprint  -",
        "  certificate_subject      -",
        "  owns_sender              yes",
        "acceptance: allowed",
        "  sender_kind         private",
        "  recipient_kind      government",
        "  flow                AGS",
        "  size_limit          10485760",
        "  connection_periods  1",
        "  connection_valid    yes",
        "involved:",
        "  login       aal party=AAL services=pop3 submission mailbox=b0b0 active=yes certificate_suffices=no",
        "  sender      bloemen@party.test party=AAL target=mailbox:b0b0",
        "  recipient   ags@gov.test party=DOUANE flow=AGS target=intake@agency.test",
        "  party       AAL name=Bloemen B.V. kind=private active=yes",
        "  party       DOUANE name=Douane kind=government active=yes",
        "  connection  bloemen@party.test flow=AGS valid_from=2020-01-01",
    ]


def test_check_tells_the_rule_in_the_submitters_words(dsn: str) -> None:
    result = digipoort(dsn, "check", "aal", "bloemen@party.test", "ags@gov.test", "--at", "2019-12-31")
    finding = Finding(reasons.CONNECTION_NOT_VALID, {"flow": "AGS"})
    lines = result.stdout.splitlines()
    start = lines.index(f"acceptance: {finding.reply()}") + 1
    assert [line.split(maxsplit=1) for line in lines[start : start + 4]] == [
        ["rule", "DGP-2004"],
        ["english", finding.english()],
        ["dutch", finding.dutch()],
        ["remedy", finding.reason.remedy],
    ]


def test_check_as_json(dsn: str) -> None:
    result = digipoort(dsn, "check", "AAL", "bloemen@party.test", "absent@gov.test", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["submission"]["allowed"], told["submission"]["reply"]) == (True, None)
    assert (told["acceptance"]["rule"], told["acceptance"]["decided_by"]["recipient_kind"]) == ("DGP-2001", None)
    assert [(item["is"], item["party"]) for item in told["involved"][:2]] == [("login", "AAL"), ("sender", "AAL")]
    assert digipoort(dsn, "check", "--json", "--csv", "-").exit_code == 2


def test_check_of_what_nobody_knows(dsn: str) -> None:
    result = digipoort(dsn, "check", "w\u00e9g", "x@else.test", "y@else.test")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "  -  nothing that the directory knows")


def verdicts(dsn: str, *arguments: str) -> list[str]:
    """Return the codes of the verdicts of `check`."""
    result = digipoort(dsn, "check", *arguments)
    heads = [line for line in result.stdout.splitlines() if line.startswith(("submission: ", "acceptance: "))]
    codes = [next((word for word in head.split() if word.startswith("DGP-")), "allowed") for head in heads]
    assert result.exit_code == (0 if codes == ["allowed", "allowed"] else 1)
    return codes


def test_check_refuses_as_the_policy_daemon_does(dsn: str) -> None:
    trader = ["aal", "bloemen@party.test"]
    assert verdicts(dsn, *trader, "ags@gov.test", "99999999") == ["allowed", "DGP-2005"]
    assert verdicts(dsn, *trader, "absent@gov.test") == ["allowed", "DGP-2001"]
    assert verdicts(dsn, *trader, "intake@agency.test") == ["DGP-1006", "DGP-2001"]
    assert verdicts(dsn, "nobody", "ags@gov.test", "bloemen@party.test") == ["DGP-1002", "allowed"]


def test_check_on_another_day(dsn: str) -> None:
    message = ["aal", "bloemen@party.test", "ags@gov.test"]
    assert verdicts(dsn, *message, "--at", "2019-12-31") == ["allowed", "DGP-2004"]
    assert verdicts(dsn, *message, "--at", "2020-01-01") == ["allowed", "allowed"]
    assert digipoort(dsn, "connection", "end", *message[1:2], "AGS", "--on", "2090-06-30").exit_code == 0
    assert verdicts(dsn, *message, "--at", "2090-06-30") == ["allowed", "allowed"]
    assert verdicts(dsn, *message, "--at", "2090-07-01") == ["allowed", "DGP-2004"]


def test_check_takes_the_certificate_for_granted_and_the_network_unless_it_is_given(dsn: str) -> None:
    message = ["aal", "bloemen@party.test", "ags@gov.test"]
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "UPDATE credential SET certificate_subject = 'Bloemen', networks = '{192.0.2.0/24,2001:db8::/32}',"
            " valid_from = '2021-01-01', valid_until = '2090-01-01'"
        )
    assert verdicts(dsn, *message) == ["allowed", "allowed"]
    assert verdicts(dsn, *message, "--client", "2001:db8::25") == ["allowed", "allowed"]
    assert verdicts(dsn, *message, "--client", "198.51.100.1") == ["DGP-1002", "allowed"]
    assert verdicts(dsn, *message, "--at", "2020-12-31") == ["DGP-1002", "allowed"]
    assert verdicts(dsn, *message, "--at", "2090-01-02") == ["DGP-1002", "allowed"]
    assert "  networks                 192.0.2.0/24 2001:db8::/32" in digipoort(dsn, "check", *message).stdout
    assert digipoort(dsn, "check", *message, "--client", "here").exit_code == 2
    assert digipoort(dsn, "check", "--csv", "-", "--client", "192.0.2.1").exit_code == 2


def test_an_audit_of_many(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.csv"
    lines = ["login,sender,recipient", "aal,bloemen@party.test,ags@gov.test,1000"]
    file.write_text("\n".join([*lines, "", "nobody,bloemen@party.test,absent@gov.test\n"]), encoding="utf-8")
    judged = digipoort(dsn, "check", "--csv", str(file))
    assert judged.exit_code == 1
    assert judged.stdout.splitlines() == [
        "aal,bloemen@party.test,ags@gov.test,1000,allowed,allowed",
        "nobody,bloemen@party.test,absent@gov.test,0,DGP-1002,DGP-2001",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert digipoort(dsn, "check", "--csv", str(file)).exit_code == 0
    file.write_text("aal,bloemen@party.test,ags@gov.test,many\n", encoding="utf-8")
    faulty = digipoort(dsn, "check", "--csv", str(file))
    assert (faulty.exit_code, faulty.stderr.split(" is ")[0]) == (1, "digipoort: Line 1")
    both = digipoort(dsn, "check", "--csv", str(file), "aal", "bloemen@party.test", "ags@gov.test")
    assert both.exit_code == 2


def test_a_withdrawal_counts_at_once(dsn: str) -> None:
    message = ["aal", "bloemen@party.test", "ags@gov.test"]
    assert digipoort(dsn, "connection", "end", *message[1:2], "AGS", "--on", "2020-06-30", "--yes").exit_code == 0
    assert verdicts(dsn, *message) == ["allowed", "DGP-2004"]
    assert digipoort(dsn, "credential", "disable", "aal").exit_code == 0
    assert verdicts(dsn, *message) == ["DGP-1002", "DGP-2004"]
    assert digipoort(dsn, "credential", "enable", "aal").exit_code == 0
    assert digipoort(dsn, "party", "disable", "AAL", "--yes").exit_code == 0
    assert verdicts(dsn, *message) == ["DGP-1002", "DGP-2006"]
    assert digipoort(dsn, "party", "enable", "AAL").exit_code == 0
    assert digipoort(dsn, "connection", "add", *message[1:2], "AGS").exit_code == 0
    assert digipoort(dsn, "flow", "limit", "AGS", "1000").exit_code == 0
    assert verdicts(dsn, *message) == ["allowed", "allowed"]
    assert verdicts(dsn, *message, "20000") == ["allowed", "DGP-2005"]
