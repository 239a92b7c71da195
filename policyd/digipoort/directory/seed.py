"""Seed files: what a directory starts with, in TOML. Adding is idempotent: what is there already is never changed.

The format; keys without a comment are required strings, and any other key is a fault::

    [[party]]         code, name, kind ("private" or "government")
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
                      and either password_hash or password_file

A password never stands in the file: `password_file` names a file, relative to the seed file, whose first line is it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from digipoort import passwords
from digipoort.directory import store
from digipoort.directory.objects import (
    DEFAULT_SIZE_LIMIT,
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    Party,
    parse_remote,
)
from digipoort.interface.profile import ProfilesInvalidError, parse_interface
from digipoort.profiles import MAX_SIZE_LIMIT
from digipoort.resubmission import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from psycopg import Connection
    from psycopg.rows import TupleRow


class SeedError(Exception):
    """The seed file cannot be used; the message is a sentence that tells where."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """How many objects a seed added, and how many were there already."""

    added: int
    present: int


def packaged_seed() -> list[DirectoryObject]:
    """Return the two government parties and the eleven flows that this version brings."""
    file = resources.files("digipoort.directory") / "flows.toml"
    return parse(file.read_text(encoding="utf-8"), Path())


def read(path: Path) -> list[DirectoryObject]:
    """Return the objects of a seed file, in the order in which they can be added.

    Raises SeedError when it, or a password file that it names, cannot be read or does not follow the format.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise SeedError(f"The seed file {path} cannot be read: {error}.") from error


def parse(text: str, folder: Path) -> list[DirectoryObject]:
    """Return the objects of a seed file's text, whose password files are relative to `folder`. Raises SeedError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SeedError(f"The seed file is not TOML: {error}.") from error
    unknown = document.keys() - _PARSERS.keys()
    if unknown:
        raise SeedError(f"The seed file has unknown tables: {', '.join(sorted(unknown))}.")
    return [_parsed(kind, number, table, folder) for kind in _PARSERS for number, table in _tables(document, kind)]


def apply(connection: Connection[TupleRow], items: list[DirectoryObject]) -> Seeded:
    """Add the objects that the directory does not hold yet, in the caller's transaction; nothing else is changed.

    Raises what store.add raises.
    """
    added = 0
    for item in items:
        if not store.holds(connection, item):
            store.add(connection, item)
            added += 1
    return Seeded(added, len(items) - added)


def _tables(document: Mapping[str, Any], kind: str) -> list[tuple[int, Any]]:
    tables = document.get(kind, [])
    if not isinstance(tables, list):
        raise SeedError(f"Write [[{kind}]], with two brackets: there may be several.")
    return list(enumerate(tables, start=1))


class _Table:
    """One table of the file, whose keys are taken out one by one, so that what is left over is known to be unknown."""

    def __init__(self, kind: str, number: int, values: object, folder: Path) -> None:
        self.name = f"[[{kind}]] number {number}"
        self.folder = folder
        if not isinstance(values, dict):
            raise SeedError(f"{self.name} is not a table.")
        self._left = dict(values)

    def take(self, key: str, kind: type[Any] = str, default: Any = None) -> Any:  # noqa: ANN401 - as the file has it
        """Return a value, or the default of a key that is not there; None is the default of a required key."""
        value = self._left.pop(key, default)
        if value is None:
            raise SeedError(f"{self.name} has no {key}.")
        # Not isinstance: a bool is an int and a datetime is a date, and neither is meant.
        if type(value) is not kind:
            raise SeedError(f"{self.name}: {key} is not a {_TYPE_NAMES[kind]}.")
        return value

    def maybe(self, key: str, kind: type[Any] = str) -> Any:  # noqa: ANN401 - as the file has it
        """Return a value, or None when the key is not there."""
        return self.take(key, kind) if key in self._left else None

    def finish(self) -> None:
        """Refuse what nobody asked for: a misspelt key would otherwise be a silent default."""
        if self._left:
            raise SeedError(f"{self.name} has unknown keys: {', '.join(sorted(self._left))}.")


_TYPE_NAMES: Final[dict[type[Any], str]] = {
    str: "string", int: "number", dict: "table", list: "list", date: "date",
}  # fmt: skip


def _parsed(kind: str, number: int, values: object, folder: Path) -> DirectoryObject:
    table = _Table(kind, number, values, folder)
    item = _PARSERS[kind](table)
    table.finish()
    return item


def _party(table: _Table) -> Party:
    return Party(table.take("code"), table.take("name"), table.take("kind"))


def _flow(table: _Table) -> Flow:
    size_limit = table.take("size_limit", int, DEFAULT_SIZE_LIMIT)
    interface = table.take("interface", dict, {})
    try:
        parse_interface(interface, table.name)
    except ProfilesInvalidError as error:
        raise SeedError(f"The seed file is not usable: {error}.") from error
    if not 1 <= size_limit <= MAX_SIZE_LIMIT:
        raise SeedError(f"{table.name}: size_limit is not a number from 1 to {MAX_SIZE_LIMIT}.")
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
        raise SeedError(f"{table.name} needs either mailbox or remote.")
    target = mailbox if remote is None else parse_remote(remote)
    if target is None:
        raise SeedError(f"{table.name}: remote is not user@domain.")
    return Address(table.take("address"), table.take("party"), table.maybe("flow"), target)


def _connection(table: _Table) -> FlowConnection:
    dates = (table.take("valid_from", date), table.maybe("valid_until", date))
    return FlowConnection(table.take("address"), table.take("flow"), *dates)


def _credential(table: _Table) -> Credential:
    services = table.take("services", list)
    return Credential(
        login=table.take("login"),
        party=table.take("party"),
        password_hash=_password_hash(table),
        services=tuple(str(service) for service in services),
        mailbox=table.maybe("mailbox"),
    )


def _password_hash(table: _Table) -> str:
    stored, file = table.maybe("password_hash"), table.maybe("password_file")
    if (stored is None) == (file is None):
        raise SeedError(f"{table.name} needs either password_hash or password_file.")
    if stored is not None:
        return str(stored)
    try:
        return passwords.hash_password(first_line(table.folder / file))
    except (OSError, ValueError) as error:
        raise SeedError(f"{table.name}: the password in {file} cannot be used: {error}") from error


def first_line(path: Path) -> bytes:
    """Return the first line of a password file without its line end. Raises OSError."""
    with path.open("rb") as stream:
        return stream.readline(_MAX_PASSWORD_LINE).rstrip(b"\r\n")


_MAX_PASSWORD_LINE: Final = 4096
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
