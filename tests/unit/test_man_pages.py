"""The man pages are what the programs are, and read by man and mandoc without a complaint."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

from digipoort.man_pages import with_facts

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted((CHECKOUT / "man").iterdir())
COMMAND: Final = "python -m digipoort.man_pages man"
EACH: Final = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


def read(page: Path) -> str:
    """Return the page as a terminal of ASCII shows it, without bold and underlined letters."""
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", "--encoding=ASCII", "--no-hyphenation", str(page)],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "200", "MANPAGER": "cat", "MAN_KEEP_FORMATTING": ""},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert shown.stderr == ""
    return shown.stdout


@EACH
def test_no_page_is_stale(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_facts(text) == text, COMMAND


@EACH
def test_a_page_is_well_formed(page: Path) -> None:
    found = subprocess.run(["mandoc", "-Tlint", "-Wwarning", str(page)], capture_output=True, check=False, text=True)
    assert (found.returncode, found.stdout) == (0, "")
    assert page.name.removesuffix(page.suffix) in read(page)


def test_every_program_has_a_page() -> None:
    programs = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert {page.name.removesuffix(page.suffix) for page in PAGES} == {*programs, "digipoort.env"}


def test_commands_can_be_copied_from_the_page() -> None:
    shown = read(CHECKOUT / "man" / "digipoort.1")
    assert "credential add [OPTION...] LOGIN PARTY" in shown
    assert "--certificate-suffices / --no-certificate-suffices" in shown
    assert "digipoort credential add bloemen AALSMEER --service submission --generate --until 2027-12-31 \\\n" in shown
    assert "unless --prune is given" in " ".join(shown.split())


def test_a_setting_says_who_reads_it_and_its_default() -> None:
    shown = " ".join(read(CHECKOUT / "man" / "digipoort.env.5").split())
    assert "DRAIN_SECONDS policyd, authd: seconds that requests under way get at SIGTERM. Default: 5.0 sasl: " in shown
    assert "LOG_LEVEL all: debug, info, warning or error. Default: info" in shown
    assert "LOGICAL_DOMAINS policyd, milter, admin, maps: domains of logical addresses" in shown


def test_a_path_has_minus_signs_and_a_word_hyphens() -> None:
    text = (CHECKOUT / "man" / "digipoort.env.5").read_text(encoding="utf-8")
    assert "Default: /etc/postfix\\-digipoort\n" in text
    assert "DGP-9002" in text


def test_a_daemon_names_its_settings() -> None:
    shown = " ".join(read(CHECKOUT / "man" / "digipoort-sasl.8").split())
    assert "SASL_SOCKET, DOVECOT_AUTH_SOCKET, SASL_PEERS, SASL_DEADLINE, SASL_CONNECTIONS, DRAIN_SECONDS." in shown


def test_what_stands_outside_the_marks_stays() -> None:
    page = '.SH A\n.\\" settings sasl: generated\nstale\n.\\" end\n.SH B\n'
    made = with_facts(page)
    assert made.startswith('.SH A\n.\\" settings sasl: generated\nSASL_SOCKET,\n')
    assert made.endswith('DRAIN_SECONDS.\n.\\" end\n.SH B\n')
    assert "stale" not in made
