"""The guests themselves: what the other tests rely on, and that nothing of a lab outlives whoever made it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.provisioning import lab as labs
from tests.provisioning import playbook
from tests.provisioning.guest import GuestError
from tests.provisioning.world import CHECKOUT, wait_for

if TYPE_CHECKING:
    from tests.provisioning.lab import Lab

pytestmark = pytest.mark.timeout(300)
# A shell has its background jobs ignore SIGINT, and they have their children.
_OWNER: Final = """
import signal, sys, time
from tests.provisioning.lab import lab
signal.signal(signal.SIGINT, signal.default_int_handler)
with lab(sys.argv[1]) as made:
    made.up("one", release=sys.argv[2])
    print("up", flush=True)
    time.sleep(300)
"""


def test_guests_reach_each_other_by_name_and_apt_but_nobody_else(lab: Lab, release: str) -> None:
    one, two = lab.up("one", "two", release=release)

    assert f"VERSION_CODENAME={release}" in one.run("cat", "/etc/os-release")
    assert two.address in one.run("getent", "hosts", two.hostname)
    assert one.run("getent", "hosts", "www.debian.org", check=False) == ""
    one.run("apt-get", "update", "-qq")
    # A route to the outside would lead through the bridge, which forwards nothing.
    answer = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
    with pytest.raises(GuestError, match=r"TimeoutError|OSError"):
        one.run("python3", "-c", answer)


def test_a_disk_is_kept_through_reboots_and_crashes(lab: Lab, release: str) -> None:
    (guest,) = lab.up("kept", release=release)
    guest.write("/root/kept", "1\n")
    guest.reboot(dies_with_us=True)
    assert guest.run("cat", "/root/kept") == "1\n"
    init = Path(f"/proc/{guest.root.with_suffix('.leader').read_text(encoding='ascii').strip()}")
    assert init.exists()
    guest.crash()
    assert not init.exists()
    lab.up("kept", release=release)
    assert guest.run("cat", "/root/kept") == "1\n"
    lab.remove(guest)
    assert not guest.root.exists()


def test_a_guest_with_a_failed_unit_is_not_taken_for_well(lab: Lab, release: str) -> None:
    (guest,) = lab.up("ill", release=release)
    unit = "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
    guest.write("/etc/systemd/system/failing.service", unit)
    guest.run("systemctl", "enable", "failing.service")
    with pytest.raises(GuestError, match=r"(?s)degraded.*failing\.service"):
        guest.reboot(dies_with_us=True)
    lab.remove(guest)


@pytest.mark.parametrize("as_admins_do", [True, False])
def test_a_run_of_ansible_is_counted(lab: Lab, release: str, tmp_path: Path, *, as_admins_do: bool) -> None:
    lab.up("one", release=release)
    book = tmp_path / "book.yml"
    book.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        f"    - ansible.builtin.copy: {{content: x, dest: /root/{as_admins_do}, mode: '0600'}}\n",
        encoding="ascii",
    )
    inventory = playbook.inventory(lab)

    first, second = (playbook.play(book, inventory, "--limit", "one", as_admins_do=as_admins_do) for _ in range(2))

    assert first.status == second.status == 0, first.output
    assert (first.changed, second.changed) == (1, 0)
    assert first.recap["one"]["ok"] == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.usefixtures("_possible")
def test_nothing_outlives_the_owner_of_a_lab(release: str, how: signal.Signals) -> None:
    run = f"owner-{os.getpid()}"
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, run, release],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        assert _processes(run)
        owner.send_signal(how)
        owner.wait(60)

    wait_for(lambda: not _processes(run), "end of all processes", 60)
    # Whoever is killed leaves files, which the next lab of anybody removes.
    labs.sweep()
    assert not (labs.LABS / run).exists()
    assert not list(Path("/run/netns").glob(f"dgp-{run}*"))


def test_two_labs_at_once_do_not_meet(lab: Lab, release: str) -> None:
    (mine,) = lab.up("one", release=release)
    with labs.lab(f"other-{os.getpid()}") as other:
        (theirs,) = other.up("one", release=release)
        theirs.write("/root/theirs", "1\n")
        assert theirs.address == mine.address
        assert mine.run("ls", "/root/theirs", check=False) == ""
    assert mine.state() == "running"


def _processes(run: str) -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"dgp-{run}" in words or f"/{run}/" in words:
            lines.append(words)
    return lines
