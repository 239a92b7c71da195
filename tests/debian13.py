"""A tree of Debian 13 beside the host's Debian 12, so that the tests run Dovecot 2.4 and Postfix 3.10 too.

It is made once per machine and list of packages (tests/bootstrap.py). A daemon of it runs in a mount namespace of its
own, with this host's /var/tmp, network, users' numbers and clock.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from typing import TYPE_CHECKING, Final

from tests import bootstrap

if TYPE_CHECKING:
    from pathlib import Path

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
    recipe = bootstrap.Recipe(
        label="daemons-13",
        suite=SUITE,
        packages=PACKAGES,
        apt=('Apt::Install-Recommends "false"',),
        dpkg=("force-unsafe-io", *(f"path-exclude={path}" for path in _LEFT_OUT)),
        hook=_PREPARE,
        files=_lines(USERS, GROUPS),
    )
    return bootstrap.tree(recipe, _finish)


def command(root: Path, *words: str) -> tuple[str, ...]:
    """Return the command line that runs `words` inside the tree; its process is the program itself."""
    return ("/usr/bin/unshare", "--mount", "--propagation=private", "/bin/sh", "-euc", _ENTER, "sh", str(root), *words)


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


def _finish(root: Path) -> None:
    for line in (root / "etc/passwd").read_text(encoding="ascii").splitlines():
        name, _, number, *_ = line.split(":")
        if name in USERS and int(number) != pwd.getpwnam(name).pw_uid:
            raise RuntimeError(f"{name} has another number in the tree")
    # Resolves what the host resolves, and no more.
    shutil.copy("/etc/hosts", root / "etc/hosts")


if __name__ == "__main__":
    os.umask(0o022)
    print(tree())  # noqa: T201 - said to whoever builds it beforehand
