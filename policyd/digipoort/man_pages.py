"""What the man pages say of commands and settings, from the commands and settings themselves.

`python -m digipoort.man_pages man` rewrites the pages of the folder in place: what stands between a pair of marker
lines is replaced, the rest is written by hand (man(7)). A test fails when a page is stale.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from digipoort.cli import main
from digipoort.settings import PROGRAMS, CommonSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = re.compile(
    r'^(\.\\" (commands|settings)(?: (\w+))?: generated\n).*?^(\.\\" end\n)', re.MULTILINE | re.DOTALL
)
_QUOTED: Final = re.compile(r"`([^`]+)`")
# A word that is typed rather than read: an option, a path, an address, a name with a dot in it.
_TYPED: Final = re.compile(r"(?<!\w)-\S+|\S*[/@=_]\S*|\S*\w[.:]\w\S*")
_PREFORMATTED: Final = "\b\n"
_WIDTH: Final = 120
# Of the program itself, told once.
_HELP: Final = "--help"


def with_facts(page: str) -> str:
    """Return the page with its generated blocks as they should be."""
    return _BLOCK.sub(
        lambda block: block[1] + "".join(f"{line}\n" for line in _lines(block[2], block[3])) + block[4], page
    )


def _lines(kind: str, program: str | None) -> Iterator[str]:
    if kind == "commands":
        return _commands(main, click.Context(main, info_name="digipoort"))
    return _settings() if program is None else _settings_of(program)


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield a section for each group of commands; those without a group come first."""
    there = [(name, command) for name in group.list_commands(context) if (command := group.get_command(context, name))]
    for name, command in there:
        if not isinstance(command, click.Group):
            yield from _command(command, click.Context(command, info_name=name, parent=context))
    for name, command in there:
        if isinstance(command, click.Group):
            yield f".SS {_text(name)}"
            yield from _paragraphs(command)
            yield from _commands(command, click.Context(command, info_name=name, parent=context))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield one command: how it is called, what it does, its options."""
    words = context.command_path.removeprefix("digipoort ")
    options = [
        record
        for one in command.get_params(context)
        if isinstance(one, click.Option) and _HELP not in one.opts and (record := one.get_help_record(context))
    ]
    arguments = [one.make_metavar() for one in command.params if isinstance(one, click.Argument)]
    called = " ".join([*(["[OPTION...]"] if options else []), *arguments])
    yield ".TP"
    yield f"\\fB{_literal(words)}\\fR {_literal(called)}".rstrip()
    yield from _paragraphs(command)
    if options:
        yield ".RS"
        for names, meaning in options:
            yield ".TP"
            yield f"\\fB{_literal(names)}\\fR"
            yield _text(meaning) if meaning else "\\&"
        yield ".RE"


def _paragraphs(command: click.Command) -> Iterator[str]:
    """Yield the help of a command; what click would not wrap stays as it is."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".IP" if not isinstance(command, click.Group) else ".PP"
        if paragraph.startswith(_PREFORMATTED):
            yield ".nf"
            yield from map(_literal, paragraph.removeprefix(_PREFORMATTED).splitlines())
            yield ".fi"
        else:
            yield _text(" ".join(paragraph.split()))


def _settings() -> Iterator[str]:
    """Yield every setting of every program, by its key."""
    readers: dict[str, list[tuple[str, dataclasses.Field[Any]]]] = {}
    for program, kind in PROGRAMS.items():
        for field in dataclasses.fields(kind):
            readers.setdefault(field.name.upper(), []).append((program, field))
    for key in sorted(readers):
        yield ".TP"
        yield f".B {key}"
        meanings: dict[str, list[str]] = {}
        for program, field in readers[key]:
            meanings.setdefault(_meaning(field), []).append(program)
        for meaning, programs in meanings.items():
            everyone = len(programs) == len(PROGRAMS)
            yield _text(f"{'all' if everyone else ', '.join(programs)}: {meaning}")
            if meaning != list(meanings)[-1]:
                yield ".br"


def _meaning(field: dataclasses.Field[Any]) -> str:
    doc = field.metadata["doc"]
    if field.default is dataclasses.MISSING:
        return f"{doc}. It has no default."
    shown = ", ".join(field.default) if isinstance(field.default, tuple) else field.metadata["show"](field.default)
    return f"{doc}. Default: {shown or 'empty'}"


def _settings_of(program: str) -> Iterator[str]:
    """Yield the names of the settings that one program reads, those that every program reads left out."""
    common = {field.name for field in dataclasses.fields(CommonSettings)}
    keys = [field.name.upper() for field in dataclasses.fields(PROGRAMS[program]) if field.name not in common]
    yield from (f"{key}," for key in keys[:-1])
    yield f"{keys[-1]}."


def _text(words: str) -> str:
    """Return running text: what is typed can be copied, quoted commands are bold."""
    read, *others = _QUOTED.split(words)
    pieces = [_readable(read)]
    for quoted, after in zip(others[::2], others[1::2], strict=True):
        pieces += [f"\\fB{_escaped(quoted)}\\fR", _readable(after)]
    return _line("".join(pieces))


def _literal(words: str) -> str:
    """Return what is typed as it stands."""
    return _line(_escaped(words))


def _readable(words: str) -> str:
    return _TYPED.sub(lambda typed: typed[0].replace("-", "\\-"), words.replace("\\", "\\e"))


def _escaped(words: str) -> str:
    # A mere hyphen would be shown as a longer one, which no shell takes.
    return words.replace("\\", "\\e").replace("-", "\\-")


def _line(words: str) -> str:
    return f"\\&{words}" if words.startswith((".", "'")) else words


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).iterdir()):
        path.write_bytes(with_facts(path.read_text(encoding="utf-8")).encode("utf-8"))
