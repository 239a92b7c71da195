"""How lists are shown: an aligned table for people, JSON for programs."""

from __future__ import annotations

import itertools
import json
import textwrap
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_ROWS_AT_A_TIME: Final = 2000


def show(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, as_json: bool) -> None:
    """Write rows to standard output: a JSON list of objects, or a table with a heading.

    Rows are written as they come, block by block: a table's columns become wider where a later block needs it.
    """
    texts = _json_texts(columns, rows) if as_json else _table_texts(columns, rows)
    for text in texts:
        click.echo(text, nl=False)


def _json_texts(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    separator = "["
    for block in _blocks(rows):
        items = [
            json.dumps(dict(zip(columns, row, strict=True)), default=str, ensure_ascii=False, indent=2) for row in block
        ]
        yield separator + "\n" + ",\n".join(textwrap.indent(item, "  ") for item in items)
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def _table_texts(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    heading: list[Sequence[Any]] = [[column.upper() for column in columns]]
    widths = [0] * len(columns)
    for block in _blocks(itertools.chain(heading, rows)):
        cells = [[cell(value) for value in row] for row in block]
        widths = [max(width, *map(len, column)) for width, column in zip(widths, zip(*cells, strict=True), strict=True)]
        yield "".join(f"{_line(row, widths)}\n" for row in cells)


def _blocks(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    source = iter(rows)
    while block := list(itertools.islice(source, _ROWS_AT_A_TIME)):
        yield block


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return rows as lines whose columns are aligned, two spaces between them."""
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_line(row, widths) for row in cells]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(str.ljust, cells, widths)).rstrip()


def cell(value: object) -> str:
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


def difference(name: str, old: object, new: object) -> str:
    """Return how one value of an object changes."""
    return f"{name}: {plain(old)} -> {plain(new)}"


def printable(text: str) -> str:
    """Return a text without what could steer the admin's terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
