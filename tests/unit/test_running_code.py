"""What an upgrade of Debian's packages has replaced while it ran: seen, told, and started anew."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from digipoort.doctor import commands, runningcode, upgraded
from digipoort.doctor.findings import Level
from digipoort.doctor.runningcode import Outdated, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mock import MockerFixture

MAPS: Final = """\
55d0a4a00000-55d0a4a2c000 r--p 00000000 fd:01 131 /usr/sbin/dovecot (deleted)
55d0a4a2c000-55d0a4b00000 r-xp 0002c000 fd:01 131                        /usr/sbin/dovecot (deleted)
7f1200000000-7f1200100000 r-xp 00000000 fd:01 132                        /usr/lib/x86_64-linux-gnu/libssl.so.3
7f1200200000-7f1200300000 r-xp 00000000 fd:01 133                        /usr/lib/dovecot/lib20 quota.so (deleted)
7f1200400000-7f1200500000 rw-s 00000000 00:01 134                        /dev/zero (deleted)
7f1200600000-7f1200700000 r--s 00000000 fd:01 135                        /usr/share/zoneinfo/Europe/Amsterdam (deleted)
7f1200800000-7f1200900000 r-xp 00000000 00:01 136                        /memfd:code (deleted)
7f1200a00000-7f1200b00000 r-xp 00000000 00:00 0                          [vdso]
"""


def test_what_a_process_runs_and_is_no_more() -> None:
    assert runningcode.replaced(MAPS) == {"/usr/sbin/dovecot", "/usr/lib/dovecot/lib20 quota.so"}


def test_units_that_run() -> None:
    shown = """\
MainPID=12
Id=digipoort-dovecot.service
ControlGroup=/system.slice/digipoort-dovecot.service

MainPID=0
Id=digipoort-maps.service
ControlGroup=
"""
    group = "/system.slice/digipoort-dovecot.service"
    assert list(runningcode.read(shown)) == [Unit("digipoort-dovecot.service", 12, group)]


@pytest.mark.parametrize(
    ("main", "others", "verb"),
    [
        ({"/usr/sbin/dovecot"}, set(), "try-restart"),
        ({"/usr/sbin/dovecot"}, {"/usr/lib/dovecot/auth"}, "try-restart"),
        (set(), {"/usr/lib/dovecot/auth"}, "try-reload-or-restart"),
    ],
)
def test_what_is_done_about_it(main: set[str], others: set[str], verb: str) -> None:
    one = Outdated("digipoort-dovecot.service", frozenset(main), frozenset(others))
    assert runningcode.remedy(one) == (verb, "digipoort-dovecot.service")
    (told,) = runningcode.judge([one])
    assert told.level is Level.WARNING
    assert Path(min(main | others)).name in told.found
    assert told.remedy == f"systemctl {verb} digipoort-dovecot.service"


def test_nothing_is_old() -> None:
    (told,) = runningcode.judge([])
    assert told.level is Level.OK


def test_a_real_process_whose_program_was_replaced(mocker: MockerFixture, tmp_path: Path) -> None:
    """The pattern asks for /usr or /lib, where packages are: here it is told of any folder."""
    mocker.patch.object(runningcode, "_REPLACED", re.compile(r"^\S+ ..x.\s.*? (/.+) \(deleted\)$", re.MULTILINE))
    program = tmp_path / "sleeper"
    shutil.copy("/usr/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        shown = f"Id=x.service\nMainPID={process.pid}\nControlGroup=\n"
        mocker.patch.object(commands, "run", return_value=commands.Said(0, shown, ""))
        try:
            before = runningcode.look()
            program.unlink()
            after = runningcode.look()
        finally:
            process.kill()
    assert before == []
    assert after == [Outdated("x.service", frozenset({str(program)}), frozenset())]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (commands.Said(1, "", "Failed to connect to bus: No such file or directory\n"), "Failed to connect to bus"),
        (commands.Said(commands.TOOK_TOO_LONG, "", ""), "exit status 124"),
    ],
)
def test_a_systemd_that_does_not_tell_is_not_well(said: commands.Said, words: str, mocker: MockerFixture) -> None:
    mocker.patch.object(runningcode, "RUNS", Path("/"))
    mocker.patch.object(upgraded, "wait_for_dpkg")
    mocker.patch.object(commands, "run", return_value=said)
    (told,) = runningcode.examine(mocker.sentinel.host)
    assert told.level is Level.WARNING
    assert words in told.found
    with pytest.raises(SystemExit, match=words):
        upgraded.main()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_processes_that_end_while_one_looks(number: int, mocker: MockerFixture, tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "x.service"
    for name in ("", "gone", "stays"):
        (group / name).mkdir(parents=True, exist_ok=True)
        (group / name / "cgroup.procs").write_text("" if name != "stays" else "4711\n", encoding="ascii")
    read = Path.read_text

    def gone(path: Path, encoding: str, errors: str | None = None) -> str:
        if path == group / "gone" / "cgroup.procs":
            raise OSError(number, os.strerror(number), str(path))
        if path.parent == Path("/proc/4711"):
            return MAPS
        return read(path, encoding, errors)

    mocker.patch.object(runningcode, "_CGROUPS", tmp_path)
    mocker.patch.object(Path, "read_text", gone)
    shown = f"Id=x.service\nMainPID={os.getpid()}\nControlGroup=/system.slice/x.service\n"
    mocker.patch.object(commands, "run", return_value=commands.Said(0, shown, ""))
    (old,) = runningcode.look()
    assert old.others == {"/usr/sbin/dovecot", "/usr/lib/dovecot/lib20 quota.so"}


def test_a_group_that_goes_while_it_is_walked_through(mocker: MockerFixture, tmp_path: Path) -> None:
    group = tmp_path / "x.service"
    gone = group / "gone"
    gone.mkdir(parents=True)
    (group / "cgroup.procs").write_text("", encoding="ascii")
    scandir = os.scandir

    def ends(path: Path | str) -> Iterator[os.DirEntry[str]]:
        if Path(path) == gone:
            gone.rmdir()
        return scandir(path)

    mocker.patch.object(runningcode, "_CGROUPS", tmp_path)
    mocker.patch("os.scandir", ends)
    shown = f"Id=x.service\nMainPID={os.getpid()}\nControlGroup=/x.service\n"
    mocker.patch.object(commands, "run", return_value=commands.Said(0, shown, ""))
    runningcode.look()
    assert not gone.exists()


LOCKS: Final = """\
1: POSIX  ADVISORY  WRITE 812 fd:01:4711 0 EOF
1: -> POSIX  ADVISORY  WRITE 813 fd:01:815 0 EOF
2: FLOCK  ADVISORY  WRITE 700 00:1a:99 0 EOF
"""


@pytest.mark.parametrize(("inode", "busy"), [(4711, True), (99, True), (815, False), (1, False)])
def test_whether_dpkg_is_at_work(inode: int, *, busy: bool) -> None:
    assert upgraded.held(LOCKS, {inode}) is busy


def test_each_service_that_is_old_is_started_anew(mocker: MockerFixture) -> None:
    mocker.patch.object(upgraded, "wait_for_dpkg")
    old = [
        Outdated("digipoort-authd.service", frozenset({"/usr/bin/python3.11"}), frozenset()),
        Outdated("digipoort-postfix.service", frozenset(), frozenset({"/usr/lib/postfix/sbin/smtpd"})),
    ]
    mocker.patch.object(runningcode, "look", return_value=old)
    statuses: list[subprocess.CompletedProcess[str]] = [
        subprocess.CompletedProcess([], 1),
        subprocess.CompletedProcess([], 0),
    ]
    run = mocker.patch("digipoort.doctor.upgraded.subprocess.run", side_effect=statuses)
    with pytest.raises(SystemExit) as ended:
        upgraded.main()
    # One that fails keeps no other from its turn.
    assert ended.value.code == 1
    assert [call.args[0][1:] for call in run.call_args_list] == [
        ["try-restart", "digipoort-authd.service"],
        ["try-reload-or-restart", "digipoort-postfix.service"],
    ]


def test_it_waits_until_the_lock_was_free_for_a_while(mocker: MockerFixture, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    locked = f"1: POSIX  ADVISORY  WRITE 1 fd:01:{lock.stat().st_ino} 0 EOF\n"
    kernel = mocker.Mock()
    kernel.read_text.side_effect = ["", locked, "", locked, *[""] * 100]
    mocker.patch.object(upgraded, "_DPKG_LOCKS", (lock, tmp_path / "none"))
    mocker.patch.object(upgraded, "_KERNEL_LOCKS", kernel)
    mocker.patch("digipoort.doctor.upgraded.time.monotonic", side_effect=map(float, range(1000)))
    mocker.patch("digipoort.doctor.upgraded.time.sleep")
    upgraded.wait_for_dpkg()
    # Four looks until it was free for good, then those of QUIET_SECONDS, a second each here.
    assert kernel.read_text.call_count == 4 + upgraded.QUIET_SECONDS - 1
