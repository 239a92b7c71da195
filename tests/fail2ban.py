"""Runs fail2ban's own reader of log lines (Debian's package) with the filters that are installed and with its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2

if TYPE_CHECKING:
    from collections.abc import Iterable

ROLE: Final = Path(__file__).resolve().parents[1] / "ansible" / "roles" / "fail2ban"
STOCK: Final = Path("/etc/fail2ban")
FILTER: Final = str(ROLE / "files" / "filter.d" / "digipoort-auth.conf")


def failures(lines: Iterable[str], folder: Path, filter_name: str = FILTER) -> list[str]:
    """Return the address of each line that a filter takes for a failed login, in order; `folder` is scratch."""
    log = folder / "lines.log"
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = ["fail2ban-regex", "--usedns", "no", "-o", "ip", str(log), filter_name]
    # Without a match it exits with 1, as grep does.
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout.split()


def configuration(folder: Path, **variables: object) -> str:
    """Return what fail2ban would do with the package's configuration and our filter and jail: `fail2ban-client -d`."""
    root = folder / "fail2ban"
    shutil.copytree(STOCK, root, ignore=shutil.ignore_patterns("*.local", "defaults-debian.conf"))
    shutil.copy(FILTER, root / "filter.d")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )
    jail = environment.get_template("digipoort-auth.jail.j2").render(variables)
    (root / "jail.d" / "digipoort-auth.conf").write_text(jail, encoding="utf-8")
    command = ["fail2ban-client", "-c", str(root), "-d"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
