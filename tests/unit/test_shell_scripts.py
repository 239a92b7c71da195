"""Every shell script of the project, templates too, as ShellCheck sees it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2
import jinja2.meta
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT: Final = Path(__file__).resolve().parents[2]
_SHELLS: Final = (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")


def _scripts() -> Iterator[Path]:
    """Yield the tracked files that name a shell as their interpreter."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        path = CHECKOUT / name
        if path.is_file() and path.read_bytes().startswith(_SHELLS):
            yield path


def _rendered(path: Path) -> str:
    """Return a script with a path that has a space in it for each of the template's variables."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".j2":
        return text
    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - no HTML
    environment.filters["quote"] = shlex.quote
    template = environment.from_string(text)
    names = jinja2.meta.find_undeclared_variables(environment.parse(text))
    return template.render(dict.fromkeys(names, "/srv/a folder"))


@pytest.mark.parametrize("path", _scripts(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_shellcheck_has_nothing_against_it(path: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "--severity=style", "-"], input=_rendered(path), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
