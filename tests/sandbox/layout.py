"""Where one sandbox keeps its files and which ports it uses.

The checkout may lie where the users `postgres`, `postfix` and `dovecot` may not enter, so everything that daemons touch
is under /var/tmp; `.instance/` in the checkout only points there. The checkout's path names the sandbox's folder, so
that two checkouts run side by side.
"""

from __future__ import annotations

import grp
import hashlib
import json
import pwd
import random
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
POINTER: Final = CHECKOUT / ".instance"
# Below the range that the kernel takes for outgoing connections, so that a restarted daemon finds its port free.
PORT_RANGE: Final = range(20000, 28000)

# Users of the sandbox that exist only as numbers, from the range that systemd keeps for dynamic users.
POLICYD_UID: Final = 61301
MILTER_UID: Final = 61302
AUTHD_UID: Final = 61303
SASL_UID: Final = 61305
# Dovecot wants a name for the user of a service, so the mailboxes' owner is one that every Debian has.
MAIL_USER: Final = "mail"
MAIL_UID: Final = pwd.getpwnam(MAIL_USER).pw_uid

HOSTNAME: Final = "gateway.digipoort.test"
LOGICAL_DOMAINS: Final = ("overheid.digipoort.test", "partij.digipoort.test")
MAILBOX_DOMAIN: Final = "postbus.digipoort.invalid"
POSTMASTER_MAILBOX: Final = "gateway-postmaster"
PHYSICAL_DOMAIN: Final = "douane-intern.test"
AGENCY_HOST: Final = "mx1.douane-intern.test"


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports of one sandbox, all on 127.0.0.1."""

    submission: int
    submissions: int
    acceptance: int
    pop3: int
    pop3s: int
    agency: int

    @classmethod
    def free(cls) -> Ports:
        """Choose ports that nothing listens on."""
        names = list(cls.__dataclass_fields__)
        chosen: list[int] = []
        for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
            if _is_free(port):
                chosen.append(port)
            if len(chosen) == len(names):
                return cls(**dict(zip(names, chosen, strict=True)))
        raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path of one sandbox, all below `root`."""

    root: Path
    ports: Ports

    @classmethod
    def new(cls) -> Layout:
        """Make the folders of a new sandbox for this checkout."""
        layout = cls(default_root(), Ports.free())
        layout.root.mkdir(parents=True, mode=0o755)
        (layout.root / "ports.json").write_text(json.dumps(asdict(layout.ports)), encoding="ascii")
        for path in (
            layout.settings,
            layout.pids,
            layout.pki,
            layout.library,
            layout.postfix,
            layout.spool,
            layout.logs,
        ):
            path.mkdir(mode=0o755)
        for path in (layout.dovecot, layout.dovecot_state, layout.run):
            path.mkdir(mode=0o755)
        for path, user, group in (
            (layout.policyd_run, POLICYD_UID, "postfix"),
            (layout.milter_run, MILTER_UID, "postfix"),
            (layout.authd_run, AUTHD_UID, "dovecot"),
            (layout.sasl_run, SASL_UID, "postfix"),
            (layout.maps, "root", "postfix"),
            (layout.postfix_data, "postfix", "root"),
            (layout.mail, MAIL_UID, MAIL_UID),
        ):
            path.mkdir(mode=0o750)
            shutil.chown(path, user, group)
        layout.maps.chmod(0o2750)
        return layout

    @classmethod
    def existing(cls) -> Layout | None:
        """Return the layout of this checkout's sandbox, or None when there is none."""
        ports = default_root() / "ports.json"
        return cls(default_root(), Ports(**json.loads(ports.read_text()))) if ports.exists() else None

    @property
    def settings(self) -> Path:
        """One settings file per program."""
        return self.root / "settings"

    @property
    def pids(self) -> Path:
        """One pid file per daemon, named after it."""
        return self.root / "pids"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def library(self) -> Path:
        """A copy of our packages that the daemons' users can read."""
        return self.root / "lib"

    @property
    def run(self) -> Path:
        """Sockets that Dovecot and the sandbox itself make."""
        return self.root / "run"

    @property
    def policyd_run(self) -> Path:
        """The policy daemon's socket."""
        return self.root / "run-policyd"

    @property
    def milter_run(self) -> Path:
        """The milters' sockets."""
        return self.root / "run-milter"

    @property
    def authd_run(self) -> Path:
        """The authentication daemon's socket."""
        return self.root / "run-authd"

    @property
    def sasl_run(self) -> Path:
        """The socket of the relay for logins."""
        return self.root / "run-sasl"

    @property
    def maps(self) -> Path:
        """Published maps."""
        return self.root / "maps"

    @property
    def postfix(self) -> Path:
        """Postfix's configuration."""
        return self.root / "postfix"

    @property
    def spool(self) -> Path:
        """Postfix's queue."""
        return self.root / "spool"

    @property
    def postfix_data(self) -> Path:
        """Postfix's own caches."""
        return self.root / "postfix-data"

    @property
    def dovecot(self) -> Path:
        """Dovecot's configuration and base folder."""
        return self.root / "dovecot"

    @property
    def dovecot_state(self) -> Path:
        """Dovecot's state."""
        return self.root / "dovecot-state"

    @property
    def mail(self) -> Path:
        """The parties' mailboxes."""
        return self.root / "mail"

    @property
    def agency(self) -> Path:
        """The Maildir of the agency's server."""
        return self.root / "agency"

    @property
    def postgresql(self) -> Path:
        """The private cluster."""
        return self.root / "pg"

    @property
    def logs(self) -> Path:
        """Where MAIL_LOG and the daemons' standard error are."""
        return self.root / "log"

    @property
    def mail_log(self) -> Path:
        """Postfix's, Dovecot's and our lines, interleaved."""
        return self.logs / "mail.log"

    @property
    def syslog_socket(self) -> Path:
        """What /dev/log is on a host."""
        return self.run / "syslog.sock"


def default_root() -> Path:
    """Return the folder under /var/tmp that belongs to this checkout."""
    digest = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    return Path("/var/tmp") / f"digipoort-{digest}"  # noqa: S108 - the name is the checkout's; mkdir refuses an existing one


def group_id(name: str) -> int:
    """Return the number of a system group."""
    return grp.getgrnam(name).gr_gid
