"""The tables of docs/interface.md, from the catalogue, the rules and the default profile that the programs run with.

`python -m digipoort.interface_page docs/interface.md` rewrites the page in place: what stands between a pair of marker
lines is replaced, the rest is written by hand. A test fails when the page is stale.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.directory.objects import DEFAULT_SIZE_LIMIT
from digipoort.interface import rules
from digipoort.interface.profile import GUARDS, InterfaceProfile
from digipoort.reasons import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from digipoort.interface.rules import Rule
    from digipoort.reasons import Reason

_CHECKS_HEADING: Final = ("Code", "A message is refused unless", "Clause", "Reply", "English", "Nederlands", "Setting")
_CODES_HEADING: Final = ("Code", "Reply", "English", "Nederlands")
_CODE_PREFIX_LENGTH: Final = len("DGP-")


def with_tables(page: str) -> str:
    """Return the page with its tables as they should be. Raises ValueError when a pair of markers is missing."""
    tables = {"checks": _checks(), "session": _codes("1"), "authorisation": _codes("2"), "delivery": _codes("4")}
    for name, table in tables.items():
        page = _replaced(page, name, table)
    return page


def _replaced(page: str, name: str, table: str) -> str:
    before, begin, rest = page.partition(f"<!-- {name}: generated -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if not end:
        raise ValueError(f"the page has no markers of the table {name}")
    return f"{before}{begin}{table}{end}{after}"


def _checks() -> str:
    return "\n".join(
        f"### {title}\n\n{_table(_CHECKS_HEADING, map(_check, group))}" for title, group in rules.GROUPS.items()
    )


def _check(rule: Rule) -> Iterator[str]:
    yield rule.reason.code
    yield rule.demand
    yield rule.clause
    yield from _answer(rule.reason)
    yield "; ".join([*map(_default, rule.settings), *_switch(rule.reason)]) or "-"


def _default(setting: str) -> str:
    """Return a setting with its default, as the page shows it: no value of a list is left out."""
    if setting == rules.SIZE_LIMIT:
        return f"{setting} of the flow: {DEFAULT_SIZE_LIMIT}"
    value = getattr(InterfaceProfile(), setting)
    listed = ", ".join(value) if isinstance(value, tuple) else str(value)
    return f"`{setting}`: {listed or '(empty)'}"


def _switch(reason: Reason) -> list[str]:
    """Return what to know of the check's switch: nothing when it is on and can be switched off, as most are."""
    if reason.code in GUARDS:
        return ["**guard**"]
    return ["**off**"] if reason.code in InterfaceProfile().off else []


def _codes(digit: str) -> str:
    chosen = (reason for code, reason in CATALOGUE.items() if code[_CODE_PREFIX_LENGTH] == digit)
    return _table(_CODES_HEADING, ([reason.code, *_answer(reason)] for reason in chosen))


def _answer(reason: Reason) -> Iterator[str]:
    yield f"{reason.smtp} {reason.status}"
    for sentence in (reason.english, reason.dutch):
        yield re.sub(r"([\\`*_<|])", r"\\\1", sentence)


def _table(heading: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heading, ["---"] * len(heading), *rows))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(with_tables(path.read_text(encoding="utf-8")).encode("utf-8"))
