"""What a migration may do while daemons of the version before it go on (docs/decisions/0016), as far as words tell.

It looks at words, not at what PostgreSQL would make of them: what it misses (a dropped constraint that an ON CONFLICT
needs, say) the statements of earlier versions find, which tests/unit/test_releases.py runs against the newest schema.
"""

from __future__ import annotations

import re
from typing import Final

FIRST_HELD_TO_THEM: Final = "0006"
# Tables of so few rows that reading them all takes no time; every other one may have millions.
SMALL_TABLES: Final = frozenset({"flow", "destination", "change_counter", "migration"})

_CONTRACT: Final = re.compile(r"-- contract: nothing since \d+\.\d+\.\d+ uses \S.*")
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NEVER: Final[dict[str, re.Pattern[str]]] = {
    "drops what an earlier version may use": re.compile(r"(?<!on commit )\bdrop (?!constraint|not null)"),
    "renames": re.compile(r"\brename\b"),
    "changes a type": re.compile(r"\balter (column )?\S+ (set data )?type\b"),
    "sets a column NOT NULL": re.compile(r"\bset not null\b"),
    "revokes": re.compile(r"\brevoke\b"),
    "validates a constraint under the lock that adds it": re.compile(r"\bnot valid\b.*\bvalidate constraint\b"),
}
_CREATED: Final = re.compile(r"\bcreate table (?:if not exists )?([^\s(]+)")
# PostgreSQL lets everybody execute a new function; nobody does yet. A format()'s %s may stand before the name.
_NEW_FUNCTION: Final = re.compile(r"\bcreate function (?:[^\s(]+\.)?([^\s(.]+)\(")
_REVOKED_EXECUTE: Final = re.compile(r"\brevoke execute on function (?:[^\s(]+\.)?([^\s(.]+)\([^)]*\) from public\b")
_ALTERED: Final = re.compile(r"\balter (?:table|domain) (?:if exists )?(?:only )?(\S+) ([^;]*)")
_ADDED: Final = re.compile(r"\badd .*?(?=, (?:add|alter|drop|validate)\b|$)")
_MUST_HAVE_VALUE: Final = re.compile(r"(?<!is )\bnot null\b|\bprimary key\b")
_HAS_VALUE: Final = re.compile(r"\bdefault\b|\bgenerated\b|^add (constraint|primary)\b")
_CONSTRAINT: Final = re.compile(r"\b(check|references|unique|primary key|exclude)\b")
_UNCHECKED: Final = re.compile(r"\bnot valid\b|\busing index\b")


def faults(sql: str) -> list[str]:
    """Return what a migration's text does that it may not; nothing when its first line says that it may."""
    if _CONTRACT.fullmatch(sql.partition("\n")[0]):
        return []
    text = " ".join(_COMMENT.sub(" ", sql).lower().split())
    functions = frozenset(_NEW_FUNCTION.findall(text))
    text = _REVOKED_EXECUTE.sub(lambda revoked: "" if revoked[1] in functions else revoked[0], text)
    found = [what for what, pattern in _NEVER.items() if pattern.search(text)]
    new_or_small = SMALL_TABLES.union(_CREATED.findall(text))
    for table, actions in _ALTERED.findall(text):
        for added in _ADDED.findall(actions):
            found += _faults_of_addition(added, large=table not in new_or_small)
    return found


def _faults_of_addition(added: str, *, large: bool) -> list[str]:
    found = []
    if _MUST_HAVE_VALUE.search(added) and not _HAS_VALUE.search(added):
        found.append("adds a column that an earlier version leaves without its value")
    if large and _CONSTRAINT.search(added) and not _UNCHECKED.search(added):
        found.append("reads a large table to check it, under a lock")
    return found
