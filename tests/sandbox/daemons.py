"""Starts and stops each daemon of a sandbox, and waits until it answers.

Every daemon runs in a session of its own and is known by its pid file only, so that `up`, `down` and `start` can be
different processes, as they are on a host.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests import postgres
from tests.sandbox import layout as names
from tests.sandbox import stacks
from tests.sandbox.render import venv_python

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.sandbox.layout import Layout

SYSTEM_PYTHON: Final = "/usr/bin/python3"
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 20.0
_SYSLOGD: Final = Path(__file__).with_name("syslogd.py")


@dataclass(frozen=True, slots=True)
class Daemon:
    """One daemon: how it starts, how one sees that it answers."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int = 0
    group: int = 0
    own_pid_file: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM


def all_daemons(layout: Layout) -> list[Daemon]:
    """Return the sandbox's daemons, in the order in which they start."""
    ports = layout.ports
    stack = stacks.current(layout)
    python = {"PYTHONPATH": str(layout.library), "PYTHONDONTWRITEBYTECODE": "1"}
    postfix, dovecot = names.group_id("postfix"), names.group_id("dovecot")

    def ours(name: str, program: str, arguments: tuple[str, ...], user: int, group: int, address: Path) -> Daemon:
        environment = python | {"DIGIPOORT_SETTINGS": str(layout.settings / f"{program}.env")}
        command = (SYSTEM_PYTHON, "-m", *arguments)
        return Daemon(name, command, lambda: _listens(address), environment, user, group)

    return [
        Daemon(
            "syslog",
            (SYSTEM_PYTHON, *map(str, (_SYSLOGD, layout.syslog_socket, layout.mail_log)), names.HOSTNAME),
            layout.syslog_socket.exists,
        ),
        Daemon(
            "postgresql",
            (),
            lambda: True,
            own_pid_file=layout.postgresql / "data" / "postmaster.pid",
            # "Fast" shutdown; SIGTERM would wait for every client.
            stop_signal=signal.SIGINT,
        ),
        ours(
            "policyd", "policyd", ("digipoort_policyd",), names.POLICYD_UID, postfix,
            layout.policyd_run / "policyd.sock",
        ),
        ours("authd", "authd", ("digipoort_auth",), names.AUTHD_UID, dovecot, layout.authd_run / "authd.sock"),
        ours("sasl", "sasl", ("digipoort_sasl",), names.SASL_UID, postfix, layout.sasl_run / "sasl.sock"),
        *(
            ours(
                f"milter-{role}", "milter", ("digipoort_milter", role), names.MILTER_UID, postfix,
                layout.milter_run / f"milter-{role}.sock",
            )
            for role in ("submission", "acceptance", "receipt")
        ),  # fmt: skip
        Daemon(
            "agency",
            (
                venv_python(), "-m", "tests.sandbox.agency", str(ports.agency), str(layout.agency), names.AGENCY_HOST,
                str(layout.pki / "agency.pem"), str(layout.pki / "agency.key"),
            ),
            lambda: _port_answers(ports.agency),
            {"PYTHONPATH": str(names.CHECKOUT)},
        ),
        Daemon(
            "dovecot",
            stack.command("/usr/sbin/dovecot", "-F", "-c", str(layout.dovecot / "dovecot.conf")),
            lambda: _port_answers(ports.pop3) and _listens(layout.run / "lmtp.sock"),
            own_pid_file=layout.dovecot / "run" / "master.pid",
        ),
        Daemon(
            "postfix",
            stack.command("/usr/sbin/postfix", "-c", str(layout.postfix), "start-fg"),
            lambda: _port_answers(ports.submission) and _port_answers(ports.acceptance),
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            own_pid_file=layout.spool / "pid" / "master.pid",
        ),
    ]  # fmt: skip


def start(layout: Layout, daemon: Daemon) -> None:
    """Start one daemon, without waiting for it."""
    if running(layout, daemon.name):
        return
    if daemon.name == "postgresql":
        _start_cluster(layout)
        _point_to(layout, daemon)
        return
    with (layout.logs / f"{daemon.name}.stderr").open("ab") as errors:
        process = subprocess.Popen(
            daemon.command,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **daemon.environment},
            user=daemon.user,
            group=daemon.group,
            extra_groups=[],
            start_new_session=True,
        )
    (layout.pids / f"{daemon.name}.pid").write_text(f"{process.pid}\n", encoding="ascii")


def _start_cluster(layout: Layout) -> None:
    """Start PostgreSQL; for a moment after a kill its old process and shared memory are still in the way."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            postgres.start_cluster(layout.postgresql)
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def wait_ready(layout: Layout, daemon: Daemon) -> None:
    """Wait until the daemon answers. Raises RuntimeError with its own words when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not (daemon.ready() and _has_written_its_pid(daemon)):
        if time.monotonic() > deadline or not running(layout, daemon.name):
            errors = (layout.logs / f"{daemon.name}.stderr").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{daemon.name} did not start: {errors}")
        time.sleep(0.02)
    _point_to(layout, daemon)


def _has_written_its_pid(daemon: Daemon) -> bool:
    """Tell whether the daemon's own pid file, if there is one by now, is complete: ports are open before that."""
    own = daemon.own_pid_file
    return own is None or not own.exists() or own.read_text(encoding="ascii").strip() != ""


def _point_to(layout: Layout, daemon: Daemon) -> None:
    """Put the pid that the daemon itself wrote into its pid file: Postfix's master is not what we started."""
    if daemon.own_pid_file is not None and daemon.own_pid_file.exists():
        pid = daemon.own_pid_file.read_text(encoding="ascii").split()[0]
        (layout.pids / f"{daemon.name}.pid").write_text(f"{pid}\n", encoding="ascii")


def running(layout: Layout, name: str) -> int | None:
    """Return the daemon's pid, or None when it does not run."""
    try:
        pid = int((layout.pids / f"{name}.pid").read_text(encoding="ascii"))
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else pid


def stop(layout: Layout, daemon: Daemon, number: signal.Signals | None = None) -> None:
    """Send a signal and wait until the daemon has gone; after STOP_SECONDS it is killed with its whole session.

    SIGKILL goes to all its processes: the children of a killed master would go on, and keep its ports.
    """
    pid = running(layout, daemon.name)
    if pid is not None:
        _end(layout, daemon, pid, number)
    if number is signal.SIGKILL and daemon.name == "dovecot" and daemon.own_pid_file is not None:
        # Dovecot takes a killed master for a running one as long as nobody has waited for it.
        daemon.own_pid_file.unlink(missing_ok=True)


def _end(layout: Layout, daemon: Daemon, pid: int, number: signal.Signals | None) -> None:
    if number is signal.SIGKILL:
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    else:
        os.kill(pid, number or daemon.stop_signal)
    deadline = time.monotonic() + STOP_SECONDS
    while running(layout, daemon.name):
        if time.monotonic() > deadline:
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        time.sleep(0.02)


def sweep(layout: Layout) -> None:
    """Kill what still works below the sandbox's folder, such as the children of a master that was killed."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            # What runs in another Debian's tree has that tree's path before it.
            if f"{layout.root}/" in f"{entry.joinpath('cwd').readlink()}/":
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # gone meanwhile


def _port_answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(address)) == 0
