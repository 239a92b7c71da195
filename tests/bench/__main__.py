"""`python -m tests.bench [road|policy|pop3]…`: starts a sandbox of its own."""

from __future__ import annotations

import shutil

import click

from tests.bench import policy, pop3, road
from tests.sandbox import gateway
from tests.sandbox.clients import read_env
from tests.sandbox.layout import POINTER, Layout

BENCHES = {"road": road.run, "policy": policy.run, "pop3": pop3.run}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(BENCHES)))
@click.option("--rounds", default=5, show_default=True)
def main(names: tuple[str, ...], rounds: int) -> None:
    """Measure, in alternating rounds; figures that were kept are in docs/benchmarks.md."""
    if Layout.existing() is not None:
        # It rewrites Postfix's configuration and empties mailboxes.
        raise click.ClickException("A sandbox is up; the benchmark needs one of its own: make down.")
    layout = gateway.build()
    try:
        env = read_env(POINTER / "env")
        for name in names or BENCHES:
            BENCHES[name](env, layout, rounds)
    finally:
        gateway.stop_all(layout)
        shutil.rmtree(layout.root)
        shutil.rmtree(POINTER, ignore_errors=True)


if __name__ == "__main__":
    main()
