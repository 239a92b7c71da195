"""A party's side of the sandbox: messages as its software writes them, sent with msmtp, fetched with mpop.

Stock clients, driven by nothing but `.instance/env`.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT_SECONDS = 60
_PARSER = BytesParser(EmailMessage, policy=policy.default)


@dataclass(frozen=True, slots=True)
class Account:
    """A login and the logical address that it sends from."""

    login: str
    password: str
    address: str

    @classmethod
    def of(cls, env: Mapping[str, str], name: str, address: str = "") -> Account:
        """Return the account whose keys in `.instance/env` begin with `name`, e.g. TRADER."""
        return cls(env[f"{name}_LOGIN"], env[f"{name}_PASSWORD"], address or env[f"{name}_ADDRESS"])


@dataclass(frozen=True, slots=True)
class Report:
    """What a party's software reads from one receipt (RFC 3464), one recipient."""

    subject: str
    text: str
    fields: Mapping[str, str]
    returned: Mapping[str, str]
    raw: bytes

    @property
    def action(self) -> str:
        """`relayed`, `failed` or `delayed`."""
        return self.fields["action"]


def read_env(path: Path) -> dict[str, str]:
    """Return `.instance/env`."""
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {key: value for key, equals, value in pairs if equals}


def compose(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    """Return a message that meets the interface."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.partition("@")[2])
    message["Subject"] = subject
    message.set_content(text)
    return message


def send(
    env: Mapping[str, str],
    account: Account,
    recipients: list[str],
    message: bytes,
    *,
    notify: str = "",
    port: str = "",
    certificate: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Submit with msmtp over STARTTLS (or the port given); the result's exit status is 0 when the gateway said 250.

    `certificate` has its key beside it, with the suffix .key. An account without a login does not log in.
    """
    implicit = port == env["SUBMISSIONS_PORT"]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "msmtprc"
        config.touch(mode=0o600)
        config.write_text(
            f"defaults\ntls on\ntls_starttls {'off' if implicit else 'on'}\ntls_trust_file {env['CA_FILE']}\n"
            "set_from_header off\nset_date_header off\nset_msgid_header off\nremove_bcc_headers off\n"
            f"account party\nhost {env['GATEWAY_HOST']}\nport {port or env['SUBMISSION_PORT']}\n"
            f"from {account.address}\n"
            + (f"auth plain\nuser {account.login}\npassword {account.password}\n" if account.login else "auth off\n")
            + (f"tls_cert_file {certificate}\ntls_key_file {certificate.with_suffix('.key')}\n" if certificate else "")
            + (f"dsn_notify {notify}\n" if notify else ""),
            encoding="utf-8",
        )
        return subprocess.run(
            ["msmtp", "--file", str(config), "--account", "party", "--", *recipients],
            input=message,
            capture_output=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )


def fetch(env: Mapping[str, str], account: Account, *, port: str = "", keep: bool = False) -> list[bytes]:
    """Fetch (and delete, unless told to keep) everything in the mailbox with mpop over STLS, or the port given.

    Raises subprocess.CalledProcessError with mpop's words in `stderr`.
    """
    implicit = port == env["POP3S_PORT"]
    with tempfile.TemporaryDirectory() as folder:
        inbox = Path(folder) / "inbox"
        for name in ("tmp", "new", "cur"):
            (inbox / name).mkdir(parents=True)
        config = Path(folder) / "mpoprc"
        config.touch(mode=0o600)
        config.write_text(
            f"defaults\ntls on\ntls_starttls {'off' if implicit else 'on'}\ntls_trust_file {env['CA_FILE']}\n"
            f"account party\nhost {env['GATEWAY_HOST']}\nport {port or env['POP3_PORT']}\n"
            f"auth user\nuser {account.login}\npassword {account.password}\n"
            f"delivery maildir {inbox}\nuidls_file {folder}/uidls\n"
            f"keep {'on' if keep else 'off'}\nreceived_header off\n",
            encoding="utf-8",
        )
        subprocess.run(
            ["mpop", "--file", str(config), "party"], capture_output=True, timeout=CLIENT_SECONDS, check=True
        )
        return [path.read_bytes() for path in sorted((inbox / "new").iterdir())]


def read_report(raw: bytes) -> Report | None:
    """Return a receipt's parts, or None when the message is no receipt."""
    message = _PARSER.parsebytes(raw)
    if message.get_content_type() != "multipart/report":
        return None
    text, status, returned = message.iter_parts()
    groups = list(status.iter_parts()) if status.is_multipart() else []
    if returned.get_content_type() == "message/rfc822":
        original = returned.get_content()
    else:
        original = _PARSER.parsebytes(bytes(returned.get_payload(decode=True)))
    fields = {key.lower(): str(value) for group in groups for key, value in group.items()}
    return Report(
        str(message["Subject"]),
        text.get_content(),
        fields,
        {key.lower(): str(value) for key, value in original.items()},
        raw,
    )


def reference_of(raw: bytes) -> str:
    """Return the reference that a delivered message or a receipt carries."""
    return str(_PARSER.parsebytes(raw)["X-Digipoort-Reference"])


def body_of(raw: bytes) -> bytes:
    """Return what follows the headers, in the line endings it has."""
    normal = raw.replace(b"\r\n", b"\n")
    return normal.partition(b"\n\n")[2].replace(b"\n", b"\r\n")
