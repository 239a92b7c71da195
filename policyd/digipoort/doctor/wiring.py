"""Whether Postfix's configuration still has what the gateway's promises rest on: receipts, verdicts, closed doors.

Not a comparison with the templates: only what would be silent when it is changed by hand, a handful of settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from digipoort.doctor.findings import Finding, fault, ok
from digipoort.settings import MilterSettings, PolicydSettings, SaslSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from digipoort.doctor.host import Host
    from digipoort.doctor.postfixconfig import PostfixConfig, Service

_REMEDY: Final = "the playbook puts it back (main.cf and master.cf are its alone); then look who changed it"
_LOOPBACK: Final = ("127.0.0.1:", "[::1]:")


@dataclass(frozen=True, slots=True)
class Paths:
    """Our sockets and the maps, as the settings name them."""

    policyd: Path
    milters: Path
    sasl: Path
    maps: Path


@dataclass(frozen=True, slots=True)
class Must:
    """What a setting must be: `holds` is asked of its value, and `unless` tells what follows where it is not so."""

    name: str
    holds: Callable[[str], bool]
    wanted: str
    unless: str


def examine(host: Host) -> list[Finding]:
    """Compare the configuration with what must be so."""
    policyd, milters, sasl = host.of(PolicydSettings), host.of(MilterSettings), host.of(SaslSettings)
    if isinstance(host.postfix, str) or policyd is None or milters is None or sasl is None:
        return []
    paths = Paths(policyd.policyd_socket, milters.milter_directory, sasl.sasl_socket, host.settings.maps_directory)
    return judge(host.postfix, paths)


def judge(postfix: PostfixConfig, paths: Paths) -> list[Finding]:
    """Return what is not as it must be, and a line for each group where all is."""
    groups = {
        "receipts wired": _receipts(postfix, paths),
        "submission wired": _submission(postfix, paths),
        "acceptance wired": _acceptance(postfix, paths),
        "main.cf": _main(postfix, paths),
    }
    return [finding for check, wrong in groups.items() for finding in _findings(check, list(wrong))]


def _findings(check: str, wrong: list[str]) -> list[Finding]:
    return [fault(check, one, _REMEDY) for one in wrong] or [ok(check, _WELL[check])]


_WELL: Final = {
    "receipts wired": "every receipt passes the receipt milter",
    "submission wired": "policy daemon, milter and command filter, encrypted, login needed",
    "acceptance wired": "policy daemon and milter, for the hop's certificate only",
    "main.cf": "routes, limits and smuggling settings are the gateway's",
}


def _receipts(postfix: PostfixConfig, paths: Paths) -> Iterator[str]:
    unseen = "receipts would show physical addresses"
    yield from _wrong(
        postfix.main.get,
        Must("internal_mail_filter_classes", lambda value: "bounce" in _words(value), "has bounce", unseen),
        _equal("non_smtpd_milters", f"unix:{paths.milters}/milter-receipt.sock", unseen),
        _equal("milter_default_action", "tempfail", "mail would pass a milter that is down, unchecked"),
    )
    for name in ("bounce", "defer", "trace"):
        service = postfix.named(name)
        if service is None:
            yield f"master.cf has no service {name}: no receipts"
        else:
            must = _equal(
                "cleanup_service_name", "cleanup-receipt", "receipts have no room of their own in a full mailbox"
            )
            yield from _of(postfix, service, must)


def _submission(postfix: PostfixConfig, paths: Paths) -> Iterator[str]:
    if not postfix.submission:
        yield "master.cf has no service where a party can log in"
    for door in postfix.submission:
        yield from _of(
            postfix,
            door,
            _starts("smtpd_command_filter", "pcre:", "receipts come only for those who ask for them"),
            _equal("smtpd_milters", f"unix:{paths.milters}/milter-submission.sock", "messages get no reference"),
            # First: what stands before it, permit_sasl_authenticated as in every tutorial, would be the answer.
            _starts("smtpd_recipient_restrictions", _question(paths, "submission"), "any login may use any sender"),
            _has("smtpd_recipient_restrictions", "reject_unauth_destination", "the gateway relays anywhere"),
            Must(
                "smtpd_relay_restrictions",
                lambda value: [one for one in _words(value) if one.startswith("permit")]
                == ["permit_sasl_authenticated"],
                "permits permit_sasl_authenticated, and nothing else",
                "no login is asked for",
            ),
            Must(
                "smtpd_relay_restrictions",
                lambda value: _words(value)[-1:] == ["reject"],
                "ends in reject",
                "no login is needed",
            ),
            _equal("smtpd_tls_security_level", "encrypt", "passwords and messages may pass in the clear"),
            _has("receive_override_options", "no_address_mappings", "messages go past acceptance"),
            _equal("smtpd_sasl_path", str(paths.sasl), "an outage is told as a wrong password"),
        )


def _acceptance(postfix: PostfixConfig, paths: Paths) -> Iterator[str]:
    if len(postfix.acceptance) != 1:
        names = ", ".join(door.name for door in postfix.acceptance) or "none"
        yield f"master.cf has another number of doors without a login than one, acceptance: {names}"
    for door in postfix.acceptance:
        if not door.name.startswith(_LOOPBACK):
            yield f"{door.name} listens beyond this host, where only the hop may come"
        only = "permit_tls_clientcerts, reject"
        yield from _of(
            postfix,
            door,
            _equal("smtpd_client_restrictions", only, "any local process may submit in any party's name"),
            _equal("smtpd_relay_restrictions", only, "any local process may submit in any party's name"),
            _equal("smtpd_tls_ask_ccert", "yes", "the hop cannot show its certificate"),
            _equal("smtpd_tls_security_level", "encrypt", "the hop cannot show its certificate"),
            _starts("smtpd_recipient_restrictions", _question(paths, "acceptance"), "nothing is authorised"),
            _equal("smtpd_milters", f"unix:{paths.milters}/milter-acceptance.sock", "no message is checked"),
        )
    hop = postfix.named("hop")
    if hop is None:
        yield "master.cf has no service hop: no message gets to acceptance"
    else:
        yield from _of(
            postfix,
            hop,
            _equal("smtp_tls_security_level", "fingerprint", "the hop talks to whoever has the port"),
            _has("smtp_discard_ehlo_keywords", "dsn", "no positive receipts"),
        )


def _main(postfix: PostfixConfig, paths: Paths) -> Iterator[str]:
    trusts = "clients are trusted for their address"
    yield from _wrong(
        postfix.main.get,
        _equal("mynetworks", "", trusts),
        _equal("mydestination", "", "mail may be delivered to local users"),
        _equal("authorized_submit_users", "", "local users can submit without a login"),
        _equal("local_header_rewrite_clients", "", "Postfix adds headers that the interface should miss"),
        Must(
            "default_transport",
            lambda value: value.startswith(("retry:", "error:")),
            "is retry: or error:",
            "mail for a domain without a route leaves unchecked",
        ),
        _starts("relay_transport", "hop:[127.0.0.1]:", "messages go past acceptance"),
        _sole_map("virtual_alias_maps", f"{paths.maps}/virtual_alias", "addresses lead elsewhere"),
        _has("transport_maps", f"{paths.maps}/transport", "routes are not the directory's"),
        _sole_map("smtp_tls_policy_maps", f"{paths.maps}/tls_policy", "agencies' TLS is not the directory's"),
        Must(
            "smtp_tls_security_level",
            lambda value: value in {"encrypt", "verify", "secure", "dane-only"},
            "is encrypt or stricter",
            "mail may leave in the clear",
        ),
        _equal("smtpd_forbid_bare_newline", "reject", "messages may be smuggled in"),
        _equal("smtpd_forbid_bare_newline_exclusions", "", "messages may be smuggled in"),
        _equal("smtpd_tls_auth_only", "yes", "passwords may pass in the clear"),
        _equal("hop_destination_recipient_limit", "1", "recipients share a verdict"),
    )


def _question(paths: Paths, context: str) -> str:
    return f"check_policy_service {{ unix:{paths.policyd}, policy_context={context} }}"


def _equal(name: str, wanted: str, unless: str) -> Must:
    return Must(name, lambda value: _plain(value) == wanted, f"is {wanted or 'empty'}", unless)


def _has(name: str, wanted: str, unless: str) -> Must:
    return Must(name, lambda value: wanted in _plain(value), f"has {wanted}", unless)


def _sole_map(name: str, path: str, unless: str) -> Must:
    """Return that a setting names this table and no other, which would be asked before it."""
    return Must(name, lambda value: value.partition(":")[2] == path, f"is TYPE:{path}", unless)


def _starts(name: str, wanted: str, unless: str) -> Must:
    return Must(name, lambda value: _plain(value).startswith(wanted), f"begins with {wanted}", unless)


def _of(postfix: PostfixConfig, service: Service, *musts: Must) -> Iterator[str]:
    for one in _wrong(lambda name: postfix.value(service, name), *musts):
        yield f"{service.name}: {one}"


def _wrong(value: Callable[[str], str | None], *musts: Must) -> Iterator[str]:
    for must in musts:
        if not must.holds(value(must.name) or ""):
            yield f"{must.name} is not as it must be ({must.wanted}): {must.unless}"


def _plain(value: str) -> str:
    return " ".join(value.split())


def _words(value: str) -> list[str]:
    return value.replace(",", " ").split()
