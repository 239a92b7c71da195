"""The command group that says which commands come near one that does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from digipoort.directory import names

if TYPE_CHECKING:
    from collections.abc import Mapping

# What other programs call our commands.
_SYNONYMS: Final[Mapping[str, str]] = {
    "create": "add",
    "new": "add",
    "delete": "remove",
    "del": "remove",
    "rm": "remove",
    "edit": "change",
    "modify": "change",
    "set": "change",
    "passwd": "rotate",
    "password": "rotate",
    "update": "change",
    "ls": "list",
    "get": "show",
    "info": "show",
    "view": "show",
}


class Commands(click.Group):
    """A group of commands. A name that is none of them is refused with the names that come near it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; raises click.UsageError."""
        name = args[0]
        there = self.list_commands(ctx)
        if name not in there and not ctx.resilient_parsing:
            synonym = _SYNONYMS.get(name)
            near = [synonym] if synonym in there else names.likest(name, there)
            if near:
                ctx.fail(f"No such command '{name}'.{names.question(near)}")
        return super().resolve_command(ctx, args)
