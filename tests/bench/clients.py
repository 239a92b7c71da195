"""Clients that each have one request under way, driven by one loop: the load of a benchmark at little cost."""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

SECONDS: Final = 4.0
WARM_UP: Final = 2_000


def rate(
    clients: Sequence[socket.socket],
    requests: Iterator[tuple[bytes, bytes]],
    is_whole: Callable[[bytes], bool],
    is_due: Callable[[bytes, bytes], bool],
) -> float:
    """Return how many requests per second the clients get answered, after WARM_UP requests that do not count.

    `requests` yields a request's octets and the answer that is due; `is_whole` tells whether an answer has come
    completely, `is_due` whether an answer is the one that is due. Raises RuntimeError when it is not.
    """
    _converse(clients, requests, is_whole, is_due, lambda answered: answered < WARM_UP)
    begun = time.monotonic()
    stop_at = begun + SECONDS
    answered = _converse(clients, requests, is_whole, is_due, lambda _answered: time.monotonic() < stop_at)
    return answered / (time.monotonic() - begun)


def answer(client: socket.socket, is_whole: Callable[[bytes], bool]) -> bytes:
    """Return one answer. Raises RuntimeError when the other side hangs up before its end."""
    octets = client.recv(4096)
    while not is_whole(octets):
        more = client.recv(4096)
        if not more:
            raise RuntimeError(f"cut off after {octets!r}")
        octets += more
    return octets


def _converse(
    clients: Sequence[socket.socket],
    requests: Iterator[tuple[bytes, bytes]],
    is_whole: Callable[[bytes], bool],
    is_due: Callable[[bytes, bytes], bool],
    goes_on: Callable[[int], bool],
) -> int:
    """Keep every client at it as long as it goes on; return how many requests were answered."""
    answered = 0
    due: dict[int, bytes] = {}
    with selectors.DefaultSelector() as selector:
        for number, client in enumerate(clients):
            selector.register(client, selectors.EVENT_READ, number)
            request, due[number] = next(requests)
            client.sendall(request)
        while due:
            for key, _ in selector.select():
                client = clients[key.data]
                got, expected = answer(client, is_whole), due.pop(key.data)
                if not is_due(got, expected):
                    raise RuntimeError(f"wrong answer: {got!r}; {expected!r} is due")
                answered += 1
                if goes_on(answered):
                    request, due[key.data] = next(requests)
                    client.sendall(request)
    return answered
