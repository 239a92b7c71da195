"""Where a login's new password comes from: the admin types it, a file has it, or it is made here.

It is never an argument, which would show in ps(1) and in the shell's history, and no message repeats it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from digipoort import passwords
from digipoort.cli import frame
from digipoort.cli.failures import Failure
from digipoort.directory import description

if TYPE_CHECKING:
    from collections.abc import Callable

# Small letters and digits, which no configuration dialog, quoting or keyboard changes, without those that look alike.
ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
# log2(31) bits each: 118 bits.
LENGTH: Final = 24

_Command = TypeVar("_Command", bound="Callable[..., Any]")
_FILE: Final = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_PASSWORD_FILE: Final = click.option(
    "--password-file",
    type=_FILE,
    metavar="FILE",
    help="Its first line is the password; - is standard input. A file that every user can read is refused.",
)
_GENERATE: Final = click.option(
    "--generate",
    is_flag=True,
    help="Make a password of 118 random bits and print it once: it alone is on standard output.",
)
HASH_FILE: Final = click.option(
    "--hash-file",
    type=_FILE,
    metavar="FILE",
    help="Its first line is the hash that another system has of the password, with or without Dovecot's {SCHEME}; - is "
    "standard input.",
)


@dataclass(frozen=True, slots=True)
class New:
    """The hash for the directory, and the password when it was made here, for the admin to pass on."""

    hash: str = field(repr=False)
    made: str | None = field(default=None, repr=False)


def options(command: _Command) -> _Command:
    """Give a command the options that tell where the password comes from; it is asked for without any."""
    return _PASSWORD_FILE(_GENERATE(command))


def obtained(password_file: Path | None, *, generate: bool, hash_file: Path | None = None, ask: bool = True) -> New:
    """Return what is to be stored; without a source and without `ask` it is the hash of what nobody knows.

    Raises Failure, OSError, and click.UsageError when there is more than one source.
    """
    if sum((password_file is not None, generate, hash_file is not None)) > 1:
        raise click.UsageError("Give only one source of the password.")
    try:
        if hash_file is not None:
            return New(passwords.checked_hash(_first_line(hash_file).decode("ascii", errors="replace").strip()))
        if password_file is not None:
            return New(_hashed(_first_line(password_file)))
        if ask and not generate:
            return New(_hashed(_typed()))
        made = generated()
        return New(_hashed(made.encode("ascii")), made if generate else None)
    except (ValueError, passwords.PasswordHashError) as error:
        raise Failure(str(error)) from None


def generated() -> str:
    """Return a new random password."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def tell(new: New, *sentences: str) -> None:
    """Say what was done, a line each. A password that was made is on standard output, and all else is not."""
    for sentence in sentences:
        click.echo(sentence, err=new.made is not None)
    if new.made is not None:
        click.echo(new.made)


def _hashed(password: bytes) -> str:
    return passwords.hash_password(password, frame.admin_settings().hash_cost)


def _typed() -> bytes:
    typed: Any = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return str(typed).encode("utf-8")


def _first_line(file: Path) -> bytes:
    """Return the first line of a file or of standard input. Raises ValueError and OSError as first_line does."""
    if file == Path("-"):
        return description.line_of(click.get_binary_stream("stdin"))
    return description.first_line(file)
