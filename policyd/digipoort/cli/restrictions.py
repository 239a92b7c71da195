"""The options that tell when, from where and with which certificate a login may be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from digipoort import access, fingerprints
from digipoort.cli import parameters
from digipoort.cli.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _day(context: click.Context, parameter: click.Parameter, value: str | None) -> date | str | None:
    """Return the option's day; '' stays what it is."""
    return parameters.DATE.convert(value, parameter, context).date() if value else value


def _networks(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the networks once each, as the directory spells them; of '' none, without the option None."""
    try:
        networks = dict.fromkeys(access.parse_network(value) for value in values if value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return tuple(networks) if values else None


def _fingerprint(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return fingerprints.parse_fingerprint(value) if value else value
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_OPTIONS: Final = (
    click.option("--from", "valid_from", metavar="DATE", callback=_day, help="The first day; from now on without it."),
    click.option(
        "--until",
        "valid_until",
        metavar="DATE",
        callback=_day,
        help="The last day, included; until further notice without it.",
    ),
    click.option(
        "--network",
        "networks",
        metavar="NET",
        multiple=True,
        callback=_networks,
        help="Where its clients may be, as 192.0.2.0/24 or 2001:db8::1; may be given many times. Anywhere without it.",
    ),
    click.option(
        "--certificate-fingerprint",
        metavar="SHA256",
        callback=_fingerprint,
        help="Submission needs the client certificate with it: 64 digits of 0-9 and A-F, with or without colons.",
    ),
    click.option(
        "--certificate-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PEM",
        help="Submission needs the first certificate in this file: its fingerprint is stored.",
    ),
    click.option(
        "--certificate-subject", metavar="CN", help="Submission needs a client certificate with this common name."
    ),
    click.option(
        "--certificate-suffices/--no-certificate-suffices",
        default=None,
        help="The certificate alone may submit, without a password; or it is needed beside the password (the default).",
    ),
)


def options(command: _Command) -> _Command:
    """Give a command these options; what they hold is for `told`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def told(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a Credential by what the options tell: None is not told, '' is to have none.

    Raises Failure, and click.UsageError when two options tell the same.
    """
    values = dict(given)
    file: Path | None = values.pop("certificate_file")
    if file is not None:
        if values["certificate_fingerprint"] is not None:
            raise click.UsageError("Give either --certificate-fingerprint or --certificate-file.")
        values["certificate_fingerprint"] = _fingerprint_in(file)
    return values


def _fingerprint_in(file: Path) -> str:
    try:
        return fingerprints.fingerprint_of(file.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        raise Failure(f"{file}: {error}") from None
