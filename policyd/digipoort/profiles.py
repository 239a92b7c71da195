"""The flow profiles: which rules a message must meet. `digipoort maps publish` writes them, the milter reads them.

A file and not the directory, so that no check stops when the directory is down. One parser for both ends, so that what
the milter could not read is never published, nor stored. The format, version 1 (JSON)::

    {"version": 1,
     "addresses": {"<government logical address, lower case>": "<flow code>", ...},
     "flows": {"<flow code>": {"size_limit": <octets>, "interface": {<overrides of InterfaceProfile>},
                               "resubmission": "accept" or "refuse"; left out: "tell"}, ...},
     "physical_domains": ["<domain of a destination, lower case>", ...]; left out: none}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort import reasons
from digipoort.interface.profile import InterfaceProfile, ProfilesInvalidError, number, parse_interface
from digipoort.resubmission import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION: Final = 1
# JSON readers agree on whole numbers up to this one (RFC 8259 section 6).
MAX_SIZE_LIMIT: Final = 2**53
_DOMAIN = re.compile(r"[a-z0-9.-]+")
_FLOW_KEYS: Final = {"size_limit", "interface", "resubmission"}


@dataclass(frozen=True, slots=True)
class FlowProfile:
    """One flow: its code, its size limit in octets, its interface, and what is done with a resubmission."""

    code: str
    size_limit: int
    interface: InterfaceProfile
    resubmission: Policy = Policy.TELL

    @property
    def refuses_reused_identifiers(self) -> bool:
        """Whether another message under the Message-ID of an earlier one is refused."""
        return reasons.MESSAGE_ID_REUSED.code not in self.interface.off

    @property
    def recognises_resubmissions(self) -> bool:
        """Whether earlier messages matter at all to the verdict or the receipt."""
        return self.resubmission is not Policy.ACCEPT or self.refuses_reused_identifiers


@dataclass(frozen=True, slots=True)
class Profiles:
    """All flows, by government logical address and by code; `physical` finds a name in the agencies' own domains."""

    flow_of_address: Mapping[str, FlowProfile]
    flows: Mapping[str, FlowProfile]
    physical: re.Pattern[bytes] | None = None

    def flow_for(self, recipients: tuple[str, ...], sender: str) -> FlowProfile | None:
        """Return the flow of the message's government address: a recipient's, else the sender's (all lower case)."""
        for address in (*recipients, sender):
            flow = self.flow_of_address.get(address)
            if flow is not None:
                return flow
        return None

    def hidden_names(self, sender: str) -> re.Pattern[bytes] | None:
        """Return what a message's header may not name when it comes from a government address; None for all others."""
        return self.physical if sender in self.flow_of_address else None


def parse_profiles(content: bytes) -> Profiles:
    """Return the profiles of a file's content.

    Raises ProfilesInvalidError when it is not JSON of the format above: unknown keys and wrong types included.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProfilesInvalidError(f"not JSON: {error}") from error
    given = _object(document, "the file")
    top = _object({"physical_domains": [], **given}, "the file", {"version", "addresses", "flows", "physical_domains"})
    if top["version"] != FORMAT_VERSION or isinstance(top["version"], bool):
        raise ProfilesInvalidError(f"version is not {FORMAT_VERSION}")
    flows = {code: _flow(code, value) for code, value in _object(top["flows"], "flows").items()}
    by_address = {}
    for address, code in _object(top["addresses"], "addresses").items():
        if not isinstance(code, str) or code not in flows:
            raise ProfilesInvalidError(f"address {address} has a flow that is not in flows")
        by_address[address.lower()] = flows[code]
    return Profiles(by_address, flows, _names_in(top["physical_domains"]))


def _names_in(domains: object) -> re.Pattern[bytes] | None:
    """Return what finds a host in one of the domains, or a domain itself, but no longer name that ends or begins so."""
    if not isinstance(domains, list) or not all(isinstance(name, str) and _DOMAIN.fullmatch(name) for name in domains):
        raise ProfilesInvalidError("physical_domains is not a list of domains")
    if not domains:
        return None
    listed = "|".join(re.escape(name) for name in sorted(domains))
    return re.compile(rf"(?<![a-z0-9-])(?:{listed})(?![a-z0-9-]|\.[a-z0-9])".encode("ascii"), re.IGNORECASE)


def _flow(code: str, value: object) -> FlowProfile:
    given = _object(value, f"flow {code}")
    item = _object({"resubmission": Policy.TELL.value, **given}, f"flow {code}", _FLOW_KEYS)
    policy = next((policy for policy in Policy if policy.value == item["resubmission"]), None)
    if policy is None:
        raise ProfilesInvalidError(f"resubmission of flow {code} is not one of {', '.join(Policy)}")
    size_limit = number(item["size_limit"], f"size_limit of flow {code}", MAX_SIZE_LIMIT)
    return FlowProfile(code, size_limit, parse_interface(item["interface"], code), policy)


def _object(value: object, what: str, keys: set[str] | None = None) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ProfilesInvalidError(f"{what} is not an object")
    if keys is not None and value.keys() != keys:
        raise ProfilesInvalidError(f"{what} must have exactly the keys {', '.join(sorted(keys))}")
    return value
