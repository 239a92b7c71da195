"""Whether the doors for parties answer, with the certificate that is on disk, and are closed to strangers."""

from __future__ import annotations

import poplib
import smtplib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from digipoort.doctor import pem
from digipoort.doctor.certificates import files_of
from digipoort.doctor.findings import Finding, fault, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digipoort.doctor.host import Host
    from digipoort.doctor.postfixconfig import PostfixConfig, Service

DOOR_SECONDS: Final = 10.0
# Nobody's: RFC 2606 keeps the domain free.
_ADDRESS: Final = "doctor@digipoort.invalid"
_NAME: Final = "doctor.invalid"
_ANY: Final = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a client of this host connects
_TAKEN: Final = 250
_TEMPORARY: Final = "4"
_NO_LOGIN: Final = 530


@dataclass(frozen=True, slots=True)
class Answer:
    """What a door showed: the certificate's fingerprint, and what it told somebody without a login or certificate."""

    fingerprint: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """A listening address: its name for the admin, how to knock, and what to do when nobody opens.

    `files` hold the certificate that it must show, empty where strangers get to see none that counts; `refusal` is with
    what a stranger must be refused, empty for POP3.
    """

    check: str
    host: str
    port: int
    knock: Callable[[str, int], Answer]
    remedy: str
    files: tuple[Path, ...] = ()
    refusal: str = ""

    @property
    def address(self) -> str:
        """Host and port as one word."""
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"


def examine(host: Host) -> list[Finding]:
    """Knock at every door."""
    found = []
    for door in doors(host):
        try:
            answer: Answer | str = door.knock(door.host, door.port)
        except smtplib.SMTPResponseException as error:
            said = (
                error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode("ascii", "replace")
            )
            answer = f"it says {error.smtp_code} {said}"
        except OSError as error:
            answer = str(error.strerror or error)
        except (poplib.error_proto, EOFError) as error:
            answer = f"no POP3 ({type(error).__name__})"
        found += judge(door, answer, _on_disk(door))
    return found


def judge(door: Door, answer: Answer | str, on_disk: frozenset[str]) -> list[Finding]:
    """Return what is to be said of a door; `on_disk` are the fingerprints of its certificates there."""
    if isinstance(answer, str):
        return [fault(door.check, f"{door.address} does not serve: {answer}", door.remedy)]
    if answer.refusal.startswith(_TEMPORARY):
        return [fault(door.check, f"{door.address} does not serve: it says {answer.refusal}", door.remedy)]
    found = []
    if door.refusal and not answer.refusal.startswith(door.refusal):
        text = f"{door.address} does not refuse a stranger as it must: it says {answer.refusal!r}"
        found.append(fault(door.check, text, "close the port; compare master.cf with the playbook's"))
    if on_disk and answer.fingerprint not in on_disk:
        text = f"{door.address} shows another certificate than the one on disk"
        found.append(warning(door.check, text, "it was renewed: reload Postfix and Dovecot"))
    return found or [ok(door.check, f"{door.address} answers" + (", and refuses strangers" if door.refusal else ""))]


def doors(host: Host) -> Iterator[Door]:
    """Yield the addresses that Postfix and Dovecot are configured to listen on."""
    if not isinstance(host.postfix, str):
        remedy = "is the gateway's Postfix running, and digipoort-sasl? Who else has the port: ss -ltnp"
        for service in host.postfix.submission:
            yield _smtp_door("submission", host.postfix, service, remedy, f"{_NO_LOGIN}")
        for service in host.postfix.acceptance:
            yield _smtp_door("acceptance", host.postfix, service, remedy, "554 5.7.1 <")
    if not isinstance(host.dovecot, str):
        remedy = "is the gateway's Dovecot running? Who else has the port: ss -ltnp"
        files = (Path(host.dovecot.key), Path(host.dovecot.certificate))
        for name in host.dovecot.listen:
            address = _ANY.get(name, name.strip("[]"))
            yield Door("pop3", address, host.dovecot.pop3_port, _pop3, remedy, files)
            yield Door("pop3s", address, host.dovecot.pop3s_port, _pop3s, remedy, files)


def _smtp_door(check: str, postfix: PostfixConfig, service: Service, remedy: str, refusal: str) -> Door:
    name, _, port = service.name.rpartition(":")
    address = name.strip("[]") or postfix.main.get("inet_interfaces", "all").split(",")[0].strip()
    address = "127.0.0.1" if address in {"all", "loopback-only"} else _ANY.get(address, address)
    wrapped = postfix.value(service, "smtpd_tls_wrappermode") == "yes"
    knock = _smtps if wrapped else _smtp
    files = files_of(postfix.value(service, "smtpd_tls_chain_files")) if check == "submission" else ()
    number = int(port) if port.isdigit() else socket.getservbyname(port)
    return Door("submissions" if wrapped else check, address, number, knock, remedy, files, refusal)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # What is shown is compared with what is on disk, which says more than a chain would.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _smtp(host: str, port: int) -> Answer:
    with smtplib.SMTP(host, port, local_hostname=_NAME, timeout=DOOR_SECONDS) as session:
        session.starttls(context=_context())
        return _stranger(session)


def _smtps(host: str, port: int) -> Answer:
    with smtplib.SMTP_SSL(host, port, local_hostname=_NAME, timeout=DOOR_SECONDS, context=_context()) as session:
        return _stranger(session)


def _stranger(session: smtplib.SMTP) -> Answer:
    """Begin a message as somebody without login and certificate."""
    shown = session.sock.getpeercert(binary_form=True) if isinstance(session.sock, ssl.SSLSocket) else None
    session.ehlo()
    code, said = session.mail(_ADDRESS)
    if code == _TAKEN:
        code, said = session.rcpt(_ADDRESS)
    session.rset()
    return Answer(pem.fingerprint(shown or b""), f"{code} {said.decode('ascii', 'replace')}")


def _pop3(host: str, port: int) -> Answer:
    session = poplib.POP3(host, port, timeout=DOOR_SECONDS)
    try:
        session.stls(_context())
        return _shown(session)
    finally:
        session.close()


def _pop3s(host: str, port: int) -> Answer:
    session = poplib.POP3_SSL(host, port, timeout=DOOR_SECONDS, context=_context())
    try:
        return _shown(session)
    finally:
        session.close()


def _shown(session: poplib.POP3) -> Answer:
    shown = session.sock.getpeercert(binary_form=True) if isinstance(session.sock, ssl.SSLSocket) else None
    session.quit()
    return Answer(pem.fingerprint(shown or b""))


def _on_disk(door: Door) -> frozenset[str]:
    """Return the fingerprints of a door's certificates; none where they cannot be read, which is told elsewhere."""
    try:
        return frozenset(pair.fingerprint for pair in pem.pairs(door.files)) if door.files else frozenset()
    except (OSError, pem.PemError):
        return frozenset()
