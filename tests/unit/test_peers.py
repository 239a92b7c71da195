"""Processes of other users are not answered, whatever the mode of the socket."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from digipoort.peers import Peer, UnknownUserError, peer_of, user_ids
from digipoort.unixserver import Admission, UnixServer

if TYPE_CHECKING:
    from pathlib import Path

    from digipoort.framing import RequestMalformed


class Echo:
    """Answers with what it was asked."""

    async def answer(self, request: bytes) -> bytes:
        """Return the request."""
        return request

    def malformed(self, fault: RequestMalformed) -> bytes:
        """Not in these tests."""
        raise fault


async def exchange(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x\n")
    try:
        return await asyncio.wait_for(reader.read(2), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("others", [0, 1])
def test_only_the_users_that_are_named_are_answered(tmp_path: Path, others: int) -> None:
    told: list[Peer] = []

    async def scenario() -> bytes:
        admission = Admission(frozenset({os.getuid() + others}), told.append)
        server = UnixServer(Echo(), terminator=b"\n", max_request=100, admission=admission)
        await server.start(tmp_path / "socket")
        try:
            return await exchange(tmp_path / "socket")
        finally:
            await server.stop(1)

    answer = asyncio.run(scenario())
    assert (answer, told) == ((b"", [Peer(os.getpid(), os.getuid())]) if others else (b"x\n", []))


def test_the_kernel_tells_who_is_there() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_of(one) == Peer(os.getpid(), os.getuid())


def test_users_are_names_or_numbers() -> None:
    assert user_ids(("root", "61303")) == {0, 61303}
    with pytest.raises(UnknownUserError, match="no user nobody-of-that-name"):
        user_ids(("nobody-of-that-name",))
