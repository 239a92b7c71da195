"""Whatever a directory holds: exported, and applied to an empty one, it is the same; and nothing is left to change."""

from __future__ import annotations

from base64 import b64encode
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digipoort.directory import description, plan, snapshot
from digipoort.directory.objects import (
    Address,
    Credential,
    Destination,
    DirectoryObject,
    Flow,
    FlowConnection,
    Mailbox,
    Party,
    Remote,
    key_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psycopg import Connection
    from psycopg.rows import TupleRow

# PostgreSQL's text holds every character but NUL.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
INTERFACES = st.fixed_dictionaries(
    {},
    optional={
        "max_depth": st.integers(1, 20),
        "checks": st.just({"DGP-3005": False}),
        "required_headers": st.lists(st.sampled_from(["From", "Subject"]), unique=True, max_size=2),
    },
)
DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))


@st.composite
def directories(draw: st.DrawFn) -> list[DirectoryObject]:
    """Draw a directory that the schema's constraints allow."""
    agency = Party("AGENCY", draw(NAMES), "government", draw(st.booleans()))
    traders = [
        Party(f"P{number}", draw(NAMES), "private", draw(st.booleans())) for number in range(draw(st.integers(0, 3)))
    ]
    flows = [
        Flow(f"F{number}", draw(NAMES), "AGENCY", draw(st.integers(1, 2**40)), draw(INTERFACES), draw(_POLICIES))
        for number in range(draw(st.integers(1, 3)))
    ]
    destinations = [
        Destination(f"d{number}.test", draw(_NEXTHOPS), *draw(_TLS), draw(st.sampled_from(["smtp", "agency-slow"])))
        for number in range(draw(st.integers(1, 2)))
    ]
    addresses = [
        Address(
            f"{flow.code.lower()}-{number}@gov.test", "AGENCY", flow.code, Remote(f"r{flow.code.lower()}", place.domain)
        )
        for number, place in enumerate(destinations)
        for flow in flows
    ]
    items: list[DirectoryObject] = [agency, *traders, *flows, *destinations]
    return [*items, *draw(_private(traders, flows)), *addresses]


@st.composite
def _private(draw: st.DrawFn, traders: list[Party], flows: list[Flow]) -> list[DirectoryObject]:
    items: list[DirectoryObject] = []
    # A certificate that suffices stands for one login only, and in another directory for another one.
    certificates = draw(st.permutations(range(len(traders))))
    for number, trader in enumerate(traders):
        address, box = f"t{number}@party.test", f"box{number}"
        first = draw(DAYS)
        services = draw(st.sampled_from([("pop3",), ("submission",), ("pop3", "submission")]))
        mailbox = draw(st.sampled_from([box, None])) if services == ("submission",) else box
        credential = draw(_credentials(f"l{number}", trader.code, services, mailbox))
        if credential.certificate_suffices:
            subject = f"{credential.certificate_subject} {certificates[number]}"
            credential = replace(credential, certificate_subject=subject)
        items += [
            Mailbox(box, trader.code),
            Address(address, trader.code, None, box),
            FlowConnection(
                address, draw(st.sampled_from(flows)).code, first, first + timedelta(draw(st.integers(0, 9)))
            ),
            credential,
        ]
    return items


@st.composite
def _credentials(draw: st.DrawFn, login: str, party: str, services: tuple[str, ...], mailbox: str | None) -> Credential:
    fingerprint, subject = draw(_FINGERPRINTS), draw(st.sampled_from([None, "cn", 'O\\"=x']))
    first, last = sorted([draw(DAYS), draw(DAYS)])
    return Credential(
        login,
        party,
        draw(_HASHES),
        services,
        mailbox,
        draw(st.booleans()),
        fingerprint,
        subject,
        subject is not None and "submission" in services and draw(st.booleans()),
        draw(st.sampled_from([first, None])),
        draw(st.sampled_from([last, None])),
        tuple(draw(st.lists(_NETWORKS, unique=True, max_size=4))),
    )


_FINGERPRINTS = (
    st.none()
    | st.just(":".join(["A1"] * 32))
    | st.binary(min_size=32, max_size=32).map(lambda octets: octets.hex(":").upper())
)
# Zeros in a row, and addresses with an IPv4 part, are what two programs spell in two ways.
_IPV6 = (
    st.integers(0, 2**128 - 1)
    | st.integers(0, 2**32)
    | st.lists(st.sampled_from([0, 0, 1, 0xFFFF]), min_size=8, max_size=8).map(
        lambda groups: int.from_bytes(b"".join(group.to_bytes(2, "big") for group in groups), "big")
    )
)
_NETWORKS = st.one_of(
    st.builds(IPv4Network, st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), strict=st.just(value=False)),
    st.builds(IPv6Network, st.tuples(_IPV6, st.integers(0, 128)), strict=st.just(value=False)).filter(
        lambda network: network.network_address.ipv4_mapped is None
    ),
).map(str)
_POLICIES = st.sampled_from(["accept", "refuse", "tell"])
_NEXTHOPS = st.sampled_from(["mx.d.test", "[192.0.2.1]:25", "[mx.D.test]"])
_TLS = st.sampled_from([("secure", "mx.test"), ("encrypt", None), ("fingerprint", "AB:CD")])
# Argon2id's and yescrypt's: of no known password, and distinct.
_HASHES = st.binary(min_size=32, max_size=32).map(
    lambda digest: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$" + b64encode(digest).decode().rstrip("=")
) | st.text("./0123456789abcXYZ", min_size=43, max_size=43).map(
    lambda digest: "$y$j9T$CXxsmwiB5uiWCMn/$" + digest[:42] + "."
)


@contextmanager
def _empty(connection: Connection[TupleRow]) -> Iterator[None]:
    """Run on an empty directory, and undo everything."""
    with connection.transaction(force_rollback=True):
        connection.execute("TRUNCATE credential, connection, address, target, destination, flow, party CASCADE")
        yield


def _filled(connection: Connection[TupleRow], items: list[DirectoryObject], *, passwords: bool = False) -> str:
    plan.execute(connection, plan.plan(snapshot.objects(connection), items, prune=True, passwords=passwords))
    return "".join(map(description.text_of, snapshot.objects(connection)))


@given(one=directories(), other=directories())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_export_and_apply_make_the_same_directory(directory_dsn: str, one: Any, other: Any) -> None:  # noqa: ANN401
    with psycopg.connect(directory_dsn) as connection:
        with _empty(connection):
            text = _filled(connection, one)
        described = description.parse(text, Path())
        assert sorted(map(key_of, described)) == sorted(map(key_of, one))
        with _empty(connection):
            assert _filled(connection, described) == text
            assert plan.plan(snapshot.objects(connection), described, prune=True, passwords=True) == []
        # From whatever was there before, too: what others refer to moves, changes and goes.
        with _empty(connection):
            _filled(connection, other)
            assert _filled(connection, described, passwords=True) == text
        with _empty(connection):
            _filled(connection, other)
            known = _hashes(snapshot.objects(connection))
            _filled(connection, described)
            assert _hashes(snapshot.objects(connection)) == {
                login: known.get(login, stored) for login, stored in _hashes(described).items()
            }


def _hashes(items: Iterable[DirectoryObject]) -> dict[str, object]:
    return {item.login: item.password for item in items if isinstance(item, Credential)}
