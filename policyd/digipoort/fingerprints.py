"""Fingerprints of client certificates, as the directory spells them: SHA-256 of the whole certificate, in pairs.

Postfix computes the same with `smtpd_tls_fingerprint_digest = sha256`.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import Final

_FINGERPRINT: Final = re.compile(r"[0-9A-F]{64}|(?:[0-9A-F]{2}:){31}[0-9A-F]{2}")
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint in capitals with colons, from any spelling with or without them.

    Raises ValueError, with a sentence, for what is none: one of SHA-1 has 40 digits.
    """
    spelt = text.strip().upper()
    if _FINGERPRINT.fullmatch(spelt) is None:
        raise ValueError(f"{text!r} is no SHA-256 fingerprint: 64 digits of 0-9 and A-F, with or without colons.")
    return _in_pairs(spelt.replace(":", ""))


def fingerprint_of(pem: str) -> str:
    """Return the fingerprint of the first certificate in a PEM text: a chain begins with the party's own.

    Raises ValueError, with a sentence.
    """
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("There is no certificate in PEM form in it.")
    try:
        certificate = ssl.PEM_cert_to_DER_cert(found[0])
        # What OpenSSL cannot read here, no client can present.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except (ValueError, ssl.SSLError):
        raise ValueError("The certificate in it is damaged.") from None
    return _in_pairs(hashlib.sha256(certificate).hexdigest().upper())


def _in_pairs(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
