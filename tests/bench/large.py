"""What checking a large message costs in octets per second of processor time, and that hostile ones cost no more.

Everything runs in this process, through the acceptance milter's handler of one message, in chunks as Postfix cuts them.
"""

from __future__ import annotations

import binascii
import time
from typing import TYPE_CHECKING, Final

import click

from tests.bench.declarations import (
    BOUNDARY,
    MEBIBYTE,
    eight_bit,
    judge,
    marked,
    multipart,
    profiles_file,
    quoted_printable,
    with_attachment,
)
from tests.bench.rounds import Side, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.bench.declarations import Message

OCTETS: Final = 25_000_000
# Twice the octets may take this much more time: the cost is linear.
LINEAR: Final = 2.5
_REPEATS: Final = 3
_DEEPEST: Final = 100
_LINE: Final = f"--{BOUNDARY}".encode("ascii")
_PROFILES: Final = profiles_file({})
# The structure's limits at the highest that a flow can have: each is reached.
_WIDE_PROFILES: Final = profiles_file({"max_parts": 10_000, "max_depth": _DEEPEST})


def _inside(line: bytes, octets: int) -> Message:
    """Return a multipart whose only part has `octets` octets of one line, over and over."""
    return multipart(b"".join([_LINE, b"\r\n\r\n", line * (octets // len(line)), b"\r\n", _LINE, b"--\r\n"]))


def _one_line(octets: int) -> Message:
    return _inside(b"x" * octets, octets)


def _many_parts(octets: int) -> Message:
    """Return a multipart of parts of 2,500 octets: 10,000 of them in 25 MB."""
    part = _LINE + b"\r\n\r\n" + (b"x" * 76 + b"\r\n") * 31 + b"x" * 50 + b"\r\n"
    return multipart(part * (octets // len(part)) + _LINE + b"--\r\n")


def _deep_nest(octets: int) -> Message:
    """Return multiparts in multiparts, the innermost with lines that begin as all their boundaries do."""
    boundaries = [f"{BOUNDARY}{depth:03}" for depth in range(_DEEPEST - 1)]
    opening = "".join(
        f'--{outer}\r\nContent-Type: multipart/mixed; boundary="{inner}"\r\n\r\n'
        for outer, inner in zip([BOUNDARY, *boundaries], boundaries, strict=False)
    )
    line = f"--{boundaries[-1][:-1]}\r\n".encode("ascii")
    closing = "".join(f"--{boundary}--\r\n" for boundary in [*reversed(boundaries), BOUNDARY])
    innermost = f"--{boundaries[-1]}\r\n\r\n".encode("ascii") + line * (octets // len(line))
    return multipart(opening.encode("ascii") + innermost + closing.encode("ascii"))


def _nests_in_parts(octets: int) -> Message:
    """Return parts that each hold a nest nine deep, which opens and closes all the time."""
    boundaries = [f"{BOUNDARY}{depth}" for depth in range(9)]
    nest = "".join(
        f'--{outer}\r\nContent-Type: multipart/mixed; boundary="{inner}"\r\n\r\n'
        for outer, inner in zip([BOUNDARY, *boundaries], boundaries, strict=False)
    )
    nest += f"--{boundaries[-1]}\r\n\r\n" + ("x" * 76 + "\r\n") * 280
    nest += "".join(f"--{boundary}--\r\n" for boundary in reversed(boundaries))
    return multipart(nest.encode("ascii") * (octets // len(nest)) + _LINE + b"--\r\n")


_HOSTILE: Final[Mapping[str, Callable[[int], Message]]] = {
    "lines of two hyphens": lambda octets: _inside(b"--\r\n", octets),
    "empty lines": lambda octets: _inside(b"\r\n", octets),
    "one line": _one_line,
    "lines that are nearly a boundary": lambda octets: _inside(_LINE + b"-\r\n", octets),
    "a boundary and white space": lambda octets: _inside(_LINE + b" " * 101 + b"x\r\n", octets),
    "10,000 parts": _many_parts,
    "100 multiparts in each other": _deep_nest,
    "nests in parts": _nests_in_parts,
    "bare CR": lambda octets: _inside(b"\r", octets),
    "NUL": lambda octets: _inside(b"\0", octets),
    "folds without an end": lambda octets: multipart(_LINE + b"\r\nX: y" + b"\r\n z" * (octets // 4)),
    "fields without an end": lambda octets: multipart(_LINE + b"\r\n" + b"A: b\r\n" * (octets // 6)),
}


def _seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of a few runs, in seconds: noise only ever adds."""
    times = []
    for _ in range(_REPEATS):
        begun = time.thread_time()
        work()
        times.append(time.thread_time() - begun)
    return min(times)


def _megabytes_per_second(message: Message, profiles: bytes) -> float:
    return len(message.body) / 1e6 / _seconds(lambda: judge(message, profiles))


def _attachment(message: Message) -> bytes:
    """Return the base64 lines of the message's attachment."""
    return message.body[message.body.rindex(b"\r\n\r\n", 0, 2000) + 4 : message.body.rindex(_LINE)]


def _accepted(name: str, message: Message) -> Message:
    """Return the message with its marks. Raises RuntimeError when acceptance does not accept it."""
    ready = marked(message)
    findings = judge(ready, _PROFILES).findings
    if findings:
        raise RuntimeError(f"{name}: {findings[0].text()}")
    return ready


def run(rounds: int) -> None:
    """Compare the contents that parties send with binascii's own speed, then measure hostile bodies at n and 2n."""
    samples = {"base64": with_attachment, "quoted-printable": quoted_printable, "8bit": eight_bit}
    lines = _attachment(with_attachment(OCTETS))
    for name, make in samples.items():
        message = _accepted(name, make(OCTETS))
        compare(
            f"checking {len(message.body) / 1e6:.0f} MB of {name}, MB per second, against decoding base64",
            Side("checks", lambda m=message: _megabytes_per_second(m, _PROFILES)),  # type: ignore[misc]
            Side("binascii", lambda: len(lines) / 1e6 / _seconds(lambda: binascii.a2b_base64(lines))),
            rounds,
        )
    click.echo(click.style(f"hostile bodies of {OCTETS // MEBIBYTE} MiB against half of it", bold=True))
    for name, hostile in _HOSTILE.items():
        half, whole = marked(hostile(OCTETS // 2)), marked(hostile(OCTETS))
        shorter, longer = (_seconds(lambda m=m: judge(m, _WIDE_PROFILES)) for m in (half, whole))  # type: ignore[misc]
        rate, ratio = len(whole.body) / 1e6 / longer, longer / shorter
        verdict = "linear" if ratio <= LINEAR else "NOT LINEAR"
        click.echo(f"  {name}: {shorter:.2f} s, {longer:.2f} s, {rate:.0f} MB/s, {ratio:.2f} times as long: {verdict}")
