"""A bar on the terminal, for the one command that may take minutes."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def reading(octets: int | None) -> Iterator[Callable[[int], None]]:
    """Yield what is to be told of each block that was read, in octets; None: how many there will be is not known.

    What is read may still take long to check: then the bar says so, and its clock goes on. Nothing is shown when
    standard error is no terminal.
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    # Not above: every other command starts without it.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("reading", total=octets)

        def read(more: int) -> None:
            bar.advance(task, more)
            if bar.finished:
                bar.update(task, description="checking and adding")

        yield read


def _silent(_octets: int) -> None:
    """Show no progress: nobody looks."""
