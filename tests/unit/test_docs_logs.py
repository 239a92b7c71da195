"""docs/logs.md lists every event that the programs log, and no other: the code is read for the calls that log."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = CHECKOUT / "docs" / "logs.md"
LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
LOGGERS: Final = frozenset({"log", "logger", "_log", "_logger"})
SHARED: Final = CHECKOUT / "policyd" / "digipoort"
# The section of the page that has the events of a folder; what is shared may stand in any.
SECTIONS: Final = {
    SHARED / "cli": "digipoort",
    CHECKOUT / "policyd" / "digipoort_policyd": "digipoort-policyd",
    CHECKOUT / "policyd" / "digipoort_maps": "digipoort-maps",
    CHECKOUT / "milter": "digipoort-milter",
    CHECKOUT / "dovecot_auth" / "digipoort_auth": "digipoort-authd",
    CHECKOUT / "dovecot_auth" / "digipoort_sasl": "digipoort-sasl",
}


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _logs(call: ast.Call) -> bool:
    """Tell whether a call logs: `log.info(…)`, `self._log.error(…)`, or `log(…)` where a method was chosen before."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in LEVELS and _last_name(call.func.value) in LOGGERS
    return isinstance(call.func, ast.Name) and call.func.id in LOGGERS


def _assigned(name: str, function: ast.AST) -> Iterator[ast.expr]:
    """Yield what a function assigns to a name, also where a tuple is assigned to a tuple."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            else:
                pairs = [(target, node.value)]
            yield from (value for part, value in pairs if isinstance(part, ast.Name) and part.id == name)


def _literals(node: ast.expr, function: ast.AST) -> set[str]:
    """Return the strings that an expression can be: a literal, one of two, or a name that these are assigned to."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=other):
            return _literals(body, function) | _literals(other, function)
        case ast.Name(id=name):
            found = [_literals(value, function) for value in _assigned(name, function)]
            if found and all(found):
                return set().union(*found)
    return set()


def _events(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    events: set[str] = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and _logs(call):
                found = _literals(call.args[0], function) if call.args else set()
                assert found, f"{path.name}:{call.lineno}: the event cannot be read from the code"
                events |= found
    return events


def _in_code() -> dict[Path, set[str]]:
    folders = (SHARED, *SECTIONS)
    return {folder: set().union(*map(_events, sorted(folder.rglob("*.py")))) for folder in folders}


def _in_page() -> dict[str, set[str]]:
    """Return the events of the first column of every table, by the name of the program in the section's heading."""
    sections: defaultdict[str, set[str]] = defaultdict(set)
    program = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        heading = re.match(r"## (?:`([a-z-]+)`)?", line)
        row = re.match(r"\| `([a-z_]+)` \|", line)
        if heading:
            program = heading[1] or ""
        elif row and program:
            sections[program].add(row[1])
    return sections


def test_the_page_lists_the_codes_events_and_no_others() -> None:
    assert set().union(*_in_page().values()) == set().union(*_in_code().values())


@pytest.mark.parametrize(("folder", "program"), SECTIONS.items(), ids=SECTIONS.values())
def test_an_event_stands_under_its_program(folder: Path, program: str) -> None:
    assert _in_code()[folder] <= _in_page()[program]


@pytest.mark.parametrize(
    ("source", "events"),
    [
        ('def f(): log.info("a")', {"a"}),
        ('def f(self): self._log.exception("a", key=1)', {"a"}),
        ('def f(): log.info("a" if x else "b")', {"a", "b"}),
        ('def f():\n    event = "a"\n    event = "b"\n    log.info(event)', {"a", "b"}),
        ('def f():\n    log, event = logger.info, "a"\n    log(event)', {"a"}),
        ('async def f(): logger.error("a")', {"a"}),
        ('def f(): echo.info("a"); info("b")', set()),
    ],
)
def test_events_are_read_from_the_code(source: str, events: set[str], tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert _events(path) == events


def test_an_event_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('def f(): log.info(f"{name}_started")', encoding="utf-8")
    with pytest.raises(AssertionError, match="cannot be read"):
        _events(path)
