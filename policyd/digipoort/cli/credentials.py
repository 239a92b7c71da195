"""`digipoort credential`: logins, what they may do, and which mailbox they open. A password is never an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from digipoort import passwords
from digipoort.cli import changes, completion, frame, objects
from digipoort.cli.failures import Failure
from digipoort.directory import description, store
from digipoort.directory.objects import Credential

_SERVICE: Final = click.Choice(["pop3", "submission"])
_PASSWORD_FILE: Final = click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file whose first line is the password; it is asked for when not given.",
)

credential = objects.object_group(Credential, "Logins: what they may do, and which mailbox they open.")


@credential.command("add")
@click.argument("login")
@click.argument("party", shell_complete=completion.PARTIES)
@click.option("--service", "services", type=_SERVICE, multiple=True, required=True, help="May be given twice.")
@click.option(
    "--mailbox",
    metavar="ID",
    shell_complete=completion.MAILBOXES,
    help="The mailbox that the login opens; needed for pop3.",
)
@_PASSWORD_FILE
def add_credential(
    login: str, party: str, services: tuple[str, ...], mailbox: str | None, password_file: Path | None
) -> None:
    """Add LOGIN to PARTY.

    \b
    Example:  digipoort credential add bloemen AALSMEER --service pop3 --service submission --mailbox b1f0aa27c3d94e01
    """
    password_hash = _password_hash(password_file)
    with frame.changing() as change:
        store.add(change, Credential(login, party, password_hash, services, mailbox))
    click.echo(f"added credential {login}")


@credential.command("change")
@click.argument("login", shell_complete=completion.LOGINS)
@click.option("--party", metavar="CODE", shell_complete=completion.PARTIES, help="The party that it is to belong to.")
@click.option(
    "--service", "services", type=_SERVICE, multiple=True, help="All that it may do from now on; may be given twice."
)
@click.option(
    "--mailbox", metavar="ID", shell_complete=completion.MAILBOXES, help="The mailbox that it opens; '' is none."
)
@click.option("--certificate-fingerprint", metavar="SHA256", help="Pairs of 0-9 and A-F, colons between; '' is none.")
def change_credential(
    login: str,
    party: str | None,
    services: tuple[str, ...],
    mailbox: str | None,
    certificate_fingerprint: str | None,
) -> None:
    """Change LOGIN: only what an option tells. Its password: digipoort credential password.

    \b
    Examples: digipoort credential change bloemen --service submission --mailbox ''
              digipoort credential change bloemen --mailbox 93d2c07be8814f02
    """
    given = {
        "party": party,
        "services": services or None,
        "mailbox": mailbox,
        "certificate_fingerprint": certificate_fingerprint,
    }
    changes.change(Credential, {"login": login}, given)


@credential.command("password")
@click.argument("login", shell_complete=completion.LOGINS)
@_PASSWORD_FILE
def change_password(login: str, password_file: Path | None) -> None:
    """Give LOGIN another password.

    \b
    Example:  digipoort credential password bloemen
    """
    password_hash = _password_hash(password_file)
    with frame.changing() as change:
        store.set_password(change, login, password_hash)
    click.echo(f"changed the password of {login}")


@credential.command("enable")
@click.argument("login", shell_complete=completion.LOGINS)
def enable_credential(login: str) -> None:
    """Accept LOGIN again.

    \b
    Example:  digipoort credential enable bloemen
    """
    _set_credential_active(login, active=True)


@credential.command("disable")
@click.argument("login", shell_complete=completion.LOGINS)
def disable_credential(login: str) -> None:
    """Refuse LOGIN from now on. It does not ask: a login that leaked cannot wait, and `enable` takes it back.

    \b
    Example:  digipoort credential disable bloemen
    """
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
        return passwords.hash_password(password, frame.admin_settings().hash_cost)
    except (ValueError, passwords.PasswordHashError) as error:
        raise Failure(str(error)) from error
