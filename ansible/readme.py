#!/usr/bin/env python3
"""Writes each role's README.md from its meta/argument_specs.yml, so that what is documented is what is checked.

`ansible/readme.py` writes them; a test compares them with what this makes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROLES: Final = Path(__file__).resolve().parent / "roles"
_CODE: Final = re.compile(r"C\(([^)]*)\)")


def main() -> None:
    """Write the README of every role."""
    for role in roles():
        (role / "README.md").write_text(readme(role), encoding="utf-8")


def roles() -> list[Path]:
    """Return the folders of the roles that describe their variables."""
    return sorted(path.parents[1] for path in ROLES.glob("*/meta/argument_specs.yml"))


def readme(role: Path) -> str:
    """Return a role's README.md: what it does, its variables, which roles come with it."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    about = yaml.safe_load((role / "meta" / "main.yml").read_text(encoding="utf-8"))
    return "\n".join(_lines(role.name, specs["main"], [item["role"] for item in about["dependencies"]])) + "\n"


def _lines(name: str, spec: Mapping[str, Any], dependencies: list[str]) -> Iterator[str]:
    yield f"# Role `{name}`"
    yield ""
    yield "<!-- Made by ansible/readme.py from meta/argument_specs.yml: change that, and run it. -->"
    yield ""
    yield f"{_text(spec['short_description'])}."
    for paragraph in _paragraphs(spec["description"]):
        yield ""
        yield paragraph
    if dependencies:
        yield ""
        names = ", ".join(f"[`{one}`](../{one}/README.md)" for one in dependencies)
        yield f"It depends on {names}, whose variables it shares."
    if spec.get("options"):
        yield ""
        yield "| variable | type | default | what |"
        yield "|---|---|---|---|"
        for variable, option in spec["options"].items():
            yield f"| `{variable}` | {_type(option)} | {_default(option)} | {_cell(option)} |"


def _type(option: Mapping[str, Any]) -> str:
    choices = ", ".join(f"`{choice}`" for choice in option.get("choices", ()))
    kind = f"list of {option['elements']}" if "elements" in option else str(option["type"])
    return f"{kind}: {choices}" if choices else kind


def _default(option: Mapping[str, Any]) -> str:
    if option.get("required"):
        return "(required)"
    if "default" not in option:
        return ""
    value = option["default"]
    # A bar would end the cell.
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"`{' '.join(shown.split())}`".replace("|", "\\|") if shown else "empty"


def _cell(option: Mapping[str, Any]) -> str:
    return " ".join(_paragraphs(option["description"])).replace("|", "\\|")


def _paragraphs(description: str | list[str]) -> list[str]:
    return [_text(one) for one in ([description] if isinstance(description, str) else description)]


def _text(text: str) -> str:
    return _CODE.sub(r"`\1`", " ".join(text.split()))


if __name__ == "__main__":
    main()
