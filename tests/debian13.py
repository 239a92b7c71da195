"""A tree of Debian 13 beside the host's Debian 12, so that the tests run Dovecot 2.4 and Postfix 3.10 too.

It is made once per machine and list of packages, in a cache outside the checkout, from the mirror that the host itself
uses. A daemon of it runs in a mount namespace of its own, with this host's /var/tmp, network, users' numbers and clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE: Final = Path("/var/cache/digipoort-tests")
SUITE: Final = "trixie"
PACKAGES: Final = (
    "dovecot-pop3d", "dovecot-lmtpd", "dovecot-auth-lua", "lua-socket", "postfix", "postfix-pcre", "postfix-lmdb",
    # What the package digipoort depends on: it is installed there too (tests/integration/test_package.py).
    "python3", "python3-argon2", "python3-bcrypt", "python3-click", "python3-dotenv", "python3-milter",
    "python3-psycopg", "python3-rich", "python3-structlog", "python3-systemd", "python3-tomli-w",
)  # fmt: skip
# What the sandbox's folders belong to must be the same numbers inside.
USERS: Final = ("postfix", "dovecot", "dovenull")
GROUPS: Final = ("postfix", "postdrop", "dovecot", "dovenull")
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT: Final = Path("/etc/apt")
_LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_PREPARE: Final = r"""#!/bin/sh
# Before the packages that would make these users themselves; no maintainer script may start a daemon.
set -eu
cat passwd >>"$1/etc/passwd"
cat shadow >>"$1/etc/shadow"
cat group >>"$1/etc/group"
printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
chmod 0755 "$1/usr/sbin/policy-rc.d"
echo 'postfix postfix/main_mailer_type select No configuration' | chroot "$1" debconf-set-selections
"""
_ENTER: Final = """
mount --rbind /dev "$1/dev"
mount --bind /proc "$1/proc"
mount --bind /var/tmp "$1/var/tmp"
exec chroot "$@"
"""


def tree() -> Path:
    """Return the tree's root, which is made now if this machine has none (about a minute).

    Raises subprocess.CalledProcessError with the last words of mmdebstrap in its `output`.
    """
    wanted = CACHE / f"{SUITE}-{_key()}"
    if wanted.exists():
        return wanted
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _only_one():
        if not wanted.exists():
            _make(wanted)
    return wanted


def command(root: Path, *words: str) -> tuple[str, ...]:
    """Return the command line that runs `words` inside the tree; its process is the program itself."""
    return ("/usr/bin/unshare", "--mount", "--propagation=private", "/bin/sh", "-euc", _ENTER, "sh", str(root), *words)


def _key() -> str:
    """Name what the tree is made of: a change of it makes another tree."""
    recipe = [SUITE, *PACKAGES, *_LEFT_OUT, _PREPARE, *_lines(USERS, GROUPS).values()]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]


def _lines(users: tuple[str, ...], groups: tuple[str, ...]) -> dict[str, str]:
    """Return what is added to the tree's passwd, shadow and group."""
    accounts = [pwd.getpwnam(name) for name in users]
    return {
        "passwd": "".join(
            f"{one.pw_name}:x:{one.pw_uid}:{one.pw_gid}::{one.pw_dir}:{one.pw_shell}\n" for one in accounts
        ),
        "shadow": "".join(f"{one.pw_name}:!:19000::::::\n" for one in accounts),
        "group": "".join(f"{name}:x:{grp.getgrnam(name).gr_gid}:\n" for name in groups),
    }


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(wanted: Path) -> None:
    unfinished = wanted.with_suffix(".unfinished")
    work = wanted.with_suffix(".work")
    for leftover in (unfinished, work):
        shutil.rmtree(leftover, ignore_errors=True)
    work.mkdir()
    for name, text in _lines(USERS, GROUPS).items():
        (work / name).write_text(text, encoding="ascii")
    hook = work / "prepare"
    hook.write_text(_PREPARE, encoding="ascii")
    hook.chmod(0o755)
    settings = ['Apt::Install-Recommends "false"', *_checks()]
    subprocess.run(
        [
            "mmdebstrap", "--mode=root", "--variant=essential", "--format=directory", f"--keyring={KEYRING}",
            *(f"--aptopt={setting}" for setting in settings),
            "--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
            '--essential-hook=./prepare "$1"', f"--include={','.join(PACKAGES)}",
            SUITE, str(unfinished),
            *_archives(),
        ],
        check=True, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for line in (unfinished / "etc/passwd").read_text(encoding="ascii").splitlines():
        name, _, number, *_ = line.split(":")
        if name in USERS and int(number) != pwd.getpwnam(name).pw_uid:
            raise RuntimeError(f"{name} has another number in the tree")
    # Resolves what the host resolves, and no more.
    shutil.copy("/etc/hosts", unfinished / "etc/hosts")
    unfinished.rename(wanted)
    shutil.rmtree(work)


def _archives() -> list[str]:
    """Return source lines for the archives that the host's apt sources name: Debian's, and its security updates."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in (*sorted(_APT.glob("sources.list.d/*.sources")), *sorted(_APT.glob("sources.list*")))
        if path.is_file()
    ]
    found = re.findall(r"^(?:URIs:[ ]*|deb[ ]+(?:\[[^]]*\][ ]+)?)(\S+)", "\n".join(texts), re.MULTILINE)
    if not found:
        raise RuntimeError("no Debian mirror in /etc/apt")
    security = next((uri for uri in found if uri.rstrip("/").endswith("debian-security")), None)
    return [
        f"deb {found[0]} {SUITE} main",
        *([f"deb {security} {SUITE}-security main"] if security else []),
    ]


def _checks() -> list[str]:
    """Return how the host has apt judge the age of a mirror's lists."""
    dumped = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    return [line.rstrip(";") for line in dumped.splitlines() if line.startswith("Acquire::Check-")]


if __name__ == "__main__":
    os.umask(0o022)
    print(tree())  # noqa: T201 - said to whoever builds it beforehand
