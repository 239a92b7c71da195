"""Cuts what a client sends into requests that end in a terminator, for all the daemons' protocols alike."""

from __future__ import annotations


class RequestMalformed(Exception):  # noqa: N818 - what the request is, as the log event of the same name
    """A request that cannot be understood; the message is a sentence for the admin and holds nothing of the request."""


def parse_attributes(block: bytes) -> dict[bytes, bytes]:
    """Return the attributes of a block of `name=value` lines that ends in an empty one (SMTPD_POLICY_README).

    Of an attribute that occurs twice the last one counts. Raises RequestMalformed for a NUL, and a line without `=`.
    """
    if b"\0" in block:
        raise RequestMalformed("The request holds a NUL octet.")
    try:
        return dict(line.split(b"=", 1) for line in block.removesuffix(b"\n\n").split(b"\n"))
    except ValueError:
        raise RequestMalformed("A line of the request has no equals sign.") from None


class Requests:
    """The requests in a stream of octets, however it is cut; what is kept is what has not been taken out yet."""

    def __init__(self, terminator: bytes, max_request: int) -> None:
        """Take the octets in which a request ends, and the length of the longest one, those included."""
        self._terminator = terminator
        self._max_request = max_request
        self._octets = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        """Return how many octets are kept."""
        return len(self._octets)

    def feed(self, octets: bytes) -> None:
        """Add what came."""
        self._octets += octets

    def take(self) -> bytes | None:
        """Take out the next request, terminator included; None when more must come first.

        Raises RequestMalformed when it is, or is going to be, too long; nothing after it can be understood.
        """
        found = self._octets.find(self._terminator, self._searched)
        end = found + len(self._terminator) if found >= 0 else len(self._octets) + 1
        if end > self._max_request:
            raise RequestMalformed("The request is too large.")
        if found < 0:
            # A terminator may have come in part.
            self._searched = max(0, len(self._octets) - len(self._terminator) + 1)
            return None
        request = bytes(self._octets[:end])
        del self._octets[:end]
        self._searched = 0
        return request

    def end(self) -> None:
        """Take note of the end of the stream. Raises RequestMalformed when it cuts a request off."""
        if self._octets:
            raise RequestMalformed("The request was cut off.")
