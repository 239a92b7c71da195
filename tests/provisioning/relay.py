"""Leads a lab's apt to the mirror: listens on its bridge, connects from the host's network, and keeps packages.

A package file never changes under its name, so one that was fetched once comes from the host's disk ever after: what a
test waits for is then a host's work, not a mirror's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import os
import re
import socket
import sys
import urllib.parse
from pathlib import Path
from typing import Final

from tests import bootstrap
from tests.provisioning.network import RELAY_PORT, ROUTER

_CLONE_NEWNET: Final = 0x40000000
_BLOCK: Final = 1 << 16
_KEPT: Final = bootstrap.CACHE / "packages"
_REQUEST: Final = re.compile(rb"GET (\S+) HTTP/1\.1\r\n")
_CONNECT: Final = re.compile(rb"CONNECT ([^:\s]+):443 HTTP/1\.1\r\n")


def listener(namespace: str) -> socket.socket:
    """Return a listening socket of that network namespace; this process stays in its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open("rb") as home, Path("/run/netns", namespace).open("rb") as there:
        _enter(libc, there.fileno())
        try:
            return socket.create_server((ROUTER, RELAY_PORT), backlog=128)
        finally:
            _enter(libc, home.fileno())


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if found := _CONNECT.match(request):
                await _tunnel(found[1].decode(), reader, writer)
                break
            if not (found := _REQUEST.match(request)):
                break
            await _get(urllib.parse.urlsplit(found[1].decode()), request, writer)
    writer.close()


async def _get(uri: urllib.parse.SplitResult, request: bytes, writer: asyncio.StreamWriter) -> None:
    """Answer one request: from the disk, or from the mirror, whose answer is kept when it is a package."""
    kept = _KEPT / hashlib.sha256(uri.geturl().encode()).hexdigest() if uri.path.endswith(".deb") else None
    if kept is None or not kept.exists():
        await _fetch(uri, request, writer, kept)
        return
    with kept.open("rb") as stored:
        while block := stored.read(_BLOCK):
            writer.write(block)
            await writer.drain()


async def _fetch(
    uri: urllib.parse.SplitResult, request: bytes, writer: asyncio.StreamWriter, kept: Path | None
) -> None:
    if uri.hostname not in _hosts():
        writer.write(b"HTTP/1.1 403 Not the mirror\r\nContent-Length: 0\r\n\r\n")
        return
    wanted = re.sub(rb"^GET \S+", b"GET " + uri._replace(scheme="", netloc="").geturl().encode(), request)
    upstream, asking = await asyncio.open_connection(uri.hostname, uri.port or 80)
    try:
        asking.write(wanted)
        header = await upstream.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: *(\d+)", header)
        if length is None and not header.startswith((b"HTTP/1.1 304", b"HTTP/1.1 204")):
            # Only then must the length be told by the end of the connection.
            raise ConnectionError("an answer without a length")
        left = int(length[1]) if length else 0
        whole = bytearray(header)
        writer.write(header)
        while left:
            block = await upstream.read(min(left, _BLOCK))
            if not block:
                raise ConnectionError("the mirror broke off")
            left -= len(block)
            if kept:
                whole += block
            writer.write(block)
            await writer.drain()
    finally:
        asking.close()
    if kept and header.startswith(b"HTTP/1.1 200"):
        _keep(kept, whole)


def _keep(where: Path, answer: bytes) -> None:
    where.parent.mkdir(parents=True, exist_ok=True)
    unfinished = where.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(answer)
    unfinished.rename(where)


async def _tunnel(host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if host not in _hosts():
        return
    upstream, asking = await asyncio.open_connection(host, 443)
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await asyncio.gather(_pump(reader, asking), _pump(upstream, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await source.read(_BLOCK):
            sink.write(block)
            await sink.drain()
    sink.close()


def _hosts() -> set[str | None]:
    """Return the mirror's hosts: the relay leads nowhere else."""
    return {urllib.parse.urlsplit(line.split()[1]).hostname for line in bootstrap.archives("any")}


async def _main(namespace: str) -> None:
    server = await asyncio.start_server(_serve, sock=listener(namespace))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
