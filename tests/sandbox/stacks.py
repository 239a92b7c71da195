"""Which Dovecot and which Postfix a sandbox runs, and how logins reach authd: chosen while it is up.

The host's own Debian 12 gives Dovecot 2.3 and Postfix 3.7, the tree of tests/debian13.py Dovecot 2.4 and Postfix 3.10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests import debian13

if TYPE_CHECKING:
    from tests.sandbox.layout import Layout


@dataclass(frozen=True, slots=True)
class Stack:
    """One combination; the versions are those that the templates are told."""

    name: str
    dovecot: str = "2.3"
    passdb: str = "checkpassword"
    postfix: str = "3.7"

    def command(self, program: str, *words: str) -> tuple[str, ...]:
        """Return the command line for a program of Postfix's or Dovecot's, as this combination runs it."""
        version, newer = (
            (self.dovecot, "2.4") if program.startswith(("/usr/sbin/dove", "/usr/bin/dove")) else (self.postfix, "3.10")
        )
        return debian13.command(debian13.tree(), program, *words) if version == newer else (program, *words)


STACKS: Final = {
    stack.name: stack
    for stack in (
        Stack("2.3-checkpassword"),
        Stack("2.3-lua", passdb="lua"),
        Stack("2.4-lua", dovecot="2.4", passdb="lua"),
        Stack("2.4-lua-postfix-3.10", dovecot="2.4", passdb="lua", postfix="3.10"),
    )
}
DEFAULT: Final = "2.3-checkpassword"


def current(layout: Layout) -> Stack:
    """Return what the sandbox runs."""
    chosen = layout.root / "stack"
    return STACKS[chosen.read_text(encoding="ascii").strip() if chosen.exists() else DEFAULT]


def choose(layout: Layout, name: str) -> Stack:
    """Note what the sandbox is to run when its Dovecot and Postfix start next; KeyError when there is no such stack."""
    stack = STACKS[name]
    (layout.root / "stack").write_text(f"{name}\n", encoding="ascii")
    return stack
