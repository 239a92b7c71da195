"""Who holds a port that the gateway wants: read from what `ss -Hltnp` printed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PROCESS: Final = re.compile(r'"([^"]+)",pid=(\d+)')
_LOCAL_FIELD: Final = 3
_EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "[::]", "*"})  # noqa: S104 - compared with, not bound to


def port_holders(lines: Iterable[str], wanted: Iterable[str]) -> list[dict[str, str]]:
    """Return endpoint, program and pid of each process that listens where one of `wanted` would.

    Each of `wanted` is ADDRESS:PORT, or several addresses, separated by commas, before one port.
    """
    endpoints = [
        (address, port)
        for addresses, _, port in (endpoint.rpartition(":") for endpoint in wanted)
        for address in addresses.replace(",", " ").split()
    ]
    holders = []
    for line in lines:
        fields = line.split()
        if len(fields) <= _LOCAL_FIELD:
            continue
        host, _, port = fields[_LOCAL_FIELD].rpartition(":")
        if any(port == own_port and _same(host.partition("%")[0], own) for own, own_port in endpoints):
            holders += [
                {"endpoint": fields[_LOCAL_FIELD], "program": program, "pid": pid}
                for program, pid in _PROCESS.findall(line) or [("a program that ss cannot name", "0")]
            ]
    return holders


def _same(one: str, other: str) -> bool:
    # "*" is what ss calls a socket for both families; Postfix and Dovecot bind "::" for IPv6 only.
    if "*" in (one, other):
        return True
    if one.startswith("[") != other.startswith("["):
        return False
    return one == other or one in _EVERY_ADDRESS or other in _EVERY_ADDRESS


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by the names that templates use."""
        return {"port_holders": port_holders}
