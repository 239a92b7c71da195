"""`digipoort credential`: logins, what they may do, and which mailbox they open. A password is never an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from digipoort import passwords
from digipoort.cli import frame
from digipoort.cli.failures import Failure
from digipoort.cli.listing import object_group
from digipoort.directory import description, store
from digipoort.directory.objects import Credential

_PASSWORD_FILE: Final = click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file whose first line is the password; it is asked for when not given.",
)

credential = object_group("credential", "Logins: what they may do, and which mailbox they open.")


@credential.command("add")
@click.argument("login")
@click.argument("party")
@click.option("--service", "services", type=click.Choice(["pop3", "submission"]), multiple=True, required=True)
@click.option("--mailbox", metavar="ID", help="The mailbox that the login opens; needed for pop3.")
@_PASSWORD_FILE
def add_credential(
    login: str, party: str, services: tuple[str, ...], mailbox: str | None, password_file: Path | None
) -> None:
    """Add LOGIN to PARTY."""
    password_hash = _password_hash(password_file)
    with frame.changing() as change:
        store.add(change, Credential(login, party, password_hash, services, mailbox))
    click.echo(f"added credential {login}")


@credential.command("password")
@click.argument("login")
@_PASSWORD_FILE
def change_password(login: str, password_file: Path | None) -> None:
    """Give LOGIN another password."""
    password_hash = _password_hash(password_file)
    with frame.changing() as change:
        store.set_password(change, login, password_hash)
    click.echo(f"changed the password of {login}")


@credential.command("enable")
@click.argument("login")
def enable_credential(login: str) -> None:
    """Accept LOGIN again."""
    _set_credential_active(login, active=True)


@credential.command("disable")
@click.argument("login")
def disable_credential(login: str) -> None:
    """Refuse LOGIN from now on."""
    _set_credential_active(login, active=False)


def _set_credential_active(login: str, *, active: bool) -> None:
    with frame.changing() as change:
        store.set_credential_active(change, login, active=active)
    click.echo(f"credential {login} is {'enabled' if active else 'disabled'}")


def _password_hash(file: Path | None) -> str:
    """Return the hash of a file's password, or of one that the admin types twice; an argument would show in ps(1)."""
    if file is None:
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        password = typed.encode("utf-8")
    else:
        password = description.first_line(file)
    try:
        return passwords.hash_password(password)
    except ValueError as error:
        raise Failure(str(error)) from error
