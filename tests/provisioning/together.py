"""All provisioning tests at once, for `make provision-test`: a run of Ansible keeps but one processor busy.

Each stream is a pytest of its own, whose output is shown when it ends, so that the streams do not mix.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.provisioning import lab, playbook, releases

if TYPE_CHECKING:
    from types import FrameType

_TESTS: Final = Path(__file__).parent
_FLEET: Final = "test_two_hosts.py"
_GUESTS: Final = "test_guests.py"
_SINGLE: Final = ("test_one_host.py", "test_day_two.py")
# The guests themselves do not depend on what is in them.
STREAMS: Final = {
    **{release: (release, _SINGLE) for release in releases.RELEASES},
    "two hosts, and the guests themselves": ("trixie", (_FLEET, _GUESTS)),
}


def main() -> int:
    """Run the streams, and return the worst exit status."""
    if why := lab.impossible():
        sys.stderr.write(f"no guests on this machine: {why}\n")
        return 1
    missing = {path.name for path in _TESTS.glob("test_*.py")} - {_FLEET, _GUESTS, *_SINGLE}
    if missing:
        sys.stderr.write(f"in no stream: {', '.join(sorted(missing))}\n")
        return 1
    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    # What all need is made before, once.
    for release in releases.RELEASES:
        releases.tree(release)
    playbook.collections()
    _say(f"trees of {', '.join(releases.RELEASES)} and collections: {time.monotonic() - began:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        worst = _run(Path(folder))
    _say(f"all together: {time.monotonic() - began:.0f} s")
    return worst


def _run(folder: Path) -> int:
    running: dict[str, subprocess.Popen[bytes]] = {}
    worst = 0
    try:
        for number, (name, (release, files)) in enumerate(STREAMS.items()):
            with (folder / str(number)).open("wb") as log:
                running[name] = subprocess.Popen(
                    [sys.executable, "-m", "pytest", "--color=no", "--durations=5", *(_TESTS / one for one in files)],
                    stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                    env=os.environ | {"PROVISION_RELEASES": release},
                )  # fmt: skip
        for number, (name, process) in enumerate(running.items()):
            worst = max(worst, process.wait())
            _say(f"\n=== {name}\n{(folder / str(number)).read_text(encoding='utf-8', errors='replace')}")
    finally:
        # Each removes its guests before it goes.
        for process in running.values():
            if process.poll() is None:
                process.terminate()
        for process in running.values():
            process.wait()
    return worst


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
