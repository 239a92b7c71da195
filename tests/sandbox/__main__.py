"""`python -m tests.sandbox up|down|start|stop|demo`: what `make` calls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import click

from tests.sandbox import demo, gateway, stacks
from tests.sandbox.clients import read_env
from tests.sandbox.layout import POINTER, Layout


@click.group()
def main() -> None:
    """Run a private gateway on high loopback ports."""


@main.command()
def up() -> None:
    """Start the sandbox; .instance/env tells clients what they need."""
    begun = time.monotonic()
    _require_host()
    if Layout.existing() is not None:
        click.echo("The sandbox is there already; `make down` stops it.", err=True)
        sys.exit(1)
    layout = gateway.build()
    click.echo(f"up after {time.monotonic() - begun:.1f} s; see {POINTER / 'env'} and {layout.mail_log}")


@main.command()
def down() -> None:
    """Stop the sandbox and remove all it left."""
    layout = Layout.existing()
    if layout is None:
        return
    gateway.stop_all(layout)
    shutil.rmtree(layout.root)
    shutil.rmtree(POINTER, ignore_errors=True)


@main.command()
@click.argument("names", nargs=-1, required=True)
def start(names: tuple[str, ...]) -> None:
    """Start single daemons again."""
    gateway.start(_there(), names)


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--kill", is_flag=True, help="SIGKILL instead of the daemon's own stop signal.")
def stop(names: tuple[str, ...], *, kill: bool) -> None:
    """Stop single daemons."""
    gateway.stop(_there(), names, signal.SIGKILL if kill else None)


@main.command()
@click.argument("name", type=click.Choice(list(stacks.STACKS)))
def switch(name: str) -> None:
    """Run another Dovecot or Postfix, or another way from Dovecot to authd."""
    gateway.switch(_there(), name)


@main.command(name="demo")
def run_demo() -> None:
    """Show the main job; the sandbox is started, and stopped again, if it is not there."""
    _require_host()
    started = Layout.existing() is None
    try:
        if started:
            click.echo("Starting PostgreSQL, Postfix, Dovecot, policyd, authd, three milters and the agency's server …")
            gateway.build()
        sys.exit(demo.run(read_env(POINTER / "env")))
    finally:
        layout = Layout.existing()
        if started and layout is not None:
            gateway.stop_all(layout)
            shutil.rmtree(layout.root)
            shutil.rmtree(POINTER, ignore_errors=True)


def _there() -> Layout:
    layout = Layout.existing()
    if layout is None:
        click.echo("There is no sandbox; `make up` starts one.", err=True)
        sys.exit(1)
    return layout


def _require_host() -> None:
    """Stop with a sentence where the sandbox cannot run."""
    if os.geteuid() != 0:
        click.echo("The sandbox needs root: Postfix's and Dovecot's masters change users.", err=True)
        sys.exit(1)
    dovecot = subprocess.run(["/usr/sbin/dovecot", "--version"], check=True, capture_output=True, text=True).stdout
    if not dovecot.startswith("2.3."):
        click.echo(f"The sandbox runs Dovecot 2.3 (Debian 12) for now; this host has {dovecot.strip()}.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
