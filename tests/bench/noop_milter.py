"""The peer of the acceptance milter: the same pymilter, callbacks, negotiation and changes, and no judgement at all.

`python -m tests.bench.noop_milter SOCKET [HEADER…]` removes the first of each HEADER at the end of every message.
"""

from __future__ import annotations

import os
import sys

import Milter
import milter

from digipoort.activation import SOCKET_UMASK
from digipoort_milter.acceptance import ACTIONS


@Milter.header_leading_space
class NoOp(Milter.Base):
    """The callbacks of the acceptance role, all of which let pass what they get."""

    def __init__(self, removed: tuple[str, ...]) -> None:
        """Take the names of the headers that are removed."""
        self._removed = removed

    @Milter.noreply
    @Milter.decode("bytes")
    def envfrom(self, _sender: bytes, *_parameters: bytes) -> int:
        """Let pass."""
        return Milter.CONTINUE

    @Milter.noreply
    @Milter.decode("bytes")
    def envrcpt(self, _recipient: bytes, *_parameters: bytes) -> int:
        """Let pass."""
        return Milter.CONTINUE

    @Milter.noreply
    @Milter.decode("bytes")
    def header(self, _name: str, _value: bytes) -> int:
        """Let pass."""
        return Milter.CONTINUE

    @Milter.noreply
    def body(self, _chunk: bytes) -> int:
        """Let pass."""
        return Milter.CONTINUE

    def eom(self) -> int:
        """Accept, after the removals."""
        for name in self._removed:
            self.chgheader(name, 1, "")
        return Milter.ACCEPT

    def abort(self) -> int:
        """Let pass."""
        return Milter.CONTINUE

    def close(self) -> int:
        """Let pymilter's bound method go, as the gateway's session does."""
        self.__dict__.pop("header_bytes", None)
        return Milter.CONTINUE


def main() -> None:
    """Serve until SIGTERM."""
    socket, *removed = sys.argv[1:]
    os.umask(SOCKET_UMASK)
    milter.set_flags(ACTIONS)
    milter.set_exception_policy(Milter.TEMPFAIL)
    Milter.factory = lambda: NoOp(tuple(removed))
    Milter.runmilter("noop", f"unix:{socket}")


if __name__ == "__main__":
    main()
