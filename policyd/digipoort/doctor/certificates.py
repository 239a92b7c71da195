"""The gateway's certificates and keys: until when they are good, do they belong together, who can read the keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor import pem
from digipoort.doctor.findings import Finding, fault, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digipoort.doctor.dovecotconfig import DovecotConfig
    from digipoort.doctor.host import Host
    from digipoort.doctor.pem import Pair
    from digipoort.doctor.postfixconfig import PostfixConfig, Service

_FINGERPRINT: Final = re.compile(r"(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}")
WARNING_TIME: Final = timedelta(days=30)
FAULT_TIME: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Use:
    """Certificates and what they are for: the files, key first, as Postfix reads them.

    Who can read the hop's key (`sole`) can submit in any party's name.
    """

    check: str
    files: tuple[Path, ...]
    host_name: str = ""
    sole: bool = False
    renew: str = ""


@dataclass(frozen=True, slots=True)
class HopTrust:
    """The hop's certificate, and which ones the two ends of the hop take: by the words of master.cf."""

    fingerprint: str
    by_hop: frozenset[str]
    by_acceptance: str
    acceptance_files: tuple[Path, ...]
    files: tuple[Path, ...]


def examine(host: Host) -> list[Finding]:
    """Look at every certificate that Postfix and Dovecot use."""
    if isinstance(host.postfix, str):
        return []
    found: list[Finding] = []
    now = datetime.now(UTC)
    for use in uses(host.postfix, None if isinstance(host.dovecot, str) else host.dovecot):
        try:
            pairs = pem.pairs(use.files, use.host_name)
        except pem.PemError as error:
            found.append(fault(use.check, str(error), "the files that main.cf and master.cf name"))
        except FileNotFoundError as error:
            found.append(fault(use.check, f"{error.filename} is not there", use.renew))
        except (IsADirectoryError, NotADirectoryError) as error:
            found.append(fault(use.check, f"{error.filename} is no file", "the files that main.cf and master.cf name"))
        else:
            for pair in pairs:
                found += judge(use, pair, now)
            if use.sole:
                found += judge_trust(trust(host.postfix, pairs[0], use))
    return found


def judge(use: Use, pair: Pair, now: datetime) -> list[Finding]:
    """Return what is to be said of a certificate and its key."""
    found = []
    left = pair.ends - now
    ends = f"{pair.certificate_file} {'ended' if left < timedelta() else 'ends'} on {pair.ends:%Y-%m-%d}"
    if not pair.key_matches:
        text = f"{pair.key_file} is not the key of {pair.certificate_file}"
        found.append(fault(use.check, text, "the files of one renewal, both"))
    if use.sole and (pair.key_uid != 0 or pair.key_mode & 0o077):
        text = f"{pair.key_file} is not root's alone: who reads it can submit in any party's name"
        found.append(fault(use.check, text, "a new key and certificate for the hop; then look who did that"))
    elif pair.key_uid != 0 or pair.key_mode & 0o037:
        text = f"{pair.key_file} is owned by {pair.key_uid}, mode {pair.key_mode:04o}"
        found.append(fault(use.check, text, "chown root, chmod 0600; a new key if others may have read it"))
    if left < FAULT_TIME:
        found.append(fault(use.check, ends, use.renew))
    elif left < WARNING_TIME:
        found.append(warning(use.check, ends, use.renew))
    if not pair.names_host:
        text = f"{pair.certificate_file} is not for {use.host_name}: clients that check names refuse it"
        found.append(warning(use.check, text, "a certificate for that name; none where parties use another one"))
    return found or [ok(use.check, f"{ends}, its key is {pair.key_file}")]


def judge_trust(trust: HopTrust) -> list[Finding]:
    """Tell whether the two ends of the hop know the one certificate that is there."""
    remedy = "the playbook; until then no message gets a verdict"
    found = []
    if trust.by_hop != {trust.fingerprint}:
        found.append(fault("hop", "master.cf has another fingerprint (hop, tlsproxy-hop) than its certificate", remedy))
    if trust.fingerprint not in trust.by_acceptance:
        found.append(fault("hop", "acceptance does not take the hop's certificate (relay_clientcerts)", remedy))
    elif len(_FINGERPRINT.findall(trust.by_acceptance)) > 1 or not trust.by_acceptance.startswith("inline:"):
        found.append(
            fault("hop", "acceptance takes more certificates than the hop's (relay_clientcerts)", "the playbook")
        )
    if set(trust.acceptance_files) != set(trust.files):
        found.append(
            fault("hop", "acceptance shows another certificate than the hop's (smtpd_tls_chain_files)", remedy)
        )
    return found or [ok("hop", "both ends of the hop know its certificate, and no other")]


def uses(postfix: PostfixConfig, dovecot: DovecotConfig | None) -> Iterator[Use]:
    """Yield the certificates that are in use, each list of files once."""
    name = postfix.main["myhostname"]
    renew = "renew it, then reload Postfix and Dovecot: they keep the old one until then"
    own = {files_of(postfix.value(door, "smtpd_tls_chain_files")) for door in postfix.submission}
    if dovecot is not None:
        own.add((Path(dovecot.key), Path(dovecot.certificate)))
    yield from (Use("certificate", files, name, renew=renew) for files in sorted(own) if files)
    if hop := postfix.named("hop"):
        files = _hop_files(postfix, hop)
        yield Use("hop", files, sole=True, renew="the playbook makes a new one (remove the old files first)")
    agencies = {files_of(postfix.main.get("smtp_tls_chain_files", ""))}
    agencies |= {
        files_of(postfix.value(one, "smtp_tls_chain_files"))
        for one in postfix.services
        if one.name.startswith("agency-")
    }
    renew = "renew it with whoever issued it; agencies that ask for it refuse us after that day"
    yield from (Use("agency client", files, renew=renew) for files in sorted(agencies) if files)


def trust(postfix: PostfixConfig, pair: Pair, use: Use) -> HopTrust:
    """Return what master.cf says of the hop's certificate."""
    ends = [one for name in ("hop", "tlsproxy-hop") if (one := postfix.named(name)) is not None]
    door = next(iter(postfix.acceptance), None)
    return HopTrust(
        fingerprint=pair.fingerprint,
        by_hop=frozenset(postfix.value(one, "smtp_tls_fingerprint_cert_match").upper() for one in ends),
        by_acceptance=postfix.value(door, "relay_clientcerts") if door else "",
        acceptance_files=files_of(postfix.value(door, "smtpd_tls_chain_files")) if door else (),
        files=use.files,
    )


def _hop_files(postfix: PostfixConfig, hop: Service) -> tuple[Path, ...]:
    keys = (postfix.value(hop, f"smtp_tls_{kind}_file") for kind in ("key", "cert"))
    return tuple(Path(one) for one in keys if one) or files_of(postfix.value(hop, "smtp_tls_chain_files"))


def files_of(value: str) -> tuple[Path, ...]:
    """Return the files that a setting names."""
    return tuple(map(Path, value.replace(",", " ").split()))
