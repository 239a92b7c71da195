"""The sandbox keeps its own promises: every key, one pid file per daemon, side by side, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sandbox.clients import read_env
from tests.sandbox.layout import CHECKOUT

if TYPE_CHECKING:
    from tests.integration.gateway import Gateway

KEYS = """
GATEWAY_HOST SUBMISSION_PORT SUBMISSIONS_PORT POP3_PORT POP3S_PORT CA_FILE MAIL_LOG DIRECTORY_DSN AGENCY_MAILDIR
TRADER_LOGIN TRADER_PASSWORD TRADER_ADDRESS TRADER2_LOGIN TRADER2_PASSWORD TRADER2_ADDRESS AGENCY_LOGIN AGENCY_PASSWORD
AGS_ADDRESS EMCS_ADDRESS REJECT_ADDRESS PHYSICAL_DOMAIN PIDS_DIR
""".split()
DAEMONS = """
agency authd dovecot milter-acceptance milter-receipt milter-submission policyd postfix postgresql sasl syslog
""".split()


def test_the_environment_file_has_every_key(gateway: Gateway) -> None:
    assert [key for key in KEYS if not gateway.env.get(key)] == []
    assert (CHECKOUT / ".instance" / "env").stat().st_mode & 0o077 == 0


def test_every_daemon_has_a_pid_file_named_after_it(gateway: Gateway) -> None:
    pids = {path.stem: int(path.read_text()) for path in Path(gateway.env["PIDS_DIR"]).iterdir()}
    assert sorted(pids) == DAEMONS
    for name, pid in pids.items():
        assert Path(f"/proc/{pid}").is_dir(), name


def _working_below(folder: str) -> list[str]:
    """Return the command lines of the processes that work in a folder or were told of it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if entry.name.isdigit() and (folder in words or folder in str(entry.joinpath("cwd").readlink())):
                found.append(words)
        except OSError:
            continue  # gone meanwhile, or no process
    return found


def test_two_sandboxes_run_side_by_side_and_stopping_leaves_nothing(gateway: Gateway, tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", ".instance", ".*_cache", "__pycache__")
    shutil.copytree(CHECKOUT, other, ignore=ignored)

    def sandbox(command: str) -> None:
        subprocess.run([sys.executable, "-m", "tests.sandbox", command], cwd=other, check=True, capture_output=True)

    sandbox("up")
    try:
        env = read_env(other / ".instance" / "env")
        root = str(Path(env["PIDS_DIR"]).parent)
        assert root != str(gateway.layout.root)
        assert _working_below(root)
    finally:
        sandbox("down")
    assert _working_below(root) == []
    assert not Path(root).exists()
    assert not (other / ".instance").exists()
    assert _working_below(str(gateway.layout.root))
