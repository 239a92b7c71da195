"""Asks before what cannot be taken back, or reaches far."""

from __future__ import annotations

import sys
from typing import Final

import click

from digipoort.cli.failures import Failure

YES: Final = click.option("--yes", is_flag=True, help="Do not ask first.")


def confirm(question: str, *, yes: bool) -> None:
    """Go on when the admin says yes, or said so with --yes.

    Raises click.Abort when the answer is no, and Failure when nobody is there to be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} Nothing is changed: this asks on a terminal, or is told so with --yes.")
    click.confirm(question, abort=True, err=True)
