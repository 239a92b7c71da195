"""The world of one provisioning test: gateway hosts, an agency's mail server, a trader's computer, and who they are."""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import subprocess
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tests import bootstrap
from tests.provisioning import agency, pki, playbook
from tests.provisioning.network import DOMAIN
from tests.sandbox.clients import read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.provisioning.guest import Guest
    from tests.provisioning.lab import Lab
    from tests.sandbox.clients import Report

T = TypeVar("T")
CHECKOUT: Final = Path(__file__).resolve().parents[2]
SITE: Final = CHECKOUT / "ansible/site.yml"
PARTY_DOMAIN: Final = f"partij.{DOMAIN}"
AGENCY_DOMAIN: Final = f"overheid.{DOMAIN}"
TRADER: Final = f"bloemen@{PARTY_DOMAIN}"
OTHER: Final = f"expeditie@{PARTY_DOMAIN}"
DECLARATIONS: Final = f"ags@{AGENCY_DOMAIN}"
INSPECTION: Final = f"controle@{AGENCY_DOMAIN}"
_LOGINS: Final = {TRADER: "k7-inlog", OTHER: "q4-inlog", DECLARATIONS: "douane-uitgaand"}
_PARTY: Final = Path(__file__).with_name("party.py")
_TLS: Final = "/etc/ssl/gateway"
_COMES_AGAIN: Final = ("Refused(4", "ConnectionRefusedError(")


@dataclass(frozen=True, slots=True)
class Running(Generic[T]):
    """What a party's software does until it is stopped."""

    process: subprocess.Popen[str]

    def stop(self) -> T:
        """End it, and return what it says (party.py tells what that is)."""
        said, _ = self.process.communicate(timeout=180)
        answer: dict[str, T] = json.loads(said)
        if "answer" not in answer:
            raise PartyError(answer["error"])
        return answer["answer"]


@dataclass(frozen=True, slots=True)
class World:
    """Guests named `client` and `agency`, and gateways that an inventory makes of the others."""

    lab: Lab
    authority: pki.Authority
    passwords: Mapping[str, str]

    def guest(self, name: str) -> Guest:
        """Return a guest by its name."""
        return self.lab.guests()[name]

    # --- The hosts, as an admin sees them

    def identify(self, guest: Guest, certificate: str = "") -> None:
        """Put a certificate of its own on a gateway host, where the inventory says it is."""
        pair = self.authority.issue(guest.hostname)
        guest.run("install", "-d", "-m", "0755", _TLS)
        guest.write(f"{_TLS}/gateway.key", pair.key, 0o600)
        guest.write(f"{_TLS}/gateway.pem", certificate or pair.certificate)
        guest.write(f"{_TLS}/ca.pem", self.authority.certificate)

    def inventory(
        self,
        gateways: Sequence[str],
        directory: Sequence[str] = (),
        variables: Mapping[str, object] | None = None,
    ) -> Path:
        """Write an inventory in which `gateways` are gateway hosts; the first one has the directory unless told."""
        return playbook.inventory(
            self.lab,
            groups={"digipoort_gateway": gateways, "digipoort_directory": directory or gateways[:1]},
            variables={
                "digipoort_logical_domains": [PARTY_DOMAIN, AGENCY_DOMAIN],
                "digipoort_tls_certificate_file": f"{_TLS}/gateway.pem",
                "digipoort_tls_key_file": f"{_TLS}/gateway.key",
                "digipoort_agency_ca_file": f"{_TLS}/ca.pem",
                "digipoort_seed": True,
                # Seconds, not a host's minutes: tests wait for what is tried again.
                "digipoort_queue_run_delay": "2s",
                "digipoort_minimal_backoff_time": "2s",
                "digipoort_maximal_backoff_time": "5s",
                **(variables or {}),
            },
            hosts={name: {"digipoort_hostname": self.guest(name).hostname} for name in gateways},
        )

    def enter_parties(self, gateway: Guest) -> None:
        """Have the admin enter the sample parties, on the gateway host."""
        folder = "/root/parties"
        gateway.run("install", "-d", "-m", "0700", folder)
        for address, login in _LOGINS.items():
            gateway.write(f"{folder}/{login}", f"{self.passwords[address]}\n", 0o600)
        gateway.write(f"{folder}/parties.toml", _DESCRIPTION, 0o600)
        gateway.run("digipoort", "apply", f"{folder}/parties.toml")
        gateway.run("rm", "-r", folder)

    # --- What parties do

    def submit(self, gateway: Guest, sender: str, recipient: str, message: bytes, *, guest: str = "client") -> str:
        """Hand in one message from a guest, and return the gateway's reply.

        A client comes again for a minute: to who says "later", and to closed ports, as they are while Postfix starts.
        """
        told = {"action": "submit", "recipients": [recipient], "message": message.decode("latin-1")}
        until = time.monotonic() + 60
        while True:
            try:
                return str(self._party(guest, gateway, sender, told))
            except PartyError as error:
                if not str(error).startswith(_COMES_AGAIN) or time.monotonic() > until:
                    raise
            time.sleep(1)

    def collect(self, gateway: Guest, address: str, *, keep: bool = False) -> list[bytes]:
        """Fetch what is in an address's mailbox on that gateway, from the client guest."""
        found = self._party("client", gateway, address, {"action": "collect", "keep": keep})
        return [mail.encode("latin-1") for mail in found]

    def uidls(self, gateway: Guest, address: str) -> list[str]:
        """Return the unique ids in an address's mailbox."""
        return list(self._party("client", gateway, address, {"action": "uidls"}))

    def certificates(self, gateway: Guest) -> dict[str, str]:
        """Return the certificate that each port of a gateway shows to the client guest."""
        return dict(self._party("client", gateway, TRADER, {"action": "certificates"}))

    def traffic(
        self,
        *gateways: Guest,
        every: float = 1.0,
        senders: int = 2,
        sender: str = TRADER,
        recipient: str = DECLARATIONS,
    ) -> Running[list[dict[str, Any]]]:
        """Begin to hand in declarations from the client guest, in turn to these gateways."""
        return self.begin({
            **self._account(sender), "action": "traffic", "hosts": [gateway.hostname for gateway in gateways],
            "recipients": [recipient], "every": every, "senders": senders, "name": secrets.token_hex(4),
        })  # fmt: skip

    def hold(self, gateway: Guest, address: str) -> Running[int]:
        """Open one POP3 session, and begin to use it."""
        running = self.begin({**self._account(address), "action": "hold", "host": gateway.hostname})
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "open\n"
        return running

    def begin(self, orders: Mapping[str, object]) -> Running[Any]:
        """Have a party's software on the client guest do something until it is stopped."""
        process = subprocess.Popen(
            self.guest("client").command("python3", "/root/party.py"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(orders) + "\n")
        process.stdin.flush()
        return Running(process)

    def _party(self, guest: str, gateway: Guest, address: str, told: Mapping[str, object]) -> Any:  # noqa: ANN401 - JSON
        orders = {**self._account(address), "host": gateway.hostname, **told}
        said = json.loads(self.guest(guest).run("python3", "/root/party.py", given=json.dumps(orders) + "\n"))
        if "error" in said:
            raise PartyError(said["error"])
        return said["answer"]

    def _account(self, address: str) -> dict[str, str]:
        return {
            "sender": address,
            "login": _LOGINS[address],
            "password": self.passwords[address],
            "ca": self.authority.certificate,
        }

    # --- What came of it

    def receipts(self, gateway: Guest, address: str) -> list[Report]:
        """Fetch the mailbox and return the receipts in it."""
        return [report for mail in self.collect(gateway, address) if (report := read_report(mail))]

    def settle(self, records: Sequence[Mapping[str, Any]], *gateways: Guest, patience: float = 120) -> Outcome:
        """Wait until each message that was taken has a receipt and a copy at the agency, and return what there is."""
        wanted = {record["id"] for record in records if "taken" in record}
        reports: list[Report] = []

        def missing() -> set[str]:
            for gateway in gateways:
                reports.extend(self.receipts(gateway, TRADER))
            outcome = self._outcome(records, reports)
            return {one for one in wanted if not outcome.receipts[one] or not outcome.copies[one]}

        until = time.monotonic() + patience
        while missing() and time.monotonic() < until:
            time.sleep(0.5)
        # What comes twice may come late: nothing may be on its way any more.
        while any(map(queue, gateways)) and time.monotonic() < until:
            time.sleep(0.5)
        missing()
        return self._outcome(records, reports)

    def _outcome(self, records: Sequence[Mapping[str, Any]], reports: Sequence[Report]) -> Outcome:
        copies = Counter(_identity(mail) for mail in agency.received(self.guest("agency")))
        verdicts = [(report.returned["message-id"].strip(), report.action) for report in reports]
        return Outcome(
            [dict(record) for record in records],
            Counter(identity for identity, _ in verdicts),
            Counter(identity for identity, action in verdicts if action == "failed"),
            copies,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of traffic: per Message-ID the receipts, the negative ones among them, and the agency's copies."""

    records: list[dict[str, Any]]
    receipts: Counter[str]
    failures: Counter[str]
    copies: Counter[str]

    @property
    def certain(self) -> list[str]:
        """Return the messages of which the client knows that they were taken, and taken once."""
        return [record["id"] for record in self.records if "taken" in record and not record["uncertain"]]

    @property
    def untaken(self) -> list[dict[str, Any]]:
        """Return the messages that no gateway would take."""
        return [record for record in self.records if "taken" not in record]

    @property
    def lost(self) -> list[str]:
        """Return what was taken and has no receipt or did not arrive."""
        taken = [record["id"] for record in self.records if "taken" in record]
        return [one for one in taken if not self.receipts[one] or not self.copies[one]]

    @property
    def doubled(self) -> list[str]:
        """Return what was taken once for certain, and has two verdicts or arrived twice."""
        return [one for one in self.certain if self.receipts[one] > 1 or self.copies[one] > 1]

    def say(self) -> str:
        """Return the counts in a line."""
        slowest = max((record["ended"] - record["began"] for record in self.records), default=0.0)
        again = sum(record["tries"] > 1 for record in self.records)
        return (
            f"{len(self.records)} messages, {again} tried again, {sum(bool(r['uncertain']) for r in self.records)} "
            f"uncertain, {len(self.untaken)} never taken, {len(self.lost)} lost, {len(self.doubled)} doubled, "
            f"{sum(self.failures.values())} negative receipts; the slowest submission took {slowest:.1f} s"
        )


class PartyError(Exception):
    """What a party's software was answered instead of what it hoped for."""


def passwords() -> dict[str, str]:
    """Return a new password for each login."""
    return {address: secrets.token_hex(9) for address in _LOGINS}


def people(lab: Lab, release: str, *names: str) -> World:
    """Boot guests of a release that are named, and `agency` and `client`, and make of those what they stand for."""
    world = World(lab, pki.authority(), passwords())
    lab.up(*names, "client", "agency", release=release)
    prepare(world)
    return world


def prepare(world: World) -> None:
    """Make an agency's server and a party's computer of the guests `agency` and `client`."""
    server = world.guest("agency")
    agency.prepare(server, world.authority.issue(server.hostname))
    for name in ("agency", "client"):
        world.guest(name).write("/root/party.py", _PARTY.read_text(encoding="utf-8"))


def queue(gateway: Guest) -> list[str]:
    """Return what is in a gateway's queue, a line of JSON each."""
    return gateway.run("postqueue", "-c", "/etc/postfix-digipoort", "-j").splitlines()


def wait_for(look: Callable[[], T], what: str, patience: float = 60) -> T:
    """Return what `look` returns as soon as that is something; a test fails when it stays nothing."""
    until = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < until, f"no {what} after {patience} s"
        time.sleep(0.2)
    return found


def package(folder: Path, version: str = "") -> Path:
    """Build the Debian package of this checkout, and return the path of a copy in `folder`."""
    own = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    told = [f"VERSION={version}"] if version else []
    bootstrap.CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Each release is tried by a process of its own, at the same time, from one checkout.
    with (bootstrap.CACHE / "package.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "--silent", "package", *told], cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
        return Path(shutil.copy(CHECKOUT / "dist" / f"digipoort_{version or own}_all.deb", folder))


def _identity(mail: bytes) -> str:
    header = mail.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("latin-1")
    return next(
        line.partition(":")[2].strip() for line in header.splitlines() if line.lower().startswith("message-id:")
    )


def _connections(address: str) -> str:
    return "".join(
        f'[[connection]]\naddress = "{address}"\nflow = "{flow}"\nvalid_from = 2020-01-01\n' for flow in ("AGS", "EMCS")
    )


def _trader(code: str, name: str, address: str, mailbox: str) -> str:
    return f"""
[[party]]
code = "{code}"
name = "{name}"
kind = "private"
[[mailbox]]
mailbox = "{mailbox}"
party = "{code}"
[[address]]
address = "{address}"
party = "{code}"
mailbox = "{mailbox}"
[[credential]]
login = "{_LOGINS[address]}"
party = "{code}"
services = ["pop3", "submission"]
mailbox = "{mailbox}"
password_file = "{_LOGINS[address]}"
{_connections(address)}"""


_DESCRIPTION: Final = f"""
[[destination]]
domain = "{agency.PHYSICAL_DOMAIN}"
nexthop = "[agency.{DOMAIN}]:25"
tls_level = "secure"
tls_match = "agency.{DOMAIN}"
[[address]]
address = "{DECLARATIONS}"
party = "DOUANE"
flow = "AGS"
remote = "intake-ags-07@{agency.PHYSICAL_DOMAIN}"
[[address]]
address = "{INSPECTION}"
party = "DOUANE"
flow = "AGS"
remote = "{agency.REFUSED}@{agency.PHYSICAL_DOMAIN}"
[[credential]]
login = "{_LOGINS[DECLARATIONS]}"
party = "DOUANE"
services = ["submission"]
password_file = "{_LOGINS[DECLARATIONS]}"
{_trader("AALSMEER", "Bloemenimport Aalsmeer B.V.", TRADER, "b1f0aa27c3d94e01")}
{_trader("MAASVLAKTE", "Maasvlakte Expeditie B.V.", OTHER, "93d2c07be8814f02")}
"""
