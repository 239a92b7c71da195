"""Whatever arrives in whatever pieces: the same requests come out, nothing else is raised, and memory stays bounded."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from digipoort.framing import RequestMalformed, read_request
from digipoort_policyd.protocol import END_OF_REQUEST, PolicyRequest, parse_request

LIMIT = 512
LINE = st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))
REQUEST = st.lists(LINE.filter(bool), min_size=1, max_size=8).map(lambda lines: b"\n".join(lines) + b"\n\n")
LIKELY = st.sampled_from([
    b"request=smtpd_access_policy", b"protocol_state=RCPT", b"policy_context=submission", b"policy_context=acceptance",
    b"sender=", b"sender=a@b.example", b"recipient=c@d.example", b"recipient=", b"size=1", b"size=x", b"none", b"\0=",
])  # fmt: skip


async def _read(stream: bytes, cuts: list[int]) -> list[bytes | None]:
    """Return what the stream holds, with None at the end if that could not be understood."""
    reader = asyncio.StreamReader(limit=LIMIT)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})

    async def feed() -> None:
        for start, end in itertools.pairwise(edges):
            reader.feed_data(stream[start:end])
            await asyncio.sleep(0)
        reader.feed_eof()

    task = asyncio.create_task(feed())
    blocks: list[bytes | None] = []
    try:
        while (block := await read_request(reader, END_OF_REQUEST)) is not None:
            assert len(block) <= LIMIT + 2
            blocks.append(block)
    except RequestMalformed:
        blocks.append(None)
    await task
    return blocks


@given(st.lists(REQUEST, max_size=6), st.lists(st.integers(min_value=0), max_size=20))
def test_any_pieces_give_the_same_requests(requests: list[bytes], cuts: list[int]) -> None:
    assert asyncio.run(_read(b"".join(requests), cuts)) == requests


@given(st.binary(max_size=3 * LIMIT), st.lists(st.integers(min_value=0), max_size=20))
def test_arbitrary_octets_end(stream: bytes, cuts: list[int]) -> None:
    blocks = asyncio.run(_read(stream, cuts))
    understood = b"".join(block for block in blocks if block is not None)
    assert stream.startswith(understood)
    assert blocks[-1:] == [None] or understood == stream


@given(st.one_of(st.binary(max_size=200), st.lists(st.one_of(LIKELY, LINE), max_size=12).map(b"\n".join)))
def test_arbitrary_octets_are_a_request_or_malformed(octets: bytes) -> None:
    try:
        request = parse_request(octets + b"\n\n")
    except RequestMalformed:
        return
    assert isinstance(request, PolicyRequest)
    assert request.recipient
