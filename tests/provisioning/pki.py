"""Certificates of a lab: one throw-away CA that gateways, agencies and parties know each other by."""

from __future__ import annotations

from dataclasses import dataclass

import trustme


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and the certificate that goes with it, in PEM."""

    key: str
    certificate: str


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA."""

    ca: trustme.CA

    @property
    def certificate(self) -> str:
        """Return its own certificate, which its members trust."""
        return self.ca.cert_pem.bytes().decode()

    def issue(self, *names: str) -> Pair:
        """Return a new pair for a server with these names."""
        leaf = self.ca.issue_cert(*names)
        return Pair(leaf.private_key_pem.bytes().decode(), leaf.cert_chain_pems[0].bytes().decode())


def authority() -> Authority:
    """Return a new CA."""
    return Authority(trustme.CA())
