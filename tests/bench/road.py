"""Messages per second through the gateway, against the same Postfix stages with stock lookups in our daemons' place.

Both sides have TLS, AUTH, the hop with its certificates, forced receipts, LMTP to Dovecot and delivery over SMTP, here
to smtp-sink instead of the sandbox's slow agency. The peer decides less: whose sender it is, that the recipient exists.
"""

from __future__ import annotations

import re
import smtplib
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.bench.rounds import Side, compare
from tests.sandbox import layout as names
from tests.sandbox.clients import compose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.sandbox.layout import Layout

MESSAGES: Final = 600
SESSIONS: Final = 8
BODY_OCTETS: Final = 5000
SETTLE_SECONDS: Final = 300.0


def _postfix(layout: Layout, program: str, *arguments: str) -> str:
    command = [f"/usr/sbin/{program}", "-c", str(layout.postfix), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class _Variants:
    """Switches the sandbox's Postfix between the gateway and the bare two stages."""

    def __init__(self, env: Mapping[str, str], layout: Layout, sink_port: int) -> None:
        self._layout = layout
        self._gateway = {name: (layout.postfix / name).read_text(encoding="utf-8") for name in ("main.cf", "master.cf")}
        lookups = layout.postfix / "bench-lookups"
        lookups.write_text(f"{env['TRADER_ADDRESS']} {env['TRADER_LOGIN']}\n", encoding="utf-8")
        (layout.postfix / "bench-recipients").write_text(f"{env['AGS_ADDRESS']} DUNNO\n", encoding="utf-8")
        for table in ("bench-lookups", "bench-recipients"):
            _postfix(layout, "postmap", f"lmdb:{layout.postfix / table}")
        domain = names.PHYSICAL_DOMAIN
        sink = f"inline:{{ {{ {domain} = smtp:[127.0.0.1]:{sink_port} }} }}"
        self._common = {
            "transport_maps": f"lmdb:{layout.maps}/mailbox, {sink}",
            "smtp_tls_policy_maps": f"inline:{{ {{ [127.0.0.1]:{sink_port} = none }} }}",
        }

    def _write(self, *, bare: bool) -> None:
        for name, text in self._gateway.items():
            (self._layout.postfix / name).write_text(text, encoding="utf-8")
        settings = dict(self._common)
        if bare:
            settings["non_smtpd_milters"] = ""
        _postfix(self._layout, "postconf", *(f"{key} = {value}" for key, value in settings.items()))
        if bare:
            self._make_bare()
        _postfix(self._layout, "postfix", "reload")
        time.sleep(1)

    def _make_bare(self) -> None:
        """Put stock lookups where master.cf asks our policy daemon, and take our milters out."""
        folder = self._layout.postfix
        recipients = f"check_recipient_access lmdb:{folder}/bench-recipients"
        lookups = {"submission": f"reject_sender_login_mismatch, {recipients}", "acceptance": recipients}
        text = re.sub(
            r"check_policy_service \{[^}]*policy_context=(\w+) \}",
            lambda match: lookups[match[1]],
            self._gateway["master.cf"],
        )
        text = re.sub(r"smtpd_milters=\S+", "smtpd_milters=", text)
        (folder / "master.cf").write_text(text, encoding="utf-8")
        _postfix(self._layout, "postconf", f"smtpd_sender_login_maps = lmdb:{folder}/bench-lookups")

    def gateway(self) -> None:
        self._write(bare=False)

    def bare(self) -> None:
        self._write(bare=True)

    def restore(self) -> None:
        for name, text in self._gateway.items():
            (self._layout.postfix / name).write_text(text, encoding="utf-8")
        _postfix(self._layout, "postfix", "reload")


@contextmanager
def _sink(port: int) -> Iterator[None]:
    process = subprocess.Popen(["/usr/sbin/smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "200"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _submit(env: Mapping[str, str], count: int) -> None:
    context = ssl.create_default_context(cafile=env["CA_FILE"])
    session = smtplib.SMTP(env["GATEWAY_HOST"], int(env["SUBMISSION_PORT"]), timeout=120)
    session.starttls(context=context)
    session.login(env["TRADER_LOGIN"], env["TRADER_PASSWORD"])
    text = "".join(f"{number:070}\n" for number in range(BODY_OCTETS // 72))
    message = compose(env["TRADER_ADDRESS"], env["AGS_ADDRESS"], "Meting", text)
    raw, identifier = message.as_bytes(), str(message["Message-ID"]).encode()
    for number in range(count):
        # Each its own identifier: as a resubmission it would be another kind of message.
        session.sendmail(
            env["TRADER_ADDRESS"], [env["AGS_ADDRESS"]], raw.replace(identifier, b"<%d.%b" % (number, identifier[1:]))
        )
    session.quit()


def _queue_is_empty(layout: Layout) -> bool:
    return not any(
        path.is_file()
        for queue in ("incoming", "active", "deferred", "maildrop")
        for path in (layout.spool / queue).rglob("*")
    )


def _mailbox_count(layout: Layout) -> int:
    return sum(1 for path in layout.mail.glob("*/Maildir/new/*"))


def _rate(env: Mapping[str, str], layout: Layout) -> float:
    """Submit, and wait until every message is delivered and every receipt is in the mailbox."""
    before = _mailbox_count(layout)
    begun = time.monotonic()
    threads = [threading.Thread(target=_submit, args=(env, MESSAGES // SESSIONS)) for _ in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while not _queue_is_empty(layout):
        if time.monotonic() - begun > SETTLE_SECONDS:
            raise RuntimeError("the queue does not empty")
        time.sleep(0.05)
    elapsed = time.monotonic() - begun
    receipts = _mailbox_count(layout) - before
    if receipts != MESSAGES:
        raise RuntimeError(f"{receipts} receipts for {MESSAGES} messages")
    for path in layout.mail.glob("*/Maildir/new/*"):
        path.unlink()
    return MESSAGES / elapsed


def run(env: Mapping[str, str], layout: Layout, rounds: int) -> None:
    """Measure 5 KB messages over 8 sessions, from the first MAIL until the last receipt is in the mailbox."""
    sink_port = names.Ports.free().agency
    variants = _Variants(env, layout, sink_port)

    def gateway() -> float:
        variants.gateway()
        return _rate(env, layout)

    def bare() -> float:
        variants.bare()
        return _rate(env, layout)

    with _sink(sink_port):
        try:
            compare(
                "messages through the gateway against the bare two stages",
                Side("gateway", gateway),
                Side("bare", bare),
                rounds,
            )
        finally:
            variants.restore()
