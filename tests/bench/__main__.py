"""`python -m tests.bench [NAME]…`: starts a sandbox of its own for those that need one."""

from __future__ import annotations

import shutil

import click

from tests.bench import (
    acceptance,
    bulk,
    flood,
    large,
    mailbox,
    memory,
    policy,
    policy_postfix,
    pop3,
    publish,
    receipt,
    road,
)
from tests.sandbox import gateway
from tests.sandbox.clients import read_env
from tests.sandbox.layout import POINTER, Layout

ON_A_SANDBOX = {"road": road.run, "pop3": pop3.run, "receipt": receipt.run, "mailbox": mailbox.run}
ALONE = {
    "acceptance": acceptance.run,
    "large": large.run,
    "memory": memory.run,
    "import": bulk.run,
    "publish": publish.run,
    "policy": policy.run,
    "policy-postfix": policy_postfix.run,
    "flood": flood.run,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted({**ON_A_SANDBOX, **ALONE})))
@click.option("--rounds", default=5, show_default=True)
def main(names: tuple[str, ...], rounds: int) -> None:
    """Measure, in alternating rounds; figures that were kept are in docs/benchmarks.md."""
    for name in names or ALONE:
        if name in ALONE:
            ALONE[name](rounds)
    chosen = [name for name in names or ON_A_SANDBOX if name in ON_A_SANDBOX]
    if chosen:
        _on_a_sandbox(chosen, rounds)


def _on_a_sandbox(names: list[str], rounds: int) -> None:
    if Layout.existing() is not None:
        # It rewrites Postfix's configuration and empties mailboxes.
        raise click.ClickException("A sandbox is up; the benchmark needs one of its own: make down.")
    layout = gateway.build()
    try:
        env = read_env(POINTER / "env")
        for name in names:
            ON_A_SANDBOX[name](env, layout, rounds)
    finally:
        gateway.stop_all(layout)
        shutil.rmtree(layout.root)
        shutil.rmtree(POINTER, ignore_errors=True)


if __name__ == "__main__":
    main()
