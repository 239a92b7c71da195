"""Guests for work by hand: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from tests.provisioning import playbook
from tests.provisioning.guest import GuestError
from tests.provisioning.lab import Lab, impossible
from tests.provisioning.releases import RELEASES

_CHECKOUT: Final = Path(__file__).resolve().parents[2]


def main() -> int:
    """Do what the command line tells, and return the exit status."""
    told = _parser().parse_args()
    if why := impossible():
        return _fail(why)
    lab = Lab(told.run)
    try:
        return _do(lab, told)
    except GuestError as error:
        return _fail(str(error))


def _do(lab: Lab, told: argparse.Namespace) -> int:
    match told.action:
        case "up":
            for guest in lab.up(*told.names, release=told.release):
                _say(f"{guest.name}\t{guest.address}\t{guest.release}\t{guest.root}")
        case "exec":
            # Becomes the command, so that terminal and signals are its own.
            command = lab.guests()[told.name].command(*told.words)
            os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
        case "restart":
            lab.guests()[told.name].reboot(dies_with_us=False)
        case "inventory":
            _say(str(playbook.inventory(lab)))
        case "play":
            words, environment = playbook.command(*told.words)
            os.execvpe(words[0], words, environment)  # noqa: S606 - no shell is wanted
        case _:
            for name in told.names:
                lab.remove(lab.guests()[name])
            if not told.names:
                lab.down()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.provisioning", description="Debian guests, to try things in."
    )
    parser.add_argument("--run", default=_CHECKOUT.name, help="the lab's name; by default the checkout's")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="boot guests")
    up.add_argument("--release", choices=RELEASES, default="trixie")
    up.add_argument("names", nargs="+", metavar="NAME")
    inside = actions.add_parser("exec", help="run a command in a guest, as root")
    inside.add_argument("name", metavar="NAME")
    inside.add_argument("words", nargs=argparse.REMAINDER)
    restart = actions.add_parser("restart", help="shut a guest down and boot it again")
    restart.add_argument("name", metavar="NAME")
    actions.add_parser("inventory", help="write an Ansible inventory of all guests, and print its path")
    play = actions.add_parser("play", help="run ansible-playbook")
    play.add_argument("words", nargs=argparse.REMAINDER)
    down = actions.add_parser("down", help="shut guests down and remove them; without a name, the whole lab")
    down.add_argument("names", nargs="*", metavar="NAME")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _fail(line: str) -> int:
    sys.stderr.write(f"{line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
