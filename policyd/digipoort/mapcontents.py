"""What the published files hold: lines of Postfix tables and the milter's profiles, made of the directory.

Either all of it, or what the change log says has changed: then the two tables that grow with the directory (`mailbox`
and `virtual_alias`) are the published texts with some lines changed, and the rest, which is small, is made again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from digipoort import mapfiles
from digipoort.directory import queries
from digipoort.interface.profile import ProfilesInvalidError
from digipoort.profiles import parse_profiles
from digipoort.resubmission import Policy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from digipoort.settings import AdminSettings

PROFILES_VERSION: Final = 1
ALIAS: Final = "virtual_alias"
MAILBOX: Final = "mailbox"
PROFILES: Final = "profiles.json"


class PublishError(Exception):
    """The directory's contents cannot be published on this host; the message is a sentence for the admin."""


@dataclass(frozen=True, slots=True)
class _Route:
    """A physical domain's row of the directory."""

    domain: str
    nexthop: str
    tls_level: str
    tls_match: str | None
    transport: str

    def tls_policy(self) -> str:
        """Return the right-hand side of smtp_tls_policy_maps; levels that compare no name or fingerprint take none."""
        if self.tls_match is None or self.tls_level in {"encrypt", "dane-only"}:
            return self.tls_level
        return f"{self.tls_level} match={self.tls_match}"


@dataclass(frozen=True, slots=True)
class Touched:
    """What the change log names: logical addresses, mailboxes, and rows of targets; `files` when any file is."""

    files: bool
    addresses: frozenset[str]
    mailboxes: frozenset[str]
    targets: frozenset[int]


def touched(rows: Iterable[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]) -> Touched | None:
    """Return what rows of the change log (object, before, after) touch, None when it may be everything."""
    addresses: set[str] = set()
    mailboxes: set[str] = set()
    targets: set[int] = set()
    files = False
    for kind, before, after in rows:
        states = [state for state in (before, after) if state is not None]
        files = True
        if not states:
            return None
        if kind == "destination" and len({state["domain"] for state in states}) > 1:
            return None
        if kind == "address":
            addresses.update(state["address"] for state in states)
        if kind == "target":
            targets.update(state["id"] for state in states)
            mailboxes.update(state["mailbox"] for state in states if state["mailbox"] is not None)
    return Touched(files, frozenset(addresses), frozenset(mailboxes), frozenset(targets))


def write_all(connection: Connection[TupleRow], settings: AdminSettings, staging: Path) -> dict[str, int]:
    """Write every file's new text into `staging` and return how many entries each has. Raises PublishError."""
    connection.execute(queries.SORT_IN_MEMORY)
    counts = _write_small(connection, settings, staging)
    first, second = sorted(f"@{name} {settings.mailbox_transport}" for name in _mailbox_names(settings))
    copied: dict[str, tuple[LiteralString, dict[str, Any]]] = {
        MAILBOX: (queries.COPY_MAILBOXES, {"first": first, "second": second}),
        ALIAS: (queries.COPY_ALIASES, {"mailbox_domain": settings.mailbox_domain.lower()}),
    }
    for name, (query, parameters) in copied.items():
        lines = _copied(connection, query, parameters | {"lines": queries.LINES_A_ROW})
        counts[name] = mapfiles.write_text(staging / name, lines)
    return counts


def write_changes(
    connection: Connection[TupleRow], settings: AdminSettings, staging: Path, last: int
) -> tuple[dict[str, int], dict[str, mapfiles.Difference]] | None:
    """Write the texts as `write_all` does, of the published ones and what was logged after the change `last`.

    A large text in which no line can have changed is not written. Return how many entries each written file has, and
    what is different in the large ones; (empty, empty) when no file is concerned; None when it may be more than
    MOST_IN_PLACE lines: then write all. Raises PublishError.
    """
    most = mapfiles.MOST_IN_PLACE
    rows = connection.execute(queries.CHANGED_SINCE, {"last": last, "most": most + 1}).fetchall()
    changed = touched(rows) if len(rows) <= most else None
    if changed is None:
        return None
    if not changed.files:
        return {}, {}
    aliases = _changed_aliases(connection, settings, changed)
    if aliases is None:
        return None
    counts = _write_small(connection, settings, staging)
    different = {}
    for name, lines in ((MAILBOX, _changed_mailboxes(connection, settings, changed)), (ALIAS, aliases)):
        if not lines:
            continue
        published = settings.maps_directory / name
        different[name] = mapfiles.patch(published, staging / name, lines)
        counts[name] = mapfiles.count_lines(staging / name)
    return counts, different


def _changed_aliases(
    connection: Connection[TupleRow], settings: AdminSettings, changed: Touched
) -> dict[bytes, bytes | None] | None:
    """Return the line of each touched address, None for one that is gone; None for all when they are too many."""
    most = mapfiles.MOST_IN_PLACE
    parameters = {"addresses": list(changed.addresses), "targets": list(changed.targets), "most": most + 1}
    rows = connection.execute(queries.ALIASES_OF, parameters).fetchall()
    if len(rows) > most:
        return None
    lines: dict[bytes, bytes | None] = dict.fromkeys(address.encode("ascii") for address in changed.addresses)
    domain = settings.mailbox_domain.lower()
    for address, mailbox, remote in rows:
        lines[address.encode("ascii")] = _line(address, remote if mailbox is None else f"{mailbox}@{domain}")
    return lines


def _changed_mailboxes(
    connection: Connection[TupleRow], settings: AdminSettings, changed: Touched
) -> dict[bytes, bytes | None]:
    there = {row[0] for row in connection.execute(queries.MAILBOXES_OF, {"mailboxes": list(changed.mailboxes)})}
    lines: dict[bytes, bytes | None] = {}
    for mailbox in changed.mailboxes:
        for name in _mailbox_names(settings):
            key = f"{mailbox}@{name}"
            lines[key.encode("ascii")] = _line(key, settings.mailbox_transport) if mailbox in there else None
    return lines


def domain_clash(domain: str, settings: AdminSettings) -> str | None:
    """Return, in a sentence, why a domain cannot be a physical one on this gateway, or None when it can.

    An entry in transport_maps overrides relay_transport: a logical domain there would go past acceptance.
    """
    if domain in settings.logical_domains:
        return f"The domain {domain} is a logical domain: it cannot be a physical one too."
    mailboxes = settings.mailbox_domain.lower()
    if domain in {mailboxes, f"receipts.{mailboxes}"}:
        return f"The domain {domain} is the domain of the mailboxes (MAILBOX_DOMAIN): it cannot be a destination's."
    return None


def _write_small(connection: Connection[TupleRow], settings: AdminSettings, staging: Path) -> dict[str, int]:
    """Write what does not grow with the number of addresses: destinations, flows, and the flow of each that has one."""
    routes = [_Route(*row) for row in connection.execute(queries.ALL_DESTINATIONS)]
    for route in routes:
        clash = domain_clash(route.domain, settings)
        if clash is not None:
            raise PublishError(clash)
    profiles = _profiles(connection) | _physical_domains(routes, settings)
    encoded = _encoded(profiles)
    try:
        parse_profiles(encoded)
    except ProfilesInvalidError as error:
        raise PublishError(f"The milter could not read these flows: {error}.") from error
    mapfiles.write_text(staging / PROFILES, [encoded])
    texts = {"tls_policy": _tls_policies(routes), "transport": _transports(routes)}
    counts = {name: mapfiles.write_text(staging / name, lines) for name, lines in texts.items()}
    return counts | {"flows": len(profiles["flows"])}


def _mailbox_names(settings: AdminSettings) -> tuple[str, str]:
    """Return both names of the mailboxes' domain: the one of all mail, and the one of receipts (receipts.pcre)."""
    domain = settings.mailbox_domain.lower()
    return domain, f"receipts.{domain}"


def _copied(connection: Connection[TupleRow], query: LiteralString, parameters: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the lines of a COPY, very many at a time: a large directory does not fill this host's memory."""
    with connection.cursor() as cursor, cursor.copy(query, parameters) as copy:
        for row in copy:
            yield bytes(row).replace(rb"\n", b"\n")


def _tls_policies(routes: Collection[_Route]) -> list[bytes]:
    """Return a line per nexthop, which is what smtp_tls_policy_maps is searched by, [], port and all, in lower case."""
    policies: dict[str, _Route] = {}
    for route in routes:
        known = policies.setdefault(route.nexthop.lower(), route)
        if known.tls_policy() != route.tls_policy():
            raise PublishError(
                f"The destinations {known.domain} and {route.domain} have the nexthop {route.nexthop}, but different "
                "TLS settings: Postfix has one policy per nexthop."
            )
    return sorted(_line(nexthop, route.tls_policy()) for nexthop, route in policies.items())


def _transports(routes: Collection[_Route]) -> list[bytes]:
    return sorted(_line(route.domain, f"{route.transport}:{route.nexthop.lower()}") for route in routes)


def _line(key: str, value: str) -> bytes:
    return f"{key} {value}\n".encode("ascii")


def _profiles(connection: Connection[TupleRow]) -> dict[str, Any]:
    """Return the milter's flow profiles, format version 1 (digipoort.profiles reads it)."""
    flows: dict[str, dict[str, Any]] = {}
    for code, size_limit, interface, resubmission in connection.execute(queries.PUBLISHED_FLOWS):
        flows[code] = {"size_limit": size_limit, "interface": interface}
        if resubmission != Policy.TELL:
            flows[code]["resubmission"] = resubmission
    addresses: dict[str, str] = dict(connection.execute(queries.PUBLISHED_FLOW_ADDRESSES).fetchall())
    return {"version": PROFILES_VERSION, "addresses": addresses, "flows": flows}


def _physical_domains(routes: Collection[_Route], settings: AdminSettings) -> dict[str, list[str]]:
    """Return what no agency may name in a header; a domain that has logical ones below it is no secret."""
    logical = settings.logical_domains
    hidden = [route.domain for route in routes if not any(domain.endswith(f".{route.domain}") for domain in logical)]
    return {"physical_domains": sorted(hidden)} if hidden else {}


def _encoded(profiles: dict[str, Any]) -> bytes:
    return json.dumps(profiles, indent=1, sort_keys=True).encode("ascii") + b"\n"
