"""The interfaces of the sandbox's two unusual flows: one checks all it can, the other as little as it can."""

from __future__ import annotations

from typing import Any, Final

from digipoort.interface.profile import CEILINGS, CHECK_CODES, GUARDS

STRICT_INTERFACE: Final[dict[str, Any]] = {
    "checks": {"DGP-3031": True, "DGP-3032": True},
    "required_headers": ["From", "Date", "Message-ID", "To", "Subject"],
    "single_headers": ["From", "Date", "Message-ID", "Sender", "Reply-To", "Subject", "Keywords"],
    "max_header_octets": 2_000,
    "max_header_fields": 12,
    "max_field_octets": 400,
    "max_line_octets": 200,
    "max_depth": 2,
    "max_parts": 5,
    "max_part_octets": 3_000,
    "max_attachments": 2,
    "max_received": 2,
    "allowed_media_types": ["text/*", "application/edifact", "application/pdf"],
    "forbidden_media_types": ["message/partial", "message/external-body", "message/rfc822", "text/html"],
    "allowed_extensions": ["edi", "pdf", "txt"],
    "forbidden_extensions": [],
    "charsets": ["us-ascii", "utf-8", "iso-8859-15"],
    "auto_submitted": ["no", "auto-generated"],
}
LENIENT_INTERFACE: Final[dict[str, Any]] = {
    "checks": {code: False for code in sorted(CHECK_CODES - GUARDS)},
    **CEILINGS,
}
