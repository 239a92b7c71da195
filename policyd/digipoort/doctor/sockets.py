"""The sockets between our daemons, Postfix and Dovecot: are they there, closed to others, and who answers.

Whether Postfix's user may connect is told from owners and modes all the way down, as the daemon's own word would not be
his.
"""

from __future__ import annotations

import grp
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor import access, probes
from digipoort.doctor.findings import Finding, fault, ok
from digipoort.settings import AuthdSettings, MilterSettings, PolicydSettings, SaslSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digipoort.doctor.host import Host

MODE: Final = 0o660
_LMTP: Final = "lmtp:unix:"


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever must be able to connect: a name for the admin, a user and its groups."""

    name: str
    uid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A socket that must be there: whose it is, who must be able to connect, how it is asked, and who to start."""

    check: str
    path: Path
    client: Client | None
    probe: Callable[[Path], str]
    remedy: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found: `mode` None: nothing; what keeps the client from it; what the probe said (empty: all well)."""

    mode: int | None
    is_socket: bool = True
    obstacle: Path | None = None
    answer: str = ""


def examine(host: Host) -> list[Finding]:
    """Look at every socket of this host."""
    return [judge(one, look(one)) for one in wanted(host)]


def judge(one: Wanted, seen: Seen) -> Finding:
    """Return the one thing that is to be said of a socket: the first fault, as a later one may follow from it."""
    if seen.mode is None:
        return fault(one.check, f"{one.path} is not there", one.remedy)
    if not seen.is_socket:
        return fault(one.check, f"{one.path} is no socket", f"remove it; {one.remedy}")
    if seen.mode != MODE:
        found = f"{one.path} has mode {seen.mode:04o}, not {MODE:04o}"
        open_to_all = f"{found}: every user of this host may connect" if seen.mode & 0o006 else found
        return fault(one.check, open_to_all, f"chmod 0660 {one.path}; then find who changed it")
    if one.client is not None and seen.obstacle is not None:
        found = f"{one.client.name} may not connect: {seen.obstacle} keeps it out"
        return fault(one.check, found, "owner, group and mode of that path (docs/operate.md, What runs)")
    if seen.answer:
        return fault(one.check, f"{one.path} {seen.answer}", one.remedy)
    return ok(one.check, f"{one.path} answers")


def look(one: Wanted) -> Seen:
    """Look at a socket and ask whoever listens. Raises PermissionError where this user may not."""
    try:
        found = one.path.lstat()
    except FileNotFoundError:
        return Seen(None)
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISSOCK(found.st_mode):
        return Seen(mode, is_socket=False)
    needs = access.READ | access.WRITE
    obstacle = None
    try:
        if one.client is not None:
            obstacle = access.obstacle(one.path, one.client.uid, one.client.gids, needs)
        answer = one.probe(one.path)
    except FileNotFoundError:
        # A milter's goes with it, and it may be ending.
        return Seen(None)
    except TimeoutError:
        answer = "does not answer"
    except PermissionError:
        raise
    except OSError as error:
        answer = f"cannot be used: {error.strerror or error}"
    return Seen(mode, obstacle=obstacle, answer=answer)


def wanted(host: Host) -> Iterator[Wanted]:
    """Yield the sockets that this host's settings name."""
    postfix, dovecot = _postfix(host), _dovecot(host)
    if policyd := host.of(PolicydSettings):
        start = "start digipoort-policyd; its log tells more"
        yield Wanted("policy daemon", policyd.policyd_socket, postfix, probes.policy, start)
        yield Wanted("resubmission", policyd.resubmission_socket, None, probes.resubmissions, start)
    if milters := host.of(MilterSettings):
        for role in ("submission", "acceptance", "receipt"):
            path = milters.milter_directory / f"milter-{role}.sock"
            yield Wanted(f"milter {role}", path, postfix, probes.milter, f"start digipoort-milter {role}")
    if authd := host.of(AuthdSettings):
        remedy = "start digipoort-authd; until then no login works"
        yield Wanted("authd", authd.authd_socket, dovecot, probes.authd, remedy)
    if sasl := host.of(SaslSettings):
        relay = "start digipoort-sasl; until then submission's smtpd does not run"
        yield Wanted("sasl", sasl.sasl_socket, postfix, probes.sasl, relay)
        remedy = "start Dovecot; until then logins get 454 (DGP-9009)"
        yield Wanted("dovecot auth", sasl.dovecot_auth_socket, None, probes.sasl, remedy)
    transport = host.settings.mailbox_transport
    if transport.startswith(_LMTP):
        remedy = "start Dovecot; until then mail for parties waits in the queue"
        yield Wanted("dovecot lmtp", Path(transport.removeprefix(_LMTP)), postfix, probes.lmtp, remedy)


def _postfix(host: Host) -> Client | None:
    user = host.postfix_user
    # Postfix gives its processes this one group: further ones in /etc/group do not count.
    return Client("Postfix's user", user.uid, frozenset({user.gid})) if user else None


def _dovecot(host: Host) -> Client | None:
    """Return Dovecot's authentication, which asks authd."""
    if isinstance(host.dovecot, str):
        return None
    try:
        user = pwd.getpwnam(host.dovecot.auth_user)
        groups = {grp.getgrnam(name).gr_gid for name in host.dovecot.auth_groups}
    except KeyError:
        return None
    return Client("Dovecot's auth", user.pw_uid, frozenset({user.pw_gid, *groups}))
