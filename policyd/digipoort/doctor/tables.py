"""Whether Postfix itself gets answers from the published tables: asked as its user, by postmap."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort import mapfiles, maps
from digipoort.doctor import commands
from digipoort.doctor.findings import Finding, fault, ok, warning
from digipoort.doctor.mapstate import PUBLICATION_SECONDS
from digipoort.mapcontents import ALIAS, PublishError

if TYPE_CHECKING:
    from pathlib import Path

    from digipoort.doctor.commands import User
    from digipoort.doctor.host import Host

_CHECK: Final = "tables"
_NOT_FOUND: Final = 1
_NOT_THERE: Final = "is not published"
# From one table, so many of its first keys.
_KEYS: Final = 3
# A text follows its table within this.
_SETTLED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The first lines of a table's text, the lines that Postfix's user got for their keys, and what was wrong."""

    name: str
    expected: tuple[str, ...]
    answered: tuple[str, ...]
    error: str = ""


def examine(host: Host) -> list[Finding]:
    """Look keys up in every table. Twice where one is not as it should be: they change while one looks."""
    if os.geteuid() != 0:
        return [warning(_CHECK, "only root can ask as Postfix's user", "run it as root")]
    user = host.postfix_user
    if user is None:
        return []
    try:
        map_type = maps.map_type(host.settings)
    except (PublishError, mapfiles.PostfixCommandError):
        return []  # the check `maps` tells
    folder = host.settings.maps_directory
    texts = [folder / name for name in (*maps.TARGETS, ALIAS)]
    asked = [_ask(host, map_type, text, user) for text in texts]
    changing = False
    if any(map(_is_wrong, asked)):
        time.sleep(_SETTLED_SECONDS)
        changing = not maps.ended_within(folder, PUBLICATION_SECONDS)
        asked = [_ask(host, map_type, text, user) for text in texts]
    return judge(asked, changing=changing)


def judge(asked: list[Asked], *, changing: bool = False) -> list[Finding]:
    """Tell which tables do not answer as their texts say; none has to while a publication is under way (`changing`)."""
    found = []
    for one in filter(_is_wrong, asked):
        if changing:
            text = f"{one.name} is as it was, or as it will be: a publication is under way"
            found.append(warning(_CHECK, text, "look again when it has ended"))
        elif one.error == _NOT_THERE:
            found.append(fault(_CHECK, f"{one.name} {one.error}", "digipoort maps publish"))
        elif one.error:
            remedy = "the folder's group must be Postfix's, its mode 2751, files 0640; then digipoort maps publish"
            found.append(fault(_CHECK, f"Postfix's user gets no answer from {one.name}: {one.error}", remedy))
        else:
            remedy = "remove that text (Postfix does not read it), digipoort maps publish: both are made anew"
            found.append(fault(_CHECK, f"{one.name} answers otherwise than its text says", remedy))
    return found or [ok(_CHECK, f"{', '.join(one.name for one in asked)}: Postfix's user gets answers")]


def _is_wrong(one: Asked) -> bool:
    return bool(one.error) or one.answered != one.expected


def _ask(host: Host, map_type: str, text: Path, user: User) -> Asked:
    try:
        with text.open(encoding="utf-8") as stream:
            lines = [line.rstrip("\n").partition(" ")[::2] for line in itertools.islice(stream, _KEYS)]
    except FileNotFoundError:
        return Asked(text.name, (), (), _NOT_THERE)
    keys = "".join(f"{key}\n" for key, _ in lines) or "doctor@digipoort.invalid\n"
    config = host.settings.postfix_config_directory
    said = commands.run(["/usr/sbin/postmap", "-c", config, "-q", "-", f"{map_type}:{text}"], stdin=keys, user=user)
    # A key that is not there is status 1, as a table that cannot be opened is; warnings come beside answers.
    errors = [line for line in said.errors.splitlines() if "fatal: " in line or "error: " in line]
    failed = said.status not in {0, _NOT_FOUND}
    error = errors[0] if errors else said.first_error if failed else ""
    expected = tuple(f"{key}\t{value}" for key, value in lines)
    return Asked(text.name, expected, tuple(said.output.splitlines()), error)
