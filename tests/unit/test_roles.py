"""The Ansible roles as data: each variable has a default or is asked for, and is described once."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import jinja2.meta
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ANSIBLE = Path(__file__).resolve().parents[2] / "ansible"
ROLES = sorted(path for path in (ANSIBLE / "roles").iterdir() if path.is_dir())
SHARED = ANSIBLE / "roles" / "digipoort"
# Ansible's own, and a template's that another includes.
GIVEN = frozenset(
    {"ansible_facts", "ansible_check_mode", "groups", "inventory_hostname", "item", "omit", "playbook_dir"}
)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _yaml(path: Path) -> Any:  # noqa: ANN401 - YAML holds anything
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def _options(role: Path) -> dict[str, dict[str, Any]]:
    return dict(
        (_yaml(role / "meta" / "argument_specs.yml") or {"argument_specs": {"main": {}}})["argument_specs"]["main"].get(
            "options", {}
        )
    )


def _defaults(role: Path) -> dict[str, object]:
    return dict(_yaml(role / "defaults" / "main.yml") or {})


def _tasks(role: Path) -> Iterator[dict[str, Any]]:
    """Yield every task and block of a role."""
    waiting = [task for path in (role / "tasks").rglob("*.yml") for task in _yaml(path) or []]
    while waiting:
        task = waiting.pop()
        yield task
        for part in ("block", "rescue", "always"):
            waiting += task.get(part, [])


def _made_by_tasks(role: Path) -> set[str]:
    """Return the variables that a role's tasks make: facts, results, a task's or a loop's own."""
    made: set[str] = set()
    for task in _tasks(role):
        made |= set(task.get("vars", {})) | set(task.get("ansible.builtin.set_fact", {}))
        made |= {task["register"]} if "register" in task else set()
        made |= {task["loop_control"]["loop_var"]} if "loop_var" in task.get("loop_control", {}) else set()
    return made


def _templates() -> list[Path]:
    return sorted(path for role in ROLES for path in (role / "templates").rglob("*.j2"))


def _set_by_includers(template: Path) -> set[str]:
    """Return what the templates that include this one set before they do."""
    names: set[str] = set()
    for other in template.parent.glob("*.j2"):
        text = other.read_text(encoding="utf-8")
        if f"include '{template.name}'" in text:
            names |= set(re.findall(r"{%\s*set (\w+)", text))
    return names


@pytest.mark.parametrize("template", _templates(), ids=lambda path: str(path.relative_to(ANSIBLE / "roles")))
def test_each_variable_of_a_template_is_a_default_is_required_or_is_made_by_its_role(template: Path) -> None:
    role = ANSIBLE / "roles" / template.relative_to(ANSIBLE / "roles").parts[0]
    environment = jinja2.Environment(autoescape=True)
    # Ansible's own, in templates that the sandbox does not render.
    environment.filters |= {"quote": str, "dirname": os.path.dirname}
    used = jinja2.meta.find_undeclared_variables(environment.parse(template.read_text(encoding="utf-8")))
    known = (
        set(_defaults(SHARED)) | set(_yaml(SHARED / "vars" / "main.yml")) | set(_yaml(role / "vars" / "main.yml") or {})
    )
    required = {name for name, option in _options(role).items() if option.get("required")}
    assert used - known - required - _made_by_tasks(role) - _set_by_includers(template) - GIVEN == set()


def test_defaults_and_descriptions_agree() -> None:
    described = {name: option["default"] for name, option in _options(SHARED).items() if "default" in option}
    assert _defaults(SHARED) == described


def test_each_variable_is_described_in_sentences() -> None:
    for role in ROLES:
        for name, option in _options(role).items():
            text = option["description"]
            last = text if isinstance(text, str) else text[-1]
            assert last.rstrip().endswith("."), f"{role.name}: {name}"


def test_what_is_required_is_described_in_the_shared_role_too() -> None:
    for role in ROLES:
        assert set(_options(role)) <= set(_options(SHARED)), role.name


def test_only_the_shared_role_has_defaults() -> None:
    assert [role.name for role in ROLES if role != SHARED and _defaults(role)] == []


def test_every_role_shares_them_and_has_both_states() -> None:
    for role in ROLES:
        if role != SHARED:
            assert _yaml(role / "meta" / "main.yml")["dependencies"] == [{"role": "digipoort"}], role.name
            assert {"main.yml", "present.yml", "absent.yml"} <= {
                path.name for path in (role / "tasks").iterdir()
            }, role.name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_readme_is_what_the_argument_specs_make(role: Path) -> None:
    written = (role / "README.md").read_text(encoding="utf-8")
    assert written == _module(ANSIBLE / "readme.py").readme(role), "run ansible/readme.py"


def test_example_inventories_use_variables_that_there_are() -> None:
    for path in (ANSIBLE / "inventories").rglob("group_vars/*.yml"):
        unknown = set(_yaml(path)) - set(_options(SHARED))
        assert unknown == set(), path


@pytest.mark.parametrize(
    ("listens", "process", "wanted", "holders"),
    [
        ("0.0.0.0:587", '(("master",pid=12,fd=13))', "192.0.2.1:587", ["0.0.0.0:587 master 12"]),
        ("192.0.2.1:587", '(("master",pid=12,fd=13))', "0.0.0.0:587", ["192.0.2.1:587 master 12"]),
        ("192.0.2.1%eth0:110", '(("dovecot",pid=7,fd=1))', "192.0.2.1:110", ["192.0.2.1%eth0:110 dovecot 7"]),
        ("[::]:25", '(("a",pid=3,fd=4),("b",pid=5,fd=4))', "0.0.0.0, [::1]:25", ["[::]:25 a 3", "[::]:25 b 5"]),
        ("[::]:25", '(("a",pid=3,fd=4))', "0.0.0.0:25", []),
        ("[::1]:25", '(("a",pid=3,fd=4))', "0.0.0.0, [::]:25", ["[::1]:25 a 3"]),
        ("*:25", '(("a",pid=3,fd=4))', "[2001:db8::1]:25", ["*:25 a 3"]),
        ("*:587", "", "0.0.0.0:587", ["*:587 a program that ss cannot name 0"]),
        ("192.0.2.2:587", '(("master",pid=12,fd=13))', "192.0.2.1:587", []),
        ("0.0.0.0:5870", '(("master",pid=12,fd=13))', "192.0.2.1:587", []),
        ("", "", "0.0.0.0:587", []),
    ],
)
def test_who_holds_a_port(listens: str, process: str, wanted: str, holders: list[str]) -> None:
    line = f"LISTEN 0 100 {listens} 0.0.0.0:* users:{process}" if listens else ""
    found = _module(ANSIBLE / "roles/gateway/filter_plugins/listeners.py").port_holders([line], [wanted])
    assert [f"{one['endpoint']} {one['program']} {one['pid']}" for one in found] == holders


def test_each_file_of_tasks_is_run() -> None:
    """A file that nothing includes is work that no host sees."""
    texts = "".join(path.read_text(encoding="utf-8") for path in ANSIBLE.rglob("*.yml"))
    entries = {"main.yml", "present.yml", "absent.yml"}
    files = {path.name for role in ROLES for path in (role / "tasks").iterdir()} - entries
    named = {
        f"{name}.yml"
        for name in re.findall(r"(?:tasks_from|(?:include|import)_tasks): (\w+)(?:\.yml)?$", texts, re.MULTILINE)
    }
    assert files - named == set()
