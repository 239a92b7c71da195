"""From which networks a login may be used: authd asks it of POP3 and AUTH, the policy daemon of each recipient."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_network(text: str) -> str:
    """Return a network as the directory spells it, with its prefix length: `192.0.2.1/32`, `2001:db8::/48`.

    Raises ValueError, with a sentence, for what is no address and no network, and for one with bits after its prefix.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network: {error}.") from None
    if "%" in text:
        raise ValueError(f"{text!r} names an interface of one host (%), which another host does not have.")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text!r} is an IPv4 network in IPv6 form: write it as an IPv4 network.")
    return str(network)


def client_address(octets: bytes) -> _IPAddress | None:
    """Return the address that Postfix or Dovecot named, or None when it is none; `::ffff:192.0.2.1` is 192.0.2.1."""
    try:
        address = ipaddress.ip_address(octets.decode("ascii"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def admits(networks: Iterable[str], client: bytes) -> bool:
    """Tell whether a client may be there: in one of `networks`, or anywhere when there are none.

    A client whose address is unknown is nowhere. Raises ValueError for a network that parse_network would refuse.
    """
    listed = [ipaddress.ip_network(network) for network in networks]
    if not listed:
        return True
    address = client_address(client)
    return address is not None and any(address in network for network in listed)
