"""Cuts what a client sends into requests that end in a terminator, for all the daemons' protocols alike."""

from __future__ import annotations

import asyncio


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


async def read_request(reader: asyncio.StreamReader, terminator: bytes) -> bytes | None:
    """Return the next request, terminator included, or None when the client closed the connection after the last one.

    Raises RequestMalformed when the octets before the terminator are more than the reader's limit, or the end of the
    stream cuts the request off; nothing after it can be understood.
    """
    try:
        return await reader.readuntil(terminator)
    except asyncio.LimitOverrunError:
        raise RequestMalformed("The request is too large.") from None
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise RequestMalformed("The request was cut off.") from None
        return None
