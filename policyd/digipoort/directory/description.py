"""Descriptions of a directory in TOML: `seed`, `plan` and `apply` read them, `export` writes them.

The format; keys without a comment are required strings, and any other key is a fault::

    [[party]]         code, name, kind ("private" or "government"), active (default true)
    [[flow]]          code, name, owner (a party's code), size_limit (octets; default 10 MiB, our own choice),
                      interface (a table; default empty: the default profile),
                      resubmission ("accept", "refuse" or "tell"; default tell)
    [[destination]]   domain, nexthop (host or [host], with or without :port),
                      tls_level (encrypt, dane-only, fingerprint, verify or secure; default secure),
                      tls_match (optional), transport (smtp, or agency-NAME as in master.cf; default smtp)
    [[mailbox]]       mailbox (an id, a-z and 0-9), party
    [[address]]       address, party, flow (government only), and either mailbox (an id) or remote ("user@domain")
    [[connection]]    address, flow, valid_from (a TOML date), valid_until (optional; the last day, included)
    [[credential]]    login, party, services (list of "pop3" and "submission"), mailbox (an id; needed for pop3),
                      active (default true), valid_from and valid_until (optional TOML dates, both included),
                      networks (optional list of addresses and networks; default: anywhere),
                      certificate_fingerprint (SHA-256, with or without colons) and certificate_subject (a common
                      name; both optional: submission needs such a certificate),
                      certificate_suffices (default false; true: it needs no password),
                      and either password_hash (as passwords.checked_hash takes it) or password_file

A password never stands in the file: `password_file` names a file, relative to this one, whose first line is it. A file
that every user can read is refused.
"""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import fields
from datetime import date
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import tomli_w

from digipoort import access, fingerprints, passwords
from digipoort.directory.objects import (
    DEFAULT_SIZE_LIMIT,
    KINDS,
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    NewPassword,
    Party,
    parse_remote,
)
from digipoort.interface.profile import ProfilesInvalidError, parse_interface
from digipoort.profiles import MAX_SIZE_LIMIT
from digipoort.resubmission import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class DescriptionError(Exception):
    """The description cannot be used; the message is a sentence that tells where."""


def read(path: Path) -> list[DirectoryObject]:
    """Return the objects of a description, in the order in which they can be added.

    Raises DescriptionError when it, or a password file that it names, cannot be read or does not follow the format.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionError(f"The description {path} cannot be read: {error}.") from error


def parse(text: str, folder: Path) -> list[DirectoryObject]:
    """Return the objects of a description; its password files are relative to `folder`. Raises DescriptionError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"The description is not TOML: {error}.") from error
    unknown = document.keys() - _PARSERS.keys()
    if unknown:
        raise DescriptionError(f"The description has unknown tables: {', '.join(sorted(unknown))}.")
    return [_parsed(kind, number, table, folder) for kind in _PARSERS for number, table in _tables(document, kind)]


def text_of(item: DirectoryObject) -> str:
    """Return an object as a description has it: its table's header and keys, those with their default left out."""
    kind, values = KINDS[type(item)], _values(item)
    # tomli_w would write an array of small tables in one line.
    return tomli_w.dumps({kind: values}).replace(f"[{kind}]", f"[[{kind}]]", 1)


def _values(item: DirectoryObject) -> dict[str, Any]:
    """Return an object's keys and values as a description has them."""
    values: dict[str, Any] = {}
    for field in fields(item):
        value = getattr(item, field.name)
        if value in (None, {}) or (field.name in _WITH_DEFAULT and value == field.default):
            continue
        values[field.name] = list(value) if isinstance(value, tuple) else value
    if isinstance(item, Address):
        target = values.pop("target")
        values |= {"mailbox": target} if isinstance(target, str) else {"remote": str(target)}
    if isinstance(item, Credential):
        values["password_hash"] = password_hash(values.pop("password"))
    return values


def password_hash(password: str | NewPassword) -> str:
    """Return the hash that the directory stores."""
    return password if isinstance(password, str) else passwords.hash_password(password.octets)


def _tables(document: Mapping[str, Any], kind: str) -> list[tuple[int, Any]]:
    tables = document.get(kind, [])
    if not isinstance(tables, list):
        raise DescriptionError(f"Write [[{kind}]], with two brackets: there may be several.")
    return list(enumerate(tables, start=1))


class _Table:
    """One table of the file, whose keys are taken out one by one, so that what is left over is known to be unknown."""

    def __init__(self, kind: str, number: int, values: object, folder: Path) -> None:
        self.name = f"[[{kind}]] number {number}"
        self.folder = folder
        if not isinstance(values, dict):
            raise DescriptionError(f"{self.name} is not a table.")
        self._left = dict(values)

    def take(self, key: str, kind: type[Any] = str, default: Any = None) -> Any:  # noqa: ANN401 - as the file has it
        """Return a value, or the default of a key that is not there; None is the default of a required key."""
        value = self._left.pop(key, default)
        if value is None:
            raise DescriptionError(f"{self.name} has no {key}.")
        # Not isinstance: a bool is an int and a datetime is a date, and neither is meant.
        if type(value) is not kind:
            raise DescriptionError(f"{self.name}: {key} is not a {_TYPE_NAMES[kind]}.")
        return value

    def maybe(self, key: str, kind: type[Any] = str) -> Any:  # noqa: ANN401 - as the file has it
        """Return a value, or None when the key is not there."""
        return self.take(key, kind) if key in self._left else None

    def finish(self) -> None:
        """Refuse what nobody asked for: a misspelt key would otherwise be a silent default."""
        if self._left:
            raise DescriptionError(f"{self.name} has unknown keys: {', '.join(sorted(self._left))}.")


_TYPE_NAMES: Final[dict[type[Any], str]] = {
    bool: "boolean", str: "string", int: "number", dict: "table", list: "list", date: "date",
}  # fmt: skip


def _parsed(kind: str, number: int, values: object, folder: Path) -> DirectoryObject:
    table = _Table(kind, number, values, folder)
    item = _PARSERS[kind](table)
    table.finish()
    return item


def _party(table: _Table) -> Party:
    return Party(table.take("code"), table.take("name"), table.take("kind"), table.take("active", bool, default=True))


def _flow(table: _Table) -> Flow:
    size_limit = table.take("size_limit", int, DEFAULT_SIZE_LIMIT)
    interface = table.take("interface", dict, {})
    try:
        parse_interface(interface, table.name)
    except ProfilesInvalidError as error:
        raise DescriptionError(f"The description is not usable: {error}.") from error
    if not 1 <= size_limit <= MAX_SIZE_LIMIT:
        raise DescriptionError(f"{table.name}: size_limit is not a number from 1 to {MAX_SIZE_LIMIT}.")
    resubmission = table.take("resubmission", str, Policy.TELL.value)
    return Flow(table.take("code"), table.take("name"), table.take("owner"), size_limit, interface, resubmission)


def _destination(table: _Table) -> Destination:
    tls_level = table.take("tls_level", str, "secure")
    match, transport = table.maybe("tls_match"), table.take("transport", str, "smtp")
    return Destination(table.take("domain"), table.take("nexthop"), tls_level, match, transport)


def _mailbox(table: _Table) -> Mailbox:
    return Mailbox(table.take("mailbox"), table.take("party"))


def _address(table: _Table) -> Address:
    mailbox, remote = table.maybe("mailbox"), table.maybe("remote")
    if (mailbox is None) == (remote is None):
        raise DescriptionError(f"{table.name} needs either mailbox or remote.")
    target = mailbox if remote is None else parse_remote(remote)
    if target is None:
        raise DescriptionError(f"{table.name}: remote is not user@domain.")
    return Address(table.take("address"), table.take("party"), table.maybe("flow"), target)


def _connection(table: _Table) -> FlowConnection:
    dates = (table.take("valid_from", date), table.maybe("valid_until", date))
    return FlowConnection(table.take("address"), table.take("flow"), *dates)


def _credential(table: _Table) -> Credential:
    services = table.take("services", list)
    return Credential(
        login=table.take("login"),
        party=table.take("party"),
        password=_password(table),
        services=tuple(str(service) for service in services),
        mailbox=table.maybe("mailbox"),
        active=table.take("active", bool, default=True),
        certificate_fingerprint=_fingerprint(table),
        certificate_subject=table.maybe("certificate_subject"),
        certificate_suffices=table.take("certificate_suffices", bool, default=False),
        valid_from=table.maybe("valid_from", date),
        valid_until=table.maybe("valid_until", date),
        networks=_networks(table),
    )


def _networks(table: _Table) -> tuple[str, ...]:
    try:
        networks = (access.parse_network(str(network)) for network in table.maybe("networks", list) or ())
        return tuple(dict.fromkeys(networks))
    except ValueError as error:
        raise DescriptionError(f"{table.name}: {error}") from None


def _fingerprint(table: _Table) -> str | None:
    text = table.maybe("certificate_fingerprint")
    try:
        return None if text is None else fingerprints.parse_fingerprint(text)
    except ValueError as error:
        raise DescriptionError(f"{table.name}: {error}") from None


def _password(table: _Table) -> str | NewPassword:
    stored, file = table.maybe("password_hash"), table.maybe("password_file")
    if (stored is None) == (file is None):
        raise DescriptionError(f"{table.name} needs either password_hash or password_file.")
    try:
        if stored is not None:
            return passwords.checked_hash(stored)
    except passwords.PasswordHashError as error:
        raise DescriptionError(f"{table.name}: password_hash cannot be used: {error}") from None
    try:
        return NewPassword(passwords.usable(first_line(table.folder / file)))
    except (OSError, ValueError) as error:
        raise DescriptionError(f"{table.name}: the password in {file} cannot be used: {error}") from error


def first_line(path: Path) -> bytes:
    """Return the first line of a password file without its line end.

    Raises OSError, and ValueError, with a sentence, for a file that every user can read.
    """
    with path.open("rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        # As ssh and psql do; the group may be the admins'.
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            raise ValueError(f"{path} can be read by every user, and so is no secret: chmod o= {path}")
        return line_of(stream)


def line_of(stream: BinaryIO) -> bytes:
    """Return the next line of a file with a password in it, without its line end. Raises OSError."""
    return stream.readline(_MAX_PASSWORD_LINE).rstrip(b"\r\n")


_MAX_PASSWORD_LINE: Final = 4096
# Keys that are left out when they say nothing new.
_WITH_DEFAULT: Final = frozenset({"active", "resubmission", "transport", "certificate_suffices", "networks"})
# In the order in which objects can refer to each other.
_PARSERS: Final[Mapping[str, Callable[[_Table], DirectoryObject]]] = {
    "party": _party,
    "flow": _flow,
    "destination": _destination,
    "mailbox": _mailbox,
    "address": _address,
    "connection": _connection,
    "credential": _credential,
}
