"""A small directory for tests: one trader and one agency, entered as an admin would."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from click.testing import CliRunner, Result

from digipoort.cli import main
from digipoort.directory import description, seed, session

SETTINGS: Final = {"LOGICAL_DOMAINS": "gov.test, party.test", "SYSLOG_SOCKET": "/nonexistent/log"}
# Of no known password, and well-formed, as a description wants it.
HASH: Final = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
SAMPLE: Final = f"""
[[party]]
code = "AAL"
name = "Bloemen B.V."
kind = "private"

[[party]]
code = "MAAS"
name = "Maas B.V."
kind = "private"

[[destination]]
domain = "agency.test"
nexthop = "[MX.agency.test]:2525"
tls_match = "mx.agency.test"

[[mailbox]]
mailbox = "b0b0"
party = "AAL"

[[address]]
address = "bloemen@party.test"
party = "AAL"
mailbox = "b0b0"

[[address]]
address = "ags@gov.test"
party = "DOUANE"
flow = "AGS"
remote = "intake@agency.test"

[[connection]]
address = "bloemen@party.test"
flow = "AGS"
valid_from = 2020-01-01

[[credential]]
login = "aal"
party = "AAL"
password_hash = "{HASH}"
services = ["pop3", "submission"]
mailbox = "b0b0"
"""


def fill(dsn: str, text: str = SAMPLE) -> None:
    """Add the packaged seed and the objects of a seed file's text to a directory."""
    with session.writing(dsn, "tester") as connection:
        seed.apply(connection, [*seed.packaged_seed(), *description.parse(text, Path())])


def digipoort(dsn: str, *arguments: str, typed: str = "", **settings: str) -> Result:
    """Run the admin's program against a directory; `typed` is what the admin types."""
    environment = {"DIRECTORY_DSN": dsn, "DIRECTORY_WRITE_DSN": dsn, "SUDO_USER": "beheerder", **SETTINGS, **settings}
    return CliRunner(mix_stderr=False).invoke(main, list(arguments), input=typed, env=environment)


def maps_settings(folder: Path) -> dict[str, str]:
    """Return the settings that publish maps into `folder / "maps"`, for a Postfix of its own, and without any mail."""
    (folder / "maps").mkdir()
    (folder / "postfix").mkdir()
    write_main_cf(folder / "postfix", "lmdb")
    return {
        "MAPS_DIRECTORY": str(folder / "maps"),
        "POSTFIX_CONFIG_DIRECTORY": str(folder / "postfix"),
        "MAIL_DIRECTORY": str(folder / "mail"),
    }


def write_main_cf(folder: Path, default_database_type: str) -> None:
    """Configure Postfix's commands, with an old date: Postfix waits until a file that was just written is at rest."""
    path = folder / "main.cf"
    path.write_text(f"compatibility_level = 3.6\ndefault_database_type = {default_database_type}\n", encoding="ascii")
    os.utime(path, (0, 0))
