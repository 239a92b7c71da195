"""The Debian package: built from the checkout, the same each time, and installed on Debian 12 and 13.

It is installed into a tree over which a temporary file system lies: this machine has no package of ours afterwards.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests import debian13

# It is built, and Debian 13's tree may have to be made first.
pytestmark = pytest.mark.timeout(600)

CHECKOUT: Final = Path(__file__).resolve().parents[2]
VERSION: Final = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
DAEMONS: Final = ("policyd", "milter", "authd", "sasl", "maps")
PROGRAMS: Final = {
    "usr/bin/digipoort",
    *(f"usr/sbin/digipoort-{daemon}" for daemon in DAEMONS),
    "usr/lib/digipoort/checkpassword",
    "usr/lib/digipoort/quota-warning",
}
# Where a package may have files that do nothing until somebody runs them.
QUIET: Final = re.compile(r"usr/(bin|sbin|lib/digipoort|lib/python3/dist-packages|share/(doc|man))/.+")
INSTALL: Final = """
scratch=$1/tree
mkdir "$scratch"
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
mount --rbind /dev "$scratch/root/dev"
mount --bind /proc "$scratch/root/proc"
cp "$1"/*.deb "$scratch/root/tmp/"
exec chroot "$scratch/root" /bin/sh -euc "$3"
"""
# The environment names no settings: whatever starts must say so and end.
USE: Final = """
ours() {
    find /etc /usr/bin /usr/sbin /usr/lib/digipoort /usr/lib/python3 /usr/lib/systemd /usr/share/doc /usr/share/man \
        -name '*digipoort*' 2>/dev/null | sort
}
ours >/tmp/before
dpkg --no-triggers -i /tmp/digipoort_*.deb >/dev/null
dpkg-query --show --showformat='${Status} ${Version}\\n' digipoort
digipoort --help | head -n 1
for daemon in policyd milter maps; do
    status=0
    "digipoort-$daemon" submission 2>/dev/null || status=$?
    echo "$daemon $status"
done
for daemon in authd sasl; do
    "digipoort-$daemon" 2>&1 | grep -o 'event=[a-z_]*'
done
status=0
/usr/lib/digipoort/checkpassword 2>/dev/null || status=$?
echo "checkpassword $status"
cd /
python3 -c 'import digipoort_milter.runtime as runtime; print(runtime.__file__)'
dpkg --no-triggers --purge digipoort >/dev/null
ours | comm -3 /tmp/before -
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package"))


def build(folder: Path, *version: str, umask: int = -1, **environment: str) -> Path:
    """Return a package that was built into a folder."""
    built = subprocess.run(
        [CHECKOUT / "debian" / "build-deb", folder, *version],
        env=os.environ | environment, umask=umask, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return Path(built.stdout.splitlines()[-1])


def files(package: Path) -> dict[str, str]:
    """Return the files in a package, each with its mode and owner."""
    listing = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=5) for line in listing.splitlines() if not line.startswith("d")]
    return {row[5].removeprefix("./"): f"{row[0]} {row[1]}" for row in rows}


def test_the_package_is_named_after_the_version(package: Path) -> None:
    assert package.name == f"digipoort_{VERSION}_all.deb"
    changelog = subprocess.run(
        ["dpkg-parsechangelog", "--show-field", "Version"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    assert changelog.stdout.strip() == VERSION, "debian/changelog needs an entry for pyproject.toml's version"


def test_it_holds_programs_and_nothing_that_acts_by_itself(package: Path) -> None:
    there = files(package)
    assert {name for name, mode in there.items() if mode == "-rwxr-xr-x root/root"} == PROGRAMS
    assert {mode for name, mode in there.items() if name not in PROGRAMS} == {"-rw-r--r-- root/root"}
    assert [name for name in there if not QUIET.fullmatch(name)] == []
    assert "usr/lib/digipoort/digipoort_auth.lua" in there
    for page in (CHECKOUT / "man").iterdir():
        assert f"usr/share/man/man{page.suffix[1:]}/{page.name}.gz" in there


def test_it_has_all_the_code(package: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "policyd", "milter", "dovecot_auth"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    modules = {name.partition("/")[2] for name in tracked if not name.endswith(".lua")}
    installed = {name.removeprefix("usr/lib/python3/dist-packages/") for name in files(package)}
    assert modules - installed == set()


def test_its_scripts_only_compile(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--control", package, tmp_path / "control"], check=True)
    scripts = {path.name for path in (tmp_path / "control").iterdir()} - {"control", "md5sums"}
    assert scripts == {"postinst", "prerm"}
    for name in scripts:
        text = (tmp_path / "control" / name).read_text(encoding="utf-8")
        assert not re.search(r"systemctl|deb-systemd|invoke-rc|adduser|useradd|ucf", text), name


def test_the_same_commit_gives_the_same_octets(package: Path, tmp_path: Path) -> None:
    again = build(tmp_path, TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="7", umask=0o077)
    assert again.read_bytes() == package.read_bytes()


def test_another_version(tmp_path: Path) -> None:
    package = build(tmp_path, "0.1.1")
    assert package.name == "digipoort_0.1.1_all.deb"
    assert "usr/lib/python3/dist-packages/digipoort-0.1.1.dist-info/METADATA" in files(package)
    for fault in ("0.1.1-rc1", "1;id", "v1"):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            build(tmp_path, fault)
        assert refused.value.returncode == os.EX_USAGE
        assert fault in refused.value.stderr


def test_lintian_has_nothing_to_say(package: Path) -> None:
    said = subprocess.run(
        ["lintian", "--allow-root", "--display-info", "--fail-on=error,warning", package],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("release", ["12", "13"])
def test_it_is_installed_used_and_removed(package: Path, release: str) -> None:
    """Debian 12 is this machine, with what the sandbox has installed."""
    root = Path("/") if release == "12" else debian13.tree()
    version = (root / "etc/debian_version").read_text(encoding="ascii")
    if not version.startswith(f"{release}."):
        pytest.skip(f"this is Debian {version.strip()}")
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "/bin/sh", "-euc", INSTALL, "sh", package.parent, root, USE],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    (package.parent / "tree").rmdir()
    assert done.stdout.splitlines() == [
        f"install ok installed {VERSION}",
        "Usage: digipoort [OPTIONS] COMMAND [ARGS]...",
        "policyd 78",
        "milter 78",
        "maps 78",
        "event=socket_unusable",
        "event=socket_unusable",
        "checkpassword 111",
        "/usr/lib/python3/dist-packages/digipoort_milter/runtime.py",
    ], done.stderr
