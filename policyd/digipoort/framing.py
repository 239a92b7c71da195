"""Cuts what a client sends into requests that end in a terminator, for all the daemons' protocols alike."""

from __future__ import annotations

import asyncio


class RequestMalformed(Exception):  # noqa: N818 - what the request is, as the log event of the same name
    """A request that cannot be understood; the message is a sentence for the admin and holds nothing of the request."""


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
