"""What `digipoort doctor` makes of a host's sockets, files, versions, clock, queue, disks, mailboxes and units."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import socketserver
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from digipoort.doctor import (
    access,
    commands,
    examination,
    loginprobe,
    mailboxes,
    mailqueue,
    parts,
    probes,
    settingsfiles,
    sockets,
    space,
    tables,
    timesync,
    units,
    versions,
)
from digipoort.doctor.findings import Finding, Level, fault, ok, several
from digipoort.doctor.mailqueue import Queue
from digipoort.doctor.settingsfiles import Kept
from digipoort.doctor.sockets import Client, Seen, Wanted
from digipoort.doctor.space import GIB, Room
from digipoort.doctor.units import Unit
from digipoort.doctor.versions import Versions
from tests.unit.directory_samples import digipoort, maps_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_mock import MockerFixture

    from digipoort.doctor.host import Host

SOCKET: Final = Path("/run/digipoort/policyd.sock")
POSTFIX: Final = Client("Postfix's user", 104, frozenset({112}))
WANTED: Final = Wanted("policy daemon", SOCKET, POSTFIX, lambda _path: "", "start it")


def _levels(findings: Sequence[Finding]) -> list[Level]:
    return [one.level for one in findings]


def _only(findings: Sequence[Finding]) -> Finding:
    (one,) = findings
    return one


@pytest.mark.parametrize(
    ("seen", "level", "found"),
    [
        (Seen(0o660), Level.OK, "policyd.sock answers"),
        (Seen(None), Level.FAULT, "is not there"),
        (Seen(0o660, is_socket=False), Level.FAULT, "is no socket"),
        (Seen(0o666), Level.FAULT, "mode 0666, not 0660: every user of this host may connect"),
        (Seen(0o600), Level.FAULT, "mode 0600, not 0660"),
        (
            Seen(0o660, obstacle=SOCKET.parent),
            Level.FAULT,
            "Postfix's user may not connect: /run/digipoort keeps it out",
        ),
        (Seen(0o660, answer="does not answer"), Level.FAULT, "policyd.sock does not answer"),
    ],
)
def test_what_a_socket_means(seen: Seen, level: Level, found: str) -> None:
    one = sockets.judge(WANTED, seen)
    assert (one.level, one.check) == (level, "policy daemon")
    assert one.found.endswith(found)
    assert bool(one.remedy) == (level is not Level.OK)


def test_who_may_open_a_path_is_told_from_the_modes_on_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o750)
    path = folder / "a.sock"
    path.touch()
    path.chmod(0o660)
    own = path.stat()
    wanted = access.READ | access.WRITE
    for above in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        above.chmod(above.stat().st_mode | 0o011)
    stranger = own.st_uid + 12345
    assert access.obstacle(path, 0, (), wanted) is None
    assert access.obstacle(path, stranger, {own.st_gid}, wanted) is None
    assert access.obstacle(path, stranger, {own.st_gid + 12345}, wanted) == folder
    folder.chmod(0o755)
    assert access.obstacle(path, stranger, {own.st_gid + 12345}, wanted) == path
    # The first class that fits counts: an owner without the right has none from its group.
    path.chmod(0o060)
    assert not access.allows(path.stat(), own.st_uid, {own.st_gid}, wanted)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Yield a function that starts a server which says this to whoever asks it something."""
    servers: list[socketserver.ThreadingUnixStreamServer] = []

    def listen(answer: bytes) -> Path:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if self.request.recv(65536):
                    self.request.sendall(answer)

        path = tmp_path / f"{len(servers)}.sock"
        server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        path.chmod(0o660)
        return path

    yield listen
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("probe", "answer", "said"),
    [
        (probes.policy, b"action=550 5.7.1 DGP-2006 No.\n\n", ""),
        (probes.policy, b"action=451 4.3.0 DGP-9001 Later.\n\n", "answers 451 4.3.0 DGP-9001 Later."),
        (probes.policy, b"action=dunno\n\n", "answers dunno"),
        (probes.policy, b"", "answers nothing"),
        (probes.resubmissions, b"standing=first\n\n", ""),
        (probes.resubmissions, b"reason=DGP-9001\n\n", "answers DGP-9001"),
        (probes.authd, b"fail\n", ""),
        (probes.authd, b"temp\n", "answers temporary: it has no directory"),
        (probes.authd, b"", "answers nothing: is this user one of AUTHD_PEERS?"),
        (probes.authd, b"220 Hello\r\n", "does not speak authd's protocol"),
        (probes.milter, b"\0\0\0\x0dO" + b"\0\0\0\6" * 3, ""),
        (probes.milter, b"220 what a very long greeting\r\n", "does not speak the milter protocol"),
        (probes.sasl, b"VERSION\t1\t2\nMECH\tPLAIN\nSPID\t1\nDONE\n", ""),
        (probes.lmtp, b"220 here\r\n250-gateway\r\n250 8BITMIME\r\n221 2.0.0 Bye\r\n", ""),
        (probes.lmtp, b"* OK IMAP\r\n", "does not speak LMTP"),
        (probes.sasl, b"", "does not speak Dovecot's authentication protocol, or not with this user"),
    ],
)
def test_what_a_daemon_answers(
    listener: Callable[[bytes], Path], probe: Callable[[Path], str], answer: bytes, said: str
) -> None:
    path = listener(answer)
    assert probe(path) == said
    seen = sockets.look(replace(WANTED, path=path, client=None, probe=probe))
    assert seen == Seen(0o660, answer=said)


def test_sockets_that_are_none_or_that_nobody_listens_on(tmp_path: Path) -> None:
    one = replace(WANTED, path=tmp_path / "none.sock", client=None, probe=probes.milter)
    assert sockets.look(one) == Seen(None)
    file = tmp_path / "file"
    file.touch(mode=0o644)
    assert sockets.look(replace(one, path=file)).is_socket is False
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left))
        left.chmod(0o660)
    assert sockets.look(replace(one, path=left)).answer == "cannot be used: Connection refused"


def test_a_socket_that_goes_while_it_is_looked_at_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.sock"
    obstacle = access.obstacle

    def gone(path: Path, uid: int, gids: frozenset[int], wanted: int) -> Path | None:
        path.unlink()
        return obstacle(path, uid, gids, wanted)

    for above in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        above.chmod(above.stat().st_mode | 0o011)
    monkeypatch.setattr(access, "obstacle", gone)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert sockets.look(replace(WANTED, path=path)) == Seen(None)
    assert not path.exists()


def test_a_daemon_that_hangs_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(loginprobe, "PROBE_SECONDS", 0.2)
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)
        path.chmod(0o660)
        for probe in (probes.policy, probes.resubmissions, probes.authd, probes.milter, probes.sasl, probes.lmtp):
            seen = sockets.look(replace(WANTED, path=path, client=None, probe=probe))
            assert seen == Seen(0o660, answer="does not answer"), probe


@pytest.mark.parametrize(
    ("folder", "mode", "uid", "level", "found"),
    [
        (0o755, 0o640, 0, Level.OK, "1 in /etc/digipoort, root's and closed to others"),
        (0o755, 0o600, 0, Level.OK, "1 in /etc/digipoort, root's and closed to others"),
        (0o755, 0o644, 0, Level.FAULT, "mode 0644: every user can use it"),
        (0o755, 0o660, 0, Level.FAULT, "mode 0660"),
        (0o755, 0o600, 33, Level.FAULT, "is owned by 33, not root"),
        (0o775, 0o600, 0, Level.FAULT, "others than root can change settings"),
    ],
)
def test_who_can_read_the_settings(folder: int, mode: int, uid: int, level: Level, found: str) -> None:
    where = Path("/etc/digipoort")
    one = _only(settingsfiles.judge(Kept(where, 0, folder), [Kept(where / "authd.env", uid, mode)]))
    assert one.level is level
    assert found in one.found


def test_a_settings_file_of_any_name_is_looked_at(tmp_path: Path, mocker: MockerFixture) -> None:
    file = tmp_path / "settings"
    file.touch(mode=0o660)
    file.chmod(0o660)
    assert f"{file} has mode 0660" in [one.found for one in settingsfiles.examine(mocker.Mock(settings_file=file))]


BOOKWORM: Final = Versions("0.1.0", ("debian", "12"), (3, 11), "3.7.11", "2.3.19.1")


@pytest.mark.parametrize(
    ("facts", "level", "found"),
    [
        (BOOKWORM, Level.OK, "Debian 12, Postfix 3.7.11, Dovecot 2.3.19.1"),
        (Versions("1", ("debian", "13"), (3, 13), "3.10.5", "2.4.1-4"), Level.OK, "Debian 13, Postfix 3.10.5"),
        (replace(BOOKWORM, postfix="3.5.18"), Level.FAULT, "Postfix 3.5.18 is too old"),
        (replace(BOOKWORM, dovecot="2.2.36"), Level.FAULT, "another configuration than 2.3 and 2.4"),
        (replace(BOOKWORM, dovecot=""), Level.FAULT, "Dovecot is not installed"),
        (replace(BOOKWORM, python=(3, 9)), Level.FAULT, "Python 3.9 is too old"),
        (replace(BOOKWORM, release=("ubuntu", "24.04")), Level.WARNING, "this is ubuntu 24.04"),
    ],
)
def test_which_versions_will_do(facts: Versions, level: Level, found: str) -> None:
    one = _only(versions.judge(facts))
    assert one.level is level
    assert found in one.found


WELL: Final = tables.Asked("transport", ("a\tb",), ("a\tb",))


@pytest.mark.parametrize(
    ("asked", "changing", "level", "found"),
    [
        (WELL, False, Level.OK, "transport: Postfix's user gets answers"),
        (WELL, True, Level.OK, "transport: Postfix's user gets answers"),
        (replace(WELL, answered=()), False, Level.FAULT, "transport answers otherwise than its text says"),
        (replace(WELL, answered=()), True, Level.WARNING, "transport is as it was, or as it will be"),
        (replace(WELL, error="fatal: no"), False, Level.FAULT, "gets no answer from transport: fatal: no"),
        (tables.Asked("mailbox", (), (), "is not published"), False, Level.FAULT, "mailbox is not published"),
    ],
)
def test_what_a_table_means(asked: tables.Asked, changing: bool, level: Level, found: str) -> None:  # noqa: FBT001
    one = _only(tables.judge([asked], changing=changing))
    assert one.level is level
    assert found in one.found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as Postfix's user")
def test_tables_that_are_not_there_are_not_well(tmp_path: Path) -> None:
    settings = {**maps_settings(tmp_path), "DOVECOT_CONFIG": str(tmp_path / "none.conf")}
    (tmp_path / "postfix" / "master.cf").touch()
    ended = digipoort("host=/nonexistent", "doctor", "--json", "tables", **settings)
    found = [one["found"] for one in json.loads(ended.stdout) if one["check"] == "tables"]
    assert found == [f"{name} is not published" for name in ("tls_policy", "transport", "mailbox", "virtual_alias")]


def test_a_clock_that_nobody_keeps() -> None:
    assert _levels(timesync.judge(timesync.Clock(120_000))) == [Level.OK]
    assert _levels(timesync.judge(timesync.Clock(timesync.UNKNOWN_MICROSECONDS))) == [Level.WARNING]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_file_system_of_its_own_is_no_mailbox(tmp_path: Path) -> None:
    shutil.chown(tmp_path, 61306)
    (tmp_path / "lost+found").mkdir(mode=0o700)
    assert mailboxes.look(tmp_path).foreign == ()
    (tmp_path / "other").mkdir(mode=0o700)
    assert mailboxes.look(tmp_path).foreign == ("other",)


def test_a_mailbox_that_is_removed_while_one_looks(tmp_path: Path, mocker: MockerFixture) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    gone = mocker.Mock(**{"stat.side_effect": FileNotFoundError})
    gone.name = "gone"
    with os.scandir(tmp_path) as entries:
        found = [gone, *entries]
    mocker.patch("digipoort.doctor.mailboxes.os.scandir").return_value.__enter__.return_value = found
    assert mailboxes.look(tmp_path).number == 1


def _line(queue: str, age: float, *, reason: str | None = "connect to 192.0.2.1: timed out") -> str:
    recipient = {"address": "a@b.example"} | ({"delay_reason": reason} if reason else {})
    return json.dumps(
        {"queue_name": queue, "queue_id": "x", "arrival_time": 1_000_000 - age, "recipients": [recipient]}
    )


def test_the_queue_is_counted() -> None:
    lines = [_line("deferred", 60), _line("deferred", 7200, reason=None), _line("active", 1, reason=None), ""]
    queue = mailqueue.read(lines, 1_000_000, 3)
    assert queue == Queue({"deferred": 2, "active": 1}, 7200, 1, 3)


@pytest.mark.parametrize(
    ("queue", "levels", "found"),
    [
        (Queue({}, 0, 0, 0), [Level.OK], "none deferred, 0 under way"),
        (Queue({"deferred": 2}, 600, 0, 0), [Level.OK], "2 deferred, the oldest for 10 minutes"),
        (Queue({"deferred": 2}, 7300, 0, 0), [Level.WARNING], "2 deferred, the oldest for 2 hours"),
        (Queue({"deferred": 2}, 90_000, 0, 0), [Level.FAULT], "2 deferred, the oldest for 25 hours"),
        (Queue({"deferred": 10_000}, 60, 0, 0), [Level.WARNING], "10000 deferred"),
        (Queue({"active": 6000, "incoming": 6000}, 0, 0, 0), [Level.WARNING], "12000 messages are under way"),
        (Queue({"hold": 1}, 0, 0, 0), [Level.WARNING], "1 messages are on hold"),
        (Queue({}, 0, 0, 1), [Level.FAULT], "1 files are damaged"),
        (Queue({"deferred": 1}, 60, 1, 0), [Level.WARNING, Level.OK], "1 deferred messages have no reason"),
    ],
)
def test_what_a_queue_means(queue: Queue, levels: list[Level], found: str) -> None:
    findings = mailqueue.judge(queue)
    assert _levels(findings) == levels
    assert findings[0].found.startswith(found)


@pytest.mark.parametrize(
    ("free", "size", "inodes", "level"),
    [
        (50, 100, 0.5, Level.OK),
        (10, 100, 0.5, Level.WARNING),
        (30, 1000, 0.5, Level.OK),
        (4, 100, 0.5, Level.FAULT),
        (0.1, 0.2, 0.5, Level.FAULT),
        (50, 100, 0.1, Level.WARNING),
        (50, 100, 0.01, Level.FAULT),
    ],
)
def test_how_much_room_is_enough(free: float, size: float, inodes: float, level: Level) -> None:
    room = Room("queue", int(free * GIB), int(size * GIB), int(inodes * 1000), 1000)
    assert space.judge(room).level is level


def test_a_file_system_without_a_number_of_inodes_has_enough() -> None:
    assert space.judge(Room("queue", 50 * GIB, 100 * GIB, 0, 0)).level is Level.OK


def test_mailboxes_that_others_can_open(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir(mode=0o750)
    for name in ("a", "b"):
        (folder / name).mkdir(mode=0o700)
    owner = os.geteuid()
    assert _levels(mailboxes.judge(mailboxes.look(folder), owner)) == [Level.OK]
    assert "not by Dovecot's user" in _only(mailboxes.judge(mailboxes.look(folder), owner + 1)).found
    (folder / "b").chmod(0o750)
    assert _only(mailboxes.judge(mailboxes.look(folder), None)).found == "1 are open to others: b"
    folder.chmod(0o755)
    assert "others can look into it" in mailboxes.judge(mailboxes.look(folder), None)[0].found
    foreign = replace(mailboxes.look(folder), mode=0o750, foreign=tuple("abcdefg"), open=())
    assert _only(mailboxes.judge(foreign, None)).found == "7 are not the owner's: a, b, c, d, e and 2 more"
    assert mailboxes.judge_postmaster(folder, 0).level is Level.OK
    assert mailboxes.judge_postmaster(folder, 2).level is Level.WARNING


ALL: Final = [
    *(Unit(name, loaded=True, active="active", enabled="disabled") for name in units.ALWAYS),
    Unit("digipoort.target", loaded=True, active="active", enabled="enabled", starts=frozenset(units.ALWAYS)),
]


@pytest.mark.parametrize(
    ("change", "level", "found"),
    [
        (ALL[0], Level.OK, "all 16 run, and start at boot"),
        (replace(ALL[0], active="failed"), Level.FAULT, "digipoort-policyd.service is failed"),
        (replace(ALL[0], loaded=False, active="inactive"), Level.FAULT, "digipoort-policyd.service is not installed"),
        (replace(ALL[0], restarts=5), Level.WARNING, "digipoort-policyd.service was restarted 5 times"),
        # Of a program that ends each time, systemd shows both in turn.
        (
            replace(ALL[0], active="activating", detail="auto-restart", restarts=1),
            Level.FAULT,
            "digipoort-policyd.service does not stay up; restarts: 1",
        ),
        (
            replace(ALL[0], active="activating", detail="start", restarts=5),
            Level.FAULT,
            "digipoort-policyd.service does not stay up; restarts: 5",
        ),
        (replace(ALL[0], active="activating", detail="start"), Level.OK, "all 16 run"),
    ],
)
def test_what_units_mean(change: Unit, level: Level, found: str) -> None:
    one = _only(units.judge([change, *ALL[1:]]))
    assert one.level is level
    assert one.found.startswith(found)


@pytest.mark.parametrize(
    ("active", "level", "found"),
    [("inactive", Level.OK, "all 17 run"), ("activating", Level.OK, "all 17 run"), ("failed", Level.WARNING, "failed")],
)
def test_a_purge_counts_by_how_it_ended(active: str, level: Level, found: str) -> None:
    one = _only(units.judge([*ALL, Unit(units.PURGED, loaded=True, active=active, enabled="static")]))
    assert one.level is level
    assert found in one.found


@pytest.mark.parametrize("name", [*units.SOCKETS, *units.WATCHES])
@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_socket_or_a_watch_that_was_stopped(name: str, state: str) -> None:
    one = _only(units.judge([replace(unit, active=state) if unit.name == name else unit for unit in ALL]))
    assert (one.level, one.found) == (Level.FAULT, f"{name} is {state}")
    assert one.remedy.endswith(f"systemctl start {name}")


def test_what_systemd_is_asked_for_has_every_unit_of_the_roles(mocker: MockerFixture, tmp_path: Path) -> None:
    """But those that run for a moment, and the purge, which is asked for where mail is deleted."""
    mocker.patch.object(units, "RUNS", tmp_path)
    run = mocker.patch.object(commands, "run", return_value=commands.Said(1, "", "no bus"))
    units.examine(mocker.Mock(**{"settings.mail_retention_days": 0}))
    asked = {re.sub("@[a-z]+", "@", name) for name in run.call_args.args[0] if name.startswith("digipoort")}
    roles = Path(__file__).resolve().parents[2] / "ansible" / "roles"
    kinds = "service|socket|path|timer|target"
    files = {file.name.removesuffix(".j2") for file in roles.glob("*/templates/**/digipoort*.j2")}
    written = {name for name in files if re.search(rf"\.({kinds})$", name)}
    passing = {"digipoort-certificate.service", "digipoort-upgrade.service", units.PURGE, units.PURGED}
    assert asked == written - passing


def test_units_that_nothing_starts_at_boot() -> None:
    found = units.judge([*ALL[:-1], replace(ALL[-1], starts=frozenset(units.ALWAYS[1:]))])
    assert _only(found).found == "digipoort-policyd.service will not start at boot"
    found = units.judge([*ALL[:-1], replace(ALL[-1], enabled="disabled")])
    assert {one.level for one in found} == {Level.FAULT}
    assert len(found) == len(ALL)
    none = [replace(unit, loaded=False) for unit in ALL]
    assert _only(units.judge(none)).found == "systemd has none of the gateway's units"


def test_what_systemctl_shows_is_read() -> None:
    block = "Id={}\nLoadState={}\nActiveState=active\nSubState=running\nUnitFileState=\nNRestarts=2\n"
    block += "Wants=x\nRequires=y z\n"
    shown = "\n".join(
        block.format(name, state) for name, state in (("a.service", "loaded"), ("b.service", "not-found"))
    )
    assert units.read(shown) == [
        Unit(
            "a.service", loaded=True, active="active", enabled="", restarts=2, starts=frozenset("xyz"), detail="running"
        ),
        Unit(
            "b.service",
            loaded=False,
            active="active",
            enabled="",
            restarts=2,
            starts=frozenset("xyz"),
            detail="running",
        ),
    ]


def test_what_a_program_says_and_does_not_say() -> None:
    assert commands.run(["/bin/cat"], stdin="x\n").output == "x\n"
    assert commands.run(["/bin/false"]).first_error == "exit status 1"
    away = commands.run(["/usr/bin/not-there"])
    assert (away.status, away.first_error) == (127, "/usr/bin/not-there: No such file or directory")


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "COMMAND_SECONDS", 0.1)
    began = time.monotonic()
    assert commands.run(["/bin/sleep", "60"]).status == 124
    assert time.monotonic() - began < 10


def test_a_queue_that_is_too_long_to_be_listed_is_not_taken_for_a_postfix_that_is_down(
    tmp_path: Path, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "postqueue"
    monkeypatch.setattr(mailqueue, "POSTQUEUE", str(program))
    monkeypatch.setattr(mailqueue, "LISTING_SECONDS", 0.5)
    host = mocker.Mock(postfix=mocker.Mock(main={"queue_directory": str(tmp_path)}))
    for script, remedy in (("exec sleep 60", "a very large queue"), ("exit 69", "is the gateway's Postfix running?")):
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        program.chmod(0o755)
        one = _only(mailqueue.examine(host))
        assert one.level is Level.FAULT
        assert one.remedy.startswith(remedy)


def test_every_part_has_its_turn(mocker: MockerFixture) -> None:
    released = threading.Event()

    def fails(_host: Host) -> list[Finding]:
        raise ValueError("password=secret")

    def denied(_host: Host) -> list[Finding]:
        raise PermissionError(13, "Permission denied", "/etc/secret")

    def hangs(_host: Host) -> list[Finding]:
        released.wait(60)
        return []

    made: dict[str, Callable[[Host], list[Finding]]] = {
        "fails": fails,
        "denied": denied,
        "hangs": hangs,
        "well": lambda _host: [ok("well", "is")],
    }
    mocker.patch.object(parts.Part, "examine", lambda self, host: made[self.name](host))
    chosen = [parts.Part(name, name, 0.2 if name == "hangs" else 30.0) for name in made]
    try:
        found = examination.examine(mocker.sentinel.host, chosen)
    finally:
        released.set()
    assert [one.check for one in found] == list(made)
    assert _levels(found) == [Level.FAULT, Level.WARNING, Level.FAULT, Level.OK]
    assert "ValueError" in found[0].found
    assert "secret" not in found[0].found
    assert found[1] == Finding("denied", Level.WARNING, "/etc/secret may not be looked at", "run it as root")
    assert found[2].found == "no result within 0.2 seconds"


@pytest.mark.parametrize("part", ["tables", "wiring", "certificates", "doors", "queue"])
def test_a_part_that_has_nothing_to_look_at_is_not_well(tmp_path: Path, part: str) -> None:
    away = {"POSTFIX_CONFIG_DIRECTORY": str(tmp_path / "none"), "DOVECOT_CONFIG": str(tmp_path / "none.conf")}
    ended = digipoort("host=/nonexistent", "doctor", "--json", part, **away)
    told = {one["check"]: one["level"] for one in json.loads(ended.stdout)}
    assert (ended.exit_code, told) == (1, {"postfix": "fault", "dovecot": "fault"})


def test_what_keeps_several_parts_from_looking_is_told_once(tmp_path: Path) -> None:
    away = {"POSTFIX_CONFIG_DIRECTORY": str(tmp_path / "none"), "DOVECOT_CONFIG": str(tmp_path / "none.conf")}
    ended = digipoort("host=/nonexistent", "doctor", "--json", "versions", "wiring", "queue", **away)
    assert [one["check"] for one in json.loads(ended.stdout)].count("postfix") == 1


def test_words_that_a_terminal_has_no_characters_for_are_said_all_the_same(tmp_path: Path) -> None:
    away = {"DOVECOT_CONFIG": f"{tmp_path}/\N{EURO SIGN}", "LOGICAL_DOMAINS": "gov.test"}
    ended = subprocess.run(
        [sys.executable, "-m", "digipoort.cli", "doctor", "doors"],
        env={**os.environ, **away, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert f"{tmp_path}/\\u20ac is not there" in ended.stdout.decode("ascii")


def test_settings_that_leave_a_part_without_sockets_are_told(tmp_path: Path) -> None:
    away = {"DOVECOT_CONFIG": str(tmp_path / "none.conf"), "REQUEST_DEADLINE": "soon"}
    ended = digipoort("host=/nonexistent", "doctor", "--json", "wiring", **away)
    found = [one["found"] for one in json.loads(ended.stdout) if one["check"] == "settings"]
    assert (ended.exit_code, found) == (1, ["the environment: REQUEST_DEADLINE is not a number (it is 'soon')."])


def test_every_part_is_there_and_imported_by_none_of_the_other_commands() -> None:
    code = "import sys, digipoort.cli; print([m for m in sys.modules if m.startswith('digipoort.doctor.')])"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "['digipoort.doctor.findings', 'digipoort.doctor.parts']"
    for part in parts.PARTS:
        module = __import__(f"digipoort.doctor.{part.module}", fromlist=["examine"])
        assert callable(module.examine)


def test_the_page_for_admins_has_every_part() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operate.md").read_text(encoding="utf-8")
    section = page.partition("\n## Doctor\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE) == [part.name for part in parts.PARTS]


def test_many_names_are_told_in_few_words() -> None:
    assert several(["a", "b"]) == "a, b"
    assert several(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert fault("x", "y", "z").level is Level.FAULT
    assert stat.S_IMODE(0o100660) == sockets.MODE
