"""Whatever arrives in whatever pieces: the same requests come out, nothing else is raised, and memory stays bounded."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from digipoort.framing import RequestMalformed, Requests
from digipoort_policyd.protocol import END_OF_REQUEST, PolicyRequest, parse_request

LIMIT = 512
LINE = st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))
REQUEST = st.lists(LINE.filter(bool), min_size=1, max_size=8).map(lambda lines: b"\n".join(lines) + b"\n\n")
LIKELY = st.sampled_from([
    b"request=smtpd_access_policy", b"protocol_state=RCPT", b"policy_context=submission", b"policy_context=acceptance",
    b"sender=", b"sender=a@b.example", b"recipient=c@d.example", b"recipient=", b"size=1", b"size=x", b"none", b"\0=",
])  # fmt: skip


def _read(octets: bytes, cuts: list[int]) -> list[bytes | None]:
    """Return what the stream holds, with None at the end if that could not be understood."""
    stream = Requests(END_OF_REQUEST, LIMIT)
    edges = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    blocks: list[bytes | None] = []
    try:
        for start, end in itertools.pairwise(edges):
            stream.feed(octets[start:end])
            while (block := stream.take()) is not None:
                assert len(block) <= LIMIT
                blocks.append(block)
            assert len(stream) <= LIMIT
        stream.end()
    except RequestMalformed:
        blocks.append(None)
    return blocks


@given(st.lists(REQUEST, max_size=6), st.lists(st.integers(min_value=0), max_size=20))
def test_any_pieces_give_the_same_requests(requests: list[bytes], cuts: list[int]) -> None:
    assert _read(b"".join(requests), cuts) == requests


@given(st.binary(max_size=3 * LIMIT), st.lists(st.integers(min_value=0), max_size=20))
def test_arbitrary_octets_end(stream: bytes, cuts: list[int]) -> None:
    blocks = _read(stream, cuts)
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
