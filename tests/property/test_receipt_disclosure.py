"""Whatever a notification looks like, no receipt discloses a physical address, host or IP, and none is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from digipoort.interface.fields import HeaderField
from digipoort_milter.outcome import AddHeader, ChangeHeader, Outcome, ReplaceBody
from digipoort_milter.receipt import ReceiptMessage
from tests.milter_samples import (
    BOUNDARY,
    CONTENT_TYPE,
    DELAYED,
    EXPIRED_LATE,
    MAIN_FIELDS,
    PHYSICAL,
    REFUSED_AT_HOP,
    REFUSED_LATE,
    RELAYED,
    Fate,
    chunks,
    logger,
    no_macro,
    nothing_earlier,
    notification,
)
from tests.milter_samples import settings as milter_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRETS = [secret.decode() for secret in PHYSICAL]
WORDS = st.one_of(
    st.sampled_from(
        [
            *SECRETS,
            "user@phys.example",
            "ags@logical.example",
            "rfc822;",
            "DGP-2003 (flow=mx7.phys.example)",
            "DGP-4003",
            "failed",
            "relayed",
            "5.1.1",
            "4.4.1",
            "expired",
            "\r\n",
            "\r\n\r\n",
            "\r\n ",
            f"--{BOUNDARY}\r\n",
            "Action: failed\r\n",
            "Final-Recipient: rfc822; user@phys.example\r\n",
            "Original-Recipient: rfc822;ags@logical.example\r\n",
        ]
    ),
    st.text(max_size=10),
)
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
ADDRESSES = st.one_of(
    st.sampled_from(["ags@logical.example", "physicaluser@phys.example", "AGS@LOGICAL.EXAMPLE"]),
    st.tuples(st.sampled_from(SECRETS), st.sampled_from(SECRETS)).map("@".join),
)
FATES = st.builds(
    Fate,
    final=ADDRESSES,
    original=st.one_of(st.none(), st.just("ags@logical.example")),
    action=st.sampled_from(["relayed", "failed", "delayed", "expanded", "mx7.phys.example"]),
    status=st.sampled_from(["2.0.0", "5.1.1", "4.4.1", "5.4.7", "192.0.2.25", "5.192.0"]),
    # A reply of our own stage is trusted, so that only the others are free text.
    diagnostic=TEXTS.map(lambda text: "X-Postfix; " + text.replace("\r\n", " ").replace("DGP", "dgp")),
)
SAMPLES = st.builds(
    notification,
    st.sampled_from([RELAYED, REFUSED_AT_HOP, REFUSED_LATE, EXPIRED_LATE, DELAYED]),
    full=st.booleans(),
)


def rebuild(body: bytes, fields: Sequence[HeaderField] = MAIN_FIELDS, cuts: Sequence[int] = ()) -> Outcome:
    message = ReceiptMessage(milter_settings(), None, nothing_earlier, logger())
    for name, value in fields:
        message.header(name, value)
    for piece in chunks(body, cuts):
        message.body(piece)
    return message.finish(no_macro)


def written(outcome: Outcome) -> bytes:
    """Return everything that the role has written."""
    assert not outcome.findings
    texts = []
    for change in outcome.changes:
        if isinstance(change, ReplaceBody):
            texts.append(change.content)
        elif isinstance(change, AddHeader | ChangeHeader):
            texts.append(change.value.encode("ascii"))
    assert isinstance(outcome.changes[-1], ReplaceBody)
    return b"\n".join(texts).lower()


def assert_discloses_nothing(outcome: Outcome) -> None:
    text = written(outcome)
    assert [secret for secret in PHYSICAL if secret in text] == []


@settings(max_examples=100, deadline=None)
@given(st.lists(FATES, max_size=4), st.booleans(), st.lists(st.integers(0, 3000), max_size=4))
def test_any_fates(fates: list[Fate], full: bool, cuts: list[int]) -> None:  # noqa: FBT001 - hypothesis fills it
    assert_discloses_nothing(rebuild(notification(*fates, full=full), cuts=cuts))


@settings(max_examples=100, deadline=None)
@given(SAMPLES, st.data())
def test_lines_lost_repeated_or_moved(sample: bytes, data: st.DataObject) -> None:
    report, returned = sample.split(b"Content-Type: message/delivery-status")
    status, third = returned.split(f"--{BOUNDARY}".encode(), 1)
    lines = status.split(b"\r\n")
    places = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=2 * len(lines)))
    mutated = b"\r\n".join(lines[place] for place in places)
    body = (
        report + b"Content-Type: message/delivery-status\r\n\r\n" + mutated + b"\r\n" + f"--{BOUNDARY}".encode() + third
    )
    assert_discloses_nothing(rebuild(body))


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_any_text_for_people(text: str) -> None:
    before, after = notification(REFUSED_LATE).split(b"This is the mail system", 1)
    body = before + text.replace(BOUNDARY, "").encode("utf-8", "replace") + after
    assert_discloses_nothing(rebuild(body))


@settings(max_examples=100, deadline=None)
@given(SAMPLES, st.integers(0, 3000), st.integers(0, 50), st.binary(max_size=20))
def test_any_damage_still_gives_a_receipt(sample: bytes, place: int, lost: int, inserted: bytes) -> None:
    written(rebuild(sample[:place] + inserted + sample[place + lost :]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.lists(st.binary(max_size=60), max_size=3))
def test_any_octets_give_a_receipt(body: bytes, values: list[bytes]) -> None:
    names = ["Content-Type", "Date", "X-Digipoort-Reference"]
    written(rebuild(body, [HeaderField(name, value) for name, value in zip(names, values, strict=False)]))
    written(rebuild(body, [HeaderField("Content-Type", CONTENT_TYPE)]))
    delimited = f"--{BOUNDARY}\r\n".encode()
    framed = delimited + delimited.join([b"\r\n", body, body]) + f"\r\n--{BOUNDARY}--".encode()
    written(rebuild(framed))
