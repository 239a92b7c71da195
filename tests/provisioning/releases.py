"""A bare Debian per release, from which guests are copied: what an installer leaves that was asked for nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from tests import bootstrap

if TYPE_CHECKING:
    from pathlib import Path

RELEASES: Final = ("bookworm", "trixie")
# Ansible needs Python and python3-apt, and apt over https the certificates.
_PACKAGES: Final = (
    "apt", "systemd", "systemd-sysv", "dbus", "python3", "python3-apt", "ca-certificates", "iproute2", "procps", "sudo",
    "less", "netbase",
)  # fmt: skip


def tree(release: str) -> Path:
    """Return the root of a bare Debian, never to be changed; made now if this machine has none (about a minute)."""
    return bootstrap.tree(bootstrap.Recipe(f"guest-{release}", release, _PACKAGES, dpkg=("force-unsafe-io",)), _finish)


def _finish(root: Path) -> None:
    # A guest's own dpkg is as careful, and so as slow, as a host's.
    (root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap").unlink(missing_ok=True)
    # Empty: each guest draws a number of its own at its first boot.
    (root / "etc/machine-id").write_text("", encoding="ascii")


if __name__ == "__main__":
    for name in sys.argv[1:] or RELEASES:
        print(tree(name))  # noqa: T201 - said to whoever builds it beforehand
