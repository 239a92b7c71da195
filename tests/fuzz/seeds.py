"""What fuzzing starts from: for each target a few inputs by hand, and for messages the corpus of the interface."""

from __future__ import annotations

from typing import Final

from tests.corpus.sandbox import sandbox_samples
from tests.milter_samples import BOUNDARY, REFUSED_AT_HOP, RELAYED, notification

# What libFuzzer mutates is small; the corpus has a few samples of a megabyte.
MAX_OCTETS: Final = 4096
_CUTS: Final = b"\x1f\x0b"
_GOOD: Final = (
    b"From: a@b.nl\r\nTo: c@d.nl\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
    b"Message-ID: <1@b.nl>\r\nMIME-Version: 1.0\r\n"
)
_SEEDS: Final[dict[str, tuple[bytes, ...]]] = {
    "header": (
        b' "A, b" <a@b.nl>, group: c@d.nl (x (y));',
        b" Mon, 23 Nov 2026 10:00:00 +0100 (CET)",
        b" <1.2$3@[192.0.2.1]> (x)",
        b" auto-replied; owner-email=a@b.nl",
        b' multipart/mixed; boundary="b b"; charset=utf-8;',
        b" attachment; filename*0*=utf-8''na%C3%AFef; filename*1=.edi",
        b' attachment; filename="=?utf-8?q?a=2Fb?="; name=x',
        b"octets=1 header=2 fields=3 received=4 line=5 bare=0 nul=1",
        b"ENVID=a+2B RET=HDRS",
    ),
    "mime": (
        b"\x01\x05" + _GOOD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        b"\x07\x09"
        + _GOOD
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/edifact; name=a.edi\r\n"
        b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.edi\r\n\r\nVU5B\r\n--b\r\n"
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/digest; boundary=c\r\n\r\n"
        b"--c\r\n\r\n\r\nx\r\n--c--\r\n--b--\r\n",
        b"\x03\x02"
        + _GOOD
        + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"a=C3=A9=\r\nb= \r\nc",
        b"\x20\x02" + _GOOD + b"\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n",
    ),
    "login": (
        b"VERSION\t1\t1\nCPID\t4711\n",
        b"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=::1\trip=192.0.2.1\tsecured\tresp=AGEAYg==\n",
        b"CONT\t1\tYQ==\n",
        b"OK\t1\tuser=a\toriginal_user=A\tnologin\n",
        b"FAIL\t1\tuser=a\tcode=temp_fail\treason=x\ttemp\n",
    ),
    "policy": (
        b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=submission\nsender=a@b\nrecipient=c@d\nsize=1\n\n",
        b"DIGIPOORT-AUTH/1\tverify\tservice=pop3\tlogin=a\tpassword=b\x01tc\tip=192.0.2.1\n",
    ),
    "stream": (
        b"\x07\x01request=smtpd_access_policy\nsender=a@b\n\nrequest=smtpd_access_policy\n\n",
        b"\x01\x03a=b\n\n\nc=d\n\nrest",
    ),
    "report": (notification(RELAYED), notification(REFUSED_AT_HOP, RELAYED, full=False), BOUNDARY.encode()),
}


def seeds(target: str) -> list[bytes]:
    """Return a target's seeds; for `mime` that is the corpus as well, each sample after where to cut it into chunks."""
    by_hand = list(_SEEDS[target])
    if target != "mime":
        return by_hand
    corpus = {sample.raw for sample in sandbox_samples() if len(sample.raw) <= MAX_OCTETS}
    return [*by_hand, *(_CUTS + raw for raw in sorted(corpus))]
