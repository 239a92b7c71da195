"""The sample parties: what an admin would enter for two agencies and a few traders, and what a party then knows."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.sandbox import layout as names
from tests.sandbox.agency import REFUSED_LOCAL_PART
from tests.sandbox.interfaces import LENIENT_INTERFACE, STRICT_INTERFACE
from tests.sandbox.pki import SUBJECT, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.layout import Layout

PARTY_DOMAIN: Final = "partij.digipoort.test"
AGENCY_DOMAIN: Final = "overheid.digipoort.test"
# A flow whose limit the tests reach quickly.
SMALL_FLOW: Final = "SHS"
SMALL_LIMIT: Final = 20_000
STRICT_FLOW: Final = "NCTS"
LENIENT_FLOW: Final = "CID"
INTERFACES: Final = {STRICT_FLOW: STRICT_INTERFACE, LENIENT_FLOW: LENIENT_INTERFACE}


@dataclass(frozen=True, slots=True)
class Trader:
    """A private party of the sandbox with one address, one mailbox and one login."""

    key: str
    code: str
    name: str
    login: str
    local_part: str
    mailbox: str
    services: tuple[str, ...] = ("pop3", "submission")
    all_flows_but: tuple[str, ...] = ()
    valid: tuple[str, str] = ("2020-01-01", "")

    @property
    def address(self) -> str:
        """The trader's logical address."""
        return f"{self.local_part}@{PARTY_DOMAIN}"


TRADERS: Final = (
    Trader("TRADER", "AALSMEER", "Bloemenimport Aalsmeer B.V.", "k7-inlog", "bloemen", "b1f0aa27c3d94e01"),
    Trader(
        "TRADER2", "MAASVLAKTE", "Maasvlakte Expeditie B.V.", "q4-inlog", "expeditie", "93d2c07be8814f02",
        all_flows_but=("EMCS",),
    ),
    Trader(
        "EXPIRED", "VOORHEEN", "Voorheen Handel B.V.", "v9-inlog", "voorheen", "4c11d8e2a7b04f03",
        valid=("2020-01-01", "2021-12-31"),
    ),
    Trader(
        "POP3_ONLY", "LEZER", "Alleen Lezen B.V.", "l3-inlog", "lezer", "77aa91c0d2e84f04",
        services=("pop3",),
    ),
    Trader("INACTIVE", "GESTOPT", "Gestopt B.V.", "g2-inlog", "gestopt", "0d5e66f1b3c74f05"),
    Trader("SEALED", "ZEGEL", "Zegel Transport B.V.", "z5-inlog", "zegel", "5b9e20d4a6f14f06"),
)  # fmt: skip
# Further logins of SEALED, and what their certificates (pki.py) must have.
SEALED_LOGINS: Final = {"PINNED": "z5-vast", "NAMED": "z5-naam", "BEARER": "z5-houder"}
# Further logins of TRADER2, which may not be used now, or not from here.
BOUND_LOGINS: Final[Mapping[str, tuple[str, dict[str, str | list[str]]]]] = {
    "ENDED": ("m3-voorbij", {"valid_until": "2020-12-31"}),
    "EARLY": ("m3-straks", {"valid_from": "2999-01-01"}),
    "ELSEWHERE": ("m3-kantoor", {"networks": ["192.0.2.0/24", "2001:db8::/32"]}),
    "HERE": ("m3-lokaal", {"networks": ["127.0.0.0/8"]}),
}
AGENCY_LOGIN: Final = "douane-uitgaand"
AGENCY_ADDRESSES: Final = {
    "AGS_ADDRESS": ("ags", "AGS", "DOUANE"),
    "EMCS_ADDRESS": ("emcs", "EMCS", "DOUANE"),
    "REJECT_ADDRESS": ("controle", "AGS", "DOUANE"),
    "SMALL_ADDRESS": ("provianderen", SMALL_FLOW, "DOUANE"),
    "STRICT_ADDRESS": ("transit", STRICT_FLOW, "DOUANE"),
    "LENIENT_ADDRESS": ("informatie", LENIENT_FLOW, "DOUANE"),
}
# The physical local parts differ from the logical ones, so that a search for them finds every disclosure.
PHYSICAL: Final = {
    "AGS_ADDRESS": "intake-ags-07",
    "EMCS_ADDRESS": "intake-emcs-02",
    "REJECT_ADDRESS": REFUSED_LOCAL_PART,
    "SMALL_ADDRESS": "intake-shs-01",
    "STRICT_ADDRESS": "intake-ncts-04",
    "LENIENT_ADDRESS": "intake-cid-05",
}


def seed(layout: Layout, environment: dict[str, str]) -> dict[str, str]:
    """Enter flows and sample parties; return the password per key, e.g. TRADER."""
    _digipoort(environment, "seed")
    flows = [flow["code"] for flow in json.loads(_digipoort(environment, "flow", "list", "--json"))]
    # Hexadecimal: a password that begins with a hyphen is an option to some clients.
    keys = (*(trader.key for trader in TRADERS), *SEALED_LOGINS, *BOUND_LOGINS, "AGENCY")
    passwords = {key: secrets.token_hex(9) for key in keys}
    folder = layout.settings / "passwords"
    folder.mkdir(mode=0o700)
    for key, password in passwords.items():
        path = folder / key
        path.touch(mode=0o600)
        path.write_text(password, encoding="ascii")
    source = folder / "parties.toml"
    source.write_text(_description(layout, flows), encoding="utf-8")
    _digipoort(environment, "seed", str(source))
    _digipoort(environment, "credential", "disable", _trader("INACTIVE").login)
    _digipoort(environment, "flow", "limit", SMALL_FLOW, str(SMALL_LIMIT))
    for code, interface in INTERFACES.items():
        file = layout.settings / f"interface-{code}.json"
        file.touch(mode=0o640)
        file.write_text(json.dumps(interface), encoding="utf-8")
        _digipoort(environment, "flow", "interface", code, str(file))
    return passwords


def environment(passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of `.instance/env` that tell about parties."""
    values = {key: agency_address(key) for key in AGENCY_ADDRESSES}
    for trader in TRADERS:
        values[f"{trader.key}_LOGIN"] = trader.login
        values[f"{trader.key}_PASSWORD"] = passwords[trader.key]
        values[f"{trader.key}_ADDRESS"] = trader.address
    for key, (login, _) in BOUND_LOGINS.items():
        values |= {f"{key}_LOGIN": login, f"{key}_PASSWORD": passwords[key]}
    for key, login in SEALED_LOGINS.items():
        values |= {
            f"{key}_LOGIN": login,
            f"{key}_PASSWORD": passwords[key],
            f"{key}_ADDRESS": _trader("SEALED").address,
        }
    return values | {
        "AGENCY_LOGIN": AGENCY_LOGIN,
        "AGENCY_PASSWORD": passwords["AGENCY"],
        "SMALL_LIMIT": str(SMALL_LIMIT),
    }


def agency_address(key: str) -> str:
    """Return the logical address of an agency by its key, e.g. AGS_ADDRESS."""
    return f"{AGENCY_ADDRESSES[key][0]}@{AGENCY_DOMAIN}"


def _trader(key: str) -> Trader:
    return next(trader for trader in TRADERS if trader.key == key)


def _description(layout: Layout, flows: list[str]) -> str:
    """Return the seed file, in the format that `digipoort seed` documents."""
    tables = [
        _table(
            "destination",
            domain=names.PHYSICAL_DOMAIN,
            nexthop=f"[127.0.0.1]:{layout.ports.agency}",
            tls_level="secure",
            tls_match=names.AGENCY_HOST,
        )
    ]
    tables += [
        _table(
            "address",
            address=f"{local_part}@{AGENCY_DOMAIN}",
            party=party,
            flow=flow,
            remote=f"{PHYSICAL[key]}@{names.PHYSICAL_DOMAIN}",
        )
        for key, (local_part, flow, party) in AGENCY_ADDRESSES.items()
    ]
    tables.append(
        _table("credential", login=AGENCY_LOGIN, party="DOUANE", services=["submission"], password_file="AGENCY")  # noqa: S106
    )
    for trader in TRADERS:
        tables += _trader_tables(trader, flows)
    tables += _sealed_tables(layout) + _bound_tables(_trader("TRADER2"))
    return "\n".join(tables)


def _trader_tables(trader: Trader, flows: list[str]) -> list[str]:
    valid_from, valid_until = trader.valid
    until = {"valid_until": valid_until} if valid_until else {}
    return [
        _table("party", code=trader.code, name=trader.name, kind="private"),
        _table("mailbox", mailbox=trader.mailbox, party=trader.code),
        _table("address", address=trader.address, party=trader.code, mailbox=trader.mailbox),
        _table(
            "credential",
            login=trader.login,
            party=trader.code,
            services=list(trader.services),
            mailbox=trader.mailbox,
            password_file=trader.key,
        ),
        *(
            _table("connection", address=trader.address, flow=flow, valid_from=valid_from, **until)
            for flow in flows
            if flow not in trader.all_flows_but
        ),
    ]


def _bound_tables(trader: Trader) -> list[str]:
    common: dict[str, str | list[str] | bool] = {
        "party": trader.code,
        "services": ["pop3", "submission"],
        "mailbox": trader.mailbox,
    }
    return [
        _table("credential", login=login, password_file=key, **common, **bounds)
        for key, (login, bounds) in BOUND_LOGINS.items()
    ]


def _sealed_tables(layout: Layout) -> list[str]:
    wanted: dict[str, dict[str, str | bool]] = {
        "PINNED": {"certificate_fingerprint": fingerprint(layout.pki / "client-pinned.pem")},
        "NAMED": {"certificate_subject": SUBJECT},
        "BEARER": {
            "certificate_fingerprint": fingerprint(layout.pki / "client-bearer.pem"),
            "certificate_suffices": True,
        },
    }
    return [
        _table("credential", login=login, party="ZEGEL", services=["submission"], password_file=key, **wanted[key])
        for key, login in SEALED_LOGINS.items()
    ]


def _table(section: str, /, **values: str | list[str] | bool) -> str:
    # Dates are TOML's own; a JSON string or list is also a TOML one.
    lines = (f"{key} = {value if key.startswith('valid_') else json.dumps(value)}\n" for key, value in values.items())
    return f"[[{section}]]\n{''.join(lines)}"


def _digipoort(environment: dict[str, str], *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "digipoort.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"digipoort {' '.join(arguments)}: {result.stdout}{result.stderr}")
    return result.stdout
