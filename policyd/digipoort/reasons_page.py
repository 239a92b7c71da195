"""The catalogue of reasons as the page docs/reasons.md, so that what admins read is what the programs say.

`python -m digipoort.reasons_page > docs/reasons.md` writes the page; a test fails when it is stale.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from digipoort.reasons import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from digipoort.reasons import Reason

GROUPS: Final = {
    "1": "submission, answered in the session",
    "2": "acceptance, authorisation",
    "3": "acceptance, the interface",
    "4": "delivery, after acceptance",
    "9": "faults of ours, always temporary",
}
_GROUP_POSITION: Final = len("DGP-")
_INTRODUCTION: Final = """\
# Reasons

<!-- Generated: python -m digipoort.reasons_page > docs/reasons.md -->

Every refusal has one of these codes, in the SMTP reply, the log line (`reason=`, see [logs](logs.md)) and the receipt.
SMTP codes follow RFC 5321, enhanced codes RFC 3463 and 5248. 4yz is temporary: the message waits, or the client tries
again. A name in braces is replaced by a parameter of the finding.
"""
_HEADING: Final = ("Code", "SMTP", "Enhanced", "English", "Dutch", "Remedy")


def as_markdown() -> str:
    """Return the page: a table for each group of codes, its columns those of `Reason`, its rows in catalogue order."""
    return _INTRODUCTION + "".join(_group(digit, title) for digit, title in GROUPS.items())


def _group(digit: str, title: str) -> str:
    reasons = [reason for code, reason in CATALOGUE.items() if code[_GROUP_POSITION] == digit]
    lines = [_row(_HEADING), _row(["---"] * len(_HEADING)), *(_row(_cells(reason)) for reason in reasons)]
    return f"\n## {digit}xxx: {title}\n\n" + "".join(lines)


def _cells(reason: Reason) -> Iterator[str]:
    yield reason.code
    yield str(reason.smtp)
    yield reason.status
    for sentence in (reason.english, reason.dutch, reason.remedy):
        yield re.sub(r"([\\`*_<|])", r"\\\1", sentence)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    # Octets, because the page has Dutch in it and the locale may know ASCII only.
    sys.stdout.buffer.write(as_markdown().encode("utf-8"))
