"""What the gateway's role refuses before it changes anything, run by Ansible itself on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.provisioning import playbook

TASKS = Path(__file__).resolve().parents[2] / "ansible/roles/gateway/tasks"


def _check(folder: Path, tasks: str, **variables: object) -> tuple[int, str]:
    """Run a file of checks with these variables, and return the exit status and the output, its lines as one."""
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": variables,
        "tasks": [{"ansible.builtin.import_tasks": str(TASKS / tasks)}],
    }
    file = folder / "play.json"
    file.write_text(json.dumps([play]), encoding="utf-8")
    hosts = folder / "hosts.yml"
    hosts.write_text("all: {hosts: {localhost: {}}}\n", encoding="ascii")
    played = playbook.play(file, hosts, as_admins_do=True)
    return played.status, " ".join(played.output.split())


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Return a folder with a key and a certificate."""
    for name, mode in (("a.key", 0o600), ("open.key", 0o644), ("a.pem", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    return tmp_path


@pytest.mark.parametrize(
    ("chain", "of_one", "refusal"),
    [
        ("", None, ""),
        ("{}/a.key,{}/a.pem", None, ""),
        ("{}/a.key, {}/a.pem", "{}/a.key {}/a.pem", ""),
        ("{}/a.key, {}/none.pem", None, "{}/none.pem (digipoort_agency_client_chain_files, "),
        ("", "{}/a.key,{}/none.pem", "does not exist on localhost. It must be there before."),
        ("{}/open.key,{}/a.pem", None, "is a key, and can be read by every user of localhost"),
        ("keys/a.key", None, "must be an absolute path"),
        ("", "/root/a.key", "the units of the gateway do not see"),
    ],
)
def test_files_of_client_certificates_for_agencies(keys: Path, chain: str, of_one: str | None, refusal: str) -> None:
    slow = {"rate_delay": "2s"} | ({} if of_one is None else {"client_chain_files": of_one.replace("{}", str(keys))})
    status, output = _check(
        keys,
        "check_agencies.yml",
        digipoort_agency_client_chain_files=chain.replace("{}", str(keys)),
        digipoort_agency_transports={"slow": slow, "other": {"concurrency": 1}},
    )
    assert (status == 0) == (refusal == ""), output
    assert refusal.replace("{}", str(keys)) in output
