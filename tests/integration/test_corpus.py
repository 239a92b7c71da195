"""Every sample of the corpus through the real gateway: the receipt with its verdict, the agency's copy unchanged."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.corpus.road import Journey, travel
from tests.corpus.sample import Sample, agrees
from tests.corpus.sandbox import sandbox_samples
from tests.corpus.wire import CRLF, name_of
from tests.sandbox.parties import AGENCY_ADDRESSES, INTERFACES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.gateway import Gateway

SAMPLES = sandbox_samples()


@pytest.fixture(scope="session")
def journey(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Send all samples, once. They are one message in many versions: what came before under its name does not count."""
    folder = tmp_path_factory.mktemp("interfaces")
    codes = {AGENCY_ADDRESSES[sample.flow][1] for sample in SAMPLES}
    try:
        for code in codes:
            _set(gateway, folder, code, "accept", switches={"DGP-3043": False})
        return travel(gateway, gateway.account("TRADER"), SAMPLES)
    finally:
        for code in codes:
            _set(gateway, folder, code, "tell", switches={})


def _set(gateway: Gateway, folder: Path, code: str, policy: str, *, switches: dict[str, bool]) -> None:
    interface = INTERFACES.get(code, {})
    file = folder / f"{code}.json"
    file.write_text(json.dumps({**interface, "checks": {**interface.get("checks", {}), **switches}}), encoding="utf-8")
    gateway.administer(
        ("flow", "interface", code, str(file)),
        ("flow", "resubmission", code, policy),
        ("maps", "publish"),
    )


@pytest.mark.parametrize("sample", [pytest.param(sample, id=sample.name) for sample in SAMPLES])
def test_every_sample_gets_its_verdict_once(journey: Journey, sample: Sample) -> None:
    outcome = journey.outcomes[sample.name]
    if sample.in_session:
        assert 500 <= outcome.reply.code < 600
        assert sample.expected[0] in outcome.reply.text
        assert (outcome.receipts, outcome.copies) == ((), ())
        return
    assert outcome.reply.code == 250, outcome.reply
    (receipt,) = outcome.receipts
    assert agrees(receipt.codes, sample.expected), receipt
    assert receipt.told == receipt.codes
    if sample.expected:
        assert (receipt.action, outcome.copies) == ("failed", ())
        return
    assert receipt.action == "relayed"
    (copy,) = outcome.copies
    assert _digest(copy) == _digest(sample.raw)
    assert _own_fields(copy) == _without_trace(_as_postfix_takes(sample.raw))


def test_nothing_comes_of_no_sample(journey: Journey) -> None:
    assert journey.strays == ()


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw.partition(CRLF + CRLF)[2]).hexdigest()


def _fields(raw: bytes) -> list[bytes]:
    """Return the header's fields, folds and all."""
    lines = raw.partition(CRLF + CRLF)[0].split(CRLF)
    fields: list[bytes] = []
    for line in lines:
        if line[:1] in {b" ", b"\t"}:
            fields[-1] += CRLF + line
        else:
            fields.append(line)
    return fields


def _own_fields(copy: bytes) -> list[bytes]:
    """Return a copy's fields without what the gateway added: its trace in front, and its own headers."""
    fields = [field for field in _fields(copy) if not name_of(field).startswith(b"x-digipoort-")]
    assert [name_of(field) for field in fields[:2]] == [b"received"] * 2
    return fields[2:]


def _without_trace(raw: bytes) -> list[bytes]:
    """Return a message's fields without what the party's own servers wrote, which goes no further than acceptance."""
    return [field for field in _fields(raw) if name_of(field) not in {b"received", b"return-path"}]


def _as_postfix_takes(raw: bytes) -> bytes:
    """Return a message as smtpd(8) takes it: a mailbox file's From line becomes a header field."""
    return b"X-Mailbox-Line: " + raw if raw.lstrip(b">").startswith(b"From ") else raw
