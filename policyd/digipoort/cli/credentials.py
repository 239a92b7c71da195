"""`digipoort credential`: logins, what they may do, and which mailbox they open. A password is never an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from digipoort.cli import changes, completion, frame, newpassword, objects, parameters, restrictions, rotation
from digipoort.directory import lookup, queries, snapshot, store
from digipoort.directory.objects import Credential

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

_SERVICE: Final = click.Choice(["pop3", "submission"])

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
@restrictions.options
@newpassword.options
@newpassword.HASH_FILE
def add_credential(  # noqa: PLR0913 - click hands in each option
    login: str,
    party: str,
    services: tuple[str, ...],
    mailbox: str | None,
    password_file: Path | None,
    hash_file: Path | None,
    *,
    generate: bool,
    **given: Any,  # noqa: ANN401 - as restrictions.options have it
) -> None:
    """Add LOGIN to PARTY. Its password is asked for when no option tells where it comes from.

    No password is asked for where --certificate-suffices and the only service is submission: nobody knows it then.

    \b
    Examples: digipoort credential add bloemen AALSMEER --service pop3 --service submission --mailbox b1f0aa27c3d94e01
              digipoort credential add bloemen AALSMEER --service submission --generate --until 2027-12-31 \\
                  --network 192.0.2.0/24 --network 2001:db8::/48
              digipoort credential add bloemen AALSMEER --service submission --certificate-file bloemen.pem \\
                  --certificate-suffices
    """
    limits = {name: value for name, value in restrictions.told(given).items() if value not in (None, "")}
    needed = "pop3" in services or not limits.get("certificate_suffices")
    new = newpassword.obtained(password_file, generate=generate, hash_file=hash_file, ask=needed)
    with frame.changing() as change:
        store.add(change, Credential(login, party, new.hash, services, mailbox, **limits))
    newpassword.tell(new, f"added credential {login}")


@credential.command("change")
@click.argument("login", shell_complete=completion.LOGINS)
@click.option("--party", metavar="CODE", shell_complete=completion.PARTIES, help="The party that it is to belong to.")
@click.option(
    "--service", "services", type=_SERVICE, multiple=True, help="All that it may do from now on; may be given twice."
)
@click.option(
    "--mailbox", metavar="ID", shell_complete=completion.MAILBOXES, help="The mailbox that it opens; '' is none."
)
@restrictions.options
def change_credential(
    login: str,
    party: str | None,
    services: tuple[str, ...],
    mailbox: str | None,
    **given: Any,  # noqa: ANN401 - as restrictions.options have it
) -> None:
    """Change LOGIN: only what an option tells, and '' takes away. The networks that are given replace all it had.

    Its password: digipoort credential rotate.

    \b
    Examples: digipoort credential change bloemen --service submission --mailbox ''
              digipoort credential change bloemen --until 2027-12-31 --network 192.0.2.0/24
              digipoort credential change bloemen --until '' --network '' --certificate-fingerprint ''
    """
    values = {"party": party, "services": services or None, "mailbox": mailbox, **restrictions.told(given)}
    changes.change(Credential, {"login": login}, values)


@credential.command("rotate")
@click.argument("login", shell_complete=completion.LOGINS)
@newpassword.options
@click.option(
    "--successor",
    metavar="NEWLOGIN",
    help="Leave LOGIN its password for now, and add this login with the new one: both work until LOGIN ends.",
)
@click.option(
    "--until",
    "last",
    type=parameters.DATE,
    metavar="DATE",
    callback=parameters.day,
    help=f"With --successor: LOGIN's last day; {rotation.OVERLAP.days} days from today when not given.",
)
def rotate_credential(
    login: str, password_file: Path | None, successor: str | None, last: date | None, *, generate: bool
) -> None:
    """Give LOGIN a new password; the old one is refused from its next use on.

    With --successor nothing is refused yet: a new login starts today, with LOGIN's party, services, mailbox, networks
    and certificate, and until the same end, and LOGIN itself ends soon.

    \b
    Examples: digipoort credential rotate bloemen --generate
              digipoort credential rotate bloemen --successor bloemen-2027 --until 2027-01-31 --generate
    """
    if last is not None and successor is None:
        raise click.UsageError("--until is for --successor; when a login ends: digipoort credential change --until.")
    new = newpassword.obtained(password_file, generate=generate)
    if successor is None:
        with frame.changing() as change:
            store.set_password(change, login, new.hash)
        newpassword.tell(new, f"credential {login} has a new password; the old one is refused from now on")
        return
    newpassword.tell(new, *_succeeded(login, successor, new.hash, last))


def _succeeded(login: str, successor: str, password_hash: str, last: date | None) -> list[str]:
    """Add a login's successor and let the login end; return what happened, a line each."""
    timezone = frame.admin_settings().directory_timezone
    with frame.changing() as change:
        change.execute(queries.LOCK_DIRECTORY)
        before = snapshot.credential(change, login)
        rotated = rotation.rotation(before, successor, password_hash, lookup.today(change, timezone), last)
        # First: a certificate that suffices can stand for one login at a time.
        store.change(change, rotated.ending)
        store.add(change, rotated.successor)
    return rotated.sentences()


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
    """Refuse LOGIN: its next login, and in a submission that is under way its next recipient.

    It does not ask: a login that leaked cannot wait, and `enable` takes it back. What goes on: messages that were
    accepted, and POP3 sessions that are open, until they end. `doveadm kick LOGIN` on every gateway host ends them.

    \b
    Example:  digipoort credential disable bloemen
    """
    _set_credential_active(login, active=False)


def _set_credential_active(login: str, *, active: bool) -> None:
    with frame.changing() as change:
        store.set_credential_active(change, login, active=active)
    click.echo(f"credential {login} is {'enabled' if active else 'disabled'}")
