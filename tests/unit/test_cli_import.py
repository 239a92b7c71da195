"""`digipoort address import`: many addresses at once, or none and the lines that are wrong."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.directory_samples import SETTINGS, digipoort, fill

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "address,party,mailbox,remote,flow\n"


def _import(dsn: str, folder: Path, text: str) -> tuple[int, list[str]]:
    file = folder / "addresses.csv"
    file.write_bytes(text.encode())
    done = digipoort(dsn, "address", "import", str(file))
    return done.exit_code, (done.stderr or done.stdout).splitlines()


def test_private_and_government_addresses(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    lines = [
        "een@party.test,AAL,b0b0,,",
        "twee@party.test,MAAS,c0c0,,",
        "drie@party.test,MAAS,c0c0,,",
        "emcs@gov.test,DOUANE,,nieuw@agency.test,EMCS",
        "ags2@gov.test,DOUANE,,intake@agency.test,AGS",
    ]
    assert _import(directory_dsn, tmp_path, "\r\n".join([HEADER.strip(), *lines, ""])) == (0, ["added 5 addresses"])
    exported = digipoort(directory_dsn, "export").stdout
    for part in ('mailbox = "c0c0"\nparty = "MAAS"', 'remote = "nieuw@agency.test"', 'address = "ags2@gov.test"'):
        assert part in exported
    history = digipoort(directory_dsn, "history", "twee@party.test").stdout
    assert "added address=twee@party.test party=MAAS target=c0c0" in history


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", ["Line 1 is not address,party,mailbox,remote,flow."]),
        ("address,party\n", ["Line 1 is not address,party,mailbox,remote,flow."]),
        (HEADER + "een@party.test,AAL,b0b0,,\nTwee@party.test,AAL,b0b0,,\n", ["Line 3: A logical address is in lower"]),
        (HEADER + "een@party.test,aal,b0b0,,\n", ["Line 2: A code is 1 to 32 characters"]),
        (HEADER + "een@party.test,AAL,B0,,\n", ["Line 2: A mailbox id is 4 to 32 characters"]),
        (HEADER + "een@party.test,AAL\n", ["Line 2: The directory refuses: missing data for column"]),
        (HEADER + ",AAL,b0b0,,\n", ["Line 2: A value is missing: address."]),
        (
            HEADER + "een@party.test,NIEMAND,b0b0,,\ntwee@elders.test,AAL,b0b0,,\ndrie@party.test,AAL,,,\n",
            [
                "Line 2: b0b0 is given to more than one party.",
                "Line 2: there is no party NIEMAND.",
                "Line 3: the domain of twee@elders.test is not a logical domain.",
                "Line 4: give either mailbox or remote.",
            ],
        ),
        (
            HEADER + "een@party.test,AAL,b0b0,,AGS\ntwee@gov.test,DOUANE,,x@agency.test,\n"
            "drie@gov.test,DOUANE,,x@agency.test,NIETS\nvier@gov.test,NVWA,,x@agency.test,AGS\n",
            [
                "Line 2: the flow AGS belongs to another party.",
                "Line 3: a government address has exactly one flow, a private one none.",
                "Line 3: x@agency.test is given to more than one party.",
                "Line 4: there is no flow NIETS.",
                "Line 5: the flow AGS belongs to another party.",
            ],
        ),
        (
            HEADER + "een@party.test,AAL,,x@agency.test,\ntwee@gov.test,DOUANE,,x@elders.test,AGS\n"
            "drie@party.test,MAAS,b0b0,,\nbloemen@party.test,AAL,b0b0,,\n",
            [
                "Line 2: a private party has mailboxes only.",
                "Line 3: there is no destination for the domain of x@elders.test.",
                "Line 4: b0b0 is given to more than one party.",
                "Line 4: the mailbox or physical address belongs to another party.",
                "Line 5: bloemen@party.test exists already.",
            ],
        ),
        (
            HEADER + "een@party.test,AAL,b0b0,,\neen@party.test,AAL,b0b0,,\n",
            ["Line 2: een@party.test stands in more than one line.", "Line 3: een@party.test stands in more than one"],
        ),
    ],
)
def test_every_fault_has_its_line_and_nothing_is_added(
    directory_dsn: str, tmp_path: Path, text: str, sentences: list[str]
) -> None:
    fill(directory_dsn)
    before = digipoort(directory_dsn, "export").stdout
    code, told = _import(directory_dsn, tmp_path, text)
    assert code == 1
    assert len(told) == len(sentences), told
    for line, sentence in zip(told, sentences, strict=True):
        assert line.startswith(f"digipoort: {sentence}"), told
    assert digipoort(directory_dsn, "export").stdout == before


def test_a_terminal_sees_how_far_it_is(directory_dsn: str, tmp_path: Path) -> None:
    fill(directory_dsn)
    file = tmp_path / "addresses.csv"
    file.write_text(HEADER + "".join(f"a{number}@party.test,AAL,b0b0,,\n" for number in range(2000)), encoding="utf-8")
    ours, theirs = pty.openpty()
    try:
        environment = {"DIRECTORY_DSN": directory_dsn, "DIRECTORY_WRITE_DSN": directory_dsn, "TERM": "xterm"}
        done = subprocess.run(
            [sys.executable, "-m", "digipoort.cli", "address", "import", str(file)],
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=False,
            timeout=60,
            env={**os.environ, **SETTINGS, **environment},
        )
        seen = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (0, b"added 2000 addresses\n")
    assert "checking and adding" in seen


def test_no_other_command_waits_for_the_bar() -> None:
    program = "import sys, digipoort.cli; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
