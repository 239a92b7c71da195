"""Runs last: nothing that any party saw in the whole run names a physical address, a host behind the gateway or another's login."""

from __future__ import annotations

import base64
import quopri
from typing import TYPE_CHECKING

from tests.sandbox import layout

if TYPE_CHECKING:
    from tests.integration.gateway import Gateway


def _forms(content: bytes) -> bytes:
    """Return the content as it stands and as a mail program would decode it."""
    decoded = [content, quopri.decodestring(content)]
    for line in content.split(b"\n"):
        try:
            decoded.append(base64.b64decode(line.strip(), validate=True))
        except ValueError:
            continue
    return b"\n".join(decoded).lower()


def test_no_party_saw_anything_physical(gateway: Gateway) -> None:
    secrets = [
        gateway.env["PHYSICAL_DOMAIN"], layout.AGENCY_HOST, layout.MAILBOX_DOMAIN, str(layout.CHECKOUT), str(gateway.layout.root),
        gateway.env["TRADER_LOGIN"], gateway.env["TRADER2_LOGIN"], gateway.env["AGENCY_LOGIN"],
        f":{gateway.layout.ports.acceptance}", f":{gateway.layout.ports.agency}", "remote-mta", "x-postfix",
    ]  # fmt: skip
    seen = sorted(gateway.seen.iterdir())
    for path in seen:
        content = _forms(path.read_bytes())
        for secret in secrets:
            assert secret.lower().encode() not in content, (secret, path.read_bytes())


def test_the_search_has_something_to_search(gateway: Gateway) -> None:
    contents = [path.read_bytes() for path in gateway.seen.iterdir()]
    receipts = [content for content in contents if b"multipart/report" in content]
    # One of them is the report of an agency's refusal, whose reply named the physical address.
    if len(contents) > 50:
        assert any(b"DGP-4001" in _forms(content).upper() for content in receipts)
