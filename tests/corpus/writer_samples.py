"""Messages of other programs' own MIME writers: swaks, mpack, s-nail and MIME::Lite, all of them Debian packages."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.corpus.sample import judged
from tests.corpus.wire import CRLF, basic, header, name_of, without

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.corpus.sample import Case, Envelope

_SECONDS: Final = 30
_MIME_LITE: Final = Path(__file__).with_name("mime_lite.pl")
_DATE: Final = "Mon, 23 Nov 2026 10:00:00 +0100"
_IDENTIFIER: Final = "<20261123.4@partij.digipoort.test>"
_TEXT: Final = "Bijgaand één aangifte.\n"
_FILES: Final = {
    "aangifte.edi": b"UNB+UNOC:3+NL854502130:ZZZ+NLDOUANE:ZZZ+261123:0930+1'\nUNZ+0+1'\n",
    "factuur.pdf": b"%PDF-1.4\n" + bytes(range(256)) * 10,
    "factuur één.txt": "één\n".encode(),
    "laatste zonder regeleinde.txt": b"UNZ+0+1'",
}
# s-nail then takes the date, its identifiers and its boundaries from this moment.
_EPOCH: Final = "1795424400"
_SWAKS_BOUNDARY = re.compile(rb"(=_MIME_BOUNDARY_000_)\d+")


def writer_cases(envelope: Envelope) -> Iterator[Case]:
    """Yield what the writers make of the same files. Raises CalledProcessError or OSError where one is missing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in _FILES.items():
            (folder / file).write_bytes(content)
        yield from _swaks(folder, envelope)
        yield from _mpack(folder, envelope)
        yield from _s_nail(folder, envelope)
        yield from _mime_lite(folder, envelope)


def _run(folder: Path, command: Sequence[str], text: str = "", **environment: str) -> bytes:
    """Run a writer in the folder of the files; return what it writes to standard output."""
    result = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"LC_ALL": "C.UTF-8", "HOME": str(folder)} | environment,
        input=text.encode(),
        capture_output=True,
        timeout=_SECONDS,
        check=True,
    )
    return result.stdout


def _on_the_wire(lines: bytes) -> bytes:
    """Return a message of a program that writes a host's line ends, as its mailer would send it."""
    return lines.replace(b"\r\n", b"\n").removesuffix(b"\n").replace(b"\n", CRLF) + CRLF


def _swaks(folder: Path, envelope: Envelope) -> Iterator[Case]:
    command = [
        "swaks", "--dump-mail", "--server", "127.0.0.1", "--from", envelope.sender, "--to", envelope.recipient,
        "--h-Date", _DATE, "--h-Message-Id", _IDENTIFIER, "--h-Subject", "Aangifte",
    ]  # fmt: skip
    body = ["--attach-type", "text/plain; charset=us-ascii", "--attach-body", "Bijgaand een aangifte."]
    pdf = ["--attach-type", "application/pdf", "--attach-name", "factuur.pdf", "--attach", "@factuur.pdf"]
    edi = ["--attach-type", "application/edifact", "--attach-name", "aangifte 1.edi", "--attach", "@aangifte.edi"]
    unnamed = ["--attach-type", "application/octet-stream", "--attach-name", "", "--attach", "@factuur.pdf"]
    shapes: dict[str, tuple[Sequence[str], tuple[int, ...]]] = {
        "text": (["--body", "Bijgaand een aangifte."], ()),
        "attachment": ([*body, *pdf], ()),
        "attachments": ([*body, *edi, *pdf], ()),
        "attachment without a name": ([*body, *unnamed], ()),
        "attachment only": (edi, (3030,)),
        # Without --attach-body the text's part has no charset.
        "text without charset": (["--body", "x", *pdf], (3030,)),
    }
    for name, (options, codes) in shapes.items():
        written = _SWAKS_BOUNDARY.sub(rb"\g<1>1", _run(folder, [*command, *options]))
        # The dump ends in the CRLF and CR that stood around the dot.
        yield judged(f"swaks: {name}", _on_the_wire(written.rstrip(b"\r\n")), *codes)


def _mpack(folder: Path, envelope: Envelope) -> Iterator[Case]:
    """Mpack writes no From, To and Date, and an identifier of its own process: the submitting program adds them."""
    ours = without(basic(envelope), b"subject").fields
    for name, options in {
        "as octets": ["-c", "application/octet-stream", "factuur.pdf"],
        "as EDIFACT": ["-c", "application/edifact", "aangifte.edi"],
        "with a description": ["-d", "laatste zonder regeleinde.txt", "-c", "application/pdf", "factuur.pdf"],
        "a name with spaces": ["-c", "application/octet-stream", "laatste zonder regeleinde.txt"],
    }.items():
        out = folder / "mpack.eml"
        _run(folder, ["mpack", "-s", "Aangifte", "-o", str(out), *options])
        head, blank, body = _on_the_wire(out.read_bytes()).partition(CRLF + CRLF)
        # It overwrites nothing.
        out.unlink()
        kept = [field for field in head.split(CRLF) if name_of(field) != b"message-id"]
        yield judged(f"mpack: {name}", header([*ours, *kept]) + blank.removeprefix(CRLF) + body)


def _s_nail(folder: Path, envelope: Envelope) -> Iterator[Case]:
    settings = {"from": envelope.sender, "mta": "test", "sendcharsets": "utf-8", "ttycharset": "utf-8"}
    command = ["s-nail", "-n", *(word for item in settings.items() for word in ("-S", "=".join(item)))]
    for name, options in {
        "text": [],
        "text in 8bit": ["-S", "mime-encoding=8bit"],
        "text in base64": ["-S", "mime-encoding=base64"],
        "attachments": [word for file in _FILES for word in ("-a", file)],
        "long subject": ["-s", "Aangifte één " * 20],
    }.items():
        arguments = [*command, "-s", "Aangifte één", *options, envelope.recipient]
        written = _run(folder, arguments, _TEXT, SOURCE_DATE_EPOCH=_EPOCH)
        # A mailbox file's From line comes first, and a blank line last.
        message = written.partition(b"\n")[2].removesuffix(b"\n")
        yield judged(f"s-nail: {name}", _on_the_wire(message))


def _mime_lite(folder: Path, envelope: Envelope) -> Iterator[Case]:
    out = folder / "mime-lite"
    out.mkdir()
    _run(folder, ["perl", str(_MIME_LITE), str(out), envelope.sender, envelope.recipient])
    # Where it is told no encoding it declares binary, which SMTP cannot carry (RFC 3030).
    codes = {"text-untold": (3008, 3030), "attachments-untold": (3008,), "text-without-charset": (3030,)}
    for path in sorted(out.iterdir()):
        yield judged(f"MIME::Lite: {path.name}", _on_the_wire(path.read_bytes()), *codes.get(path.name, ()))
