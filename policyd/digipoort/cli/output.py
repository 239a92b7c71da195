"""How lists are shown: an aligned table for people, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Write rows to standard output: a JSON list of objects, or a table with a heading."""
    if as_json:
        items = [dict(zip(columns, row, strict=True)) for row in rows]
        click.echo(json.dumps(items, default=str, ensure_ascii=False, indent=2))
    else:
        for line in table([[column.upper() for column in columns], *rows]):
            click.echo(line)


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return rows as lines whose columns are aligned, two spaces between them."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _cell(value: object) -> str:
    """Return a value as one printable run: a name in the directory must not steer the admin's terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value))


def plain(item: object) -> str:
    """Return one value of an object in a line of words: several are joined, none is a hyphen."""
    if isinstance(item, list | tuple):
        return "+".join(map(str, item))
    return "-" if item is None else str(item)


def printable(text: str) -> str:
    """Return a text without what could steer the admin's terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
