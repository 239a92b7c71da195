"""`digipoort completion`, and what a shell may complete from the directory: codes, domains, logins, addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import get_completion_class

from digipoort.cli import frame
from digipoort.cli.failures import Failure
from digipoort.directory import names, session
from digipoort.directory.objects import Address, Credential, Destination, DirectoryObject, Flow, Mailbox, Party
from digipoort.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NAMES: Final = 50
# Who presses the tab key does not wait for a server that is down.
_SECONDS: Final = 1


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete this program's commands, and codes, logins and addresses.

    \b
    Examples: digipoort completion bash > /etc/bash_completion.d/digipoort
              digipoort completion zsh > /usr/local/share/zsh/site-functions/_digipoort
              digipoort completion fish > /etc/fish/completions/digipoort.fish
    """
    root = context.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(f"This version of click completes nothing in {shell}.")
    program = "digipoort"
    try:
        click.echo(kind(root.command, {}, program, f"_{program.upper()}_COMPLETE").source())
    except RuntimeError as error:
        raise Failure(str(error)) from error


def names_of(kind: type[DirectoryObject]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes the name of an object of a kind, by the directory; nothing when that does not answer."""

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            dsn = frame.admin_settings().directory_dsn
            with session.connected(dsn, connect_seconds=_SECONDS, statement_seconds=_SECONDS) as connection:
                return names.beginning_with(connection, kind, incomplete, MAX_NAMES)
        except (SettingsError, session.DirectoryFaultError, OSError, UnicodeError):
            return []

    return complete


PARTIES: Final = names_of(Party)
FLOWS: Final = names_of(Flow)
DESTINATIONS: Final = names_of(Destination)
MAILBOXES: Final = names_of(Mailbox)
ADDRESSES: Final = names_of(Address)
LOGINS: Final = names_of(Credential)
