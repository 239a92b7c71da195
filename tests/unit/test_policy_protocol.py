"""Policy requests as Postfix sends them, cut up in every way, and what Postfix would never send."""

from __future__ import annotations

import pytest

from digipoort import reasons
from digipoort.decision import NO_CERTIFICATE, Certificate
from digipoort.framing import RequestMalformed, Requests
from digipoort.reasons import Finding
from digipoort_policyd.protocol import (
    END_OF_REQUEST,
    MAX_REQUEST_OCTETS,
    PolicyRequest,
    format_reply,
    parse_request,
)

# As captured from Postfix 3.7's smtpd at RCPT TO, with AUTH and TLS.
CAPTURED = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.7\n"
    b"client_name=unknown\nclient_port=40000\nreverse_client_name=unknown\nserver_address=192.0.2.1\nserver_port=587\n"
    b"helo_name=client.example\nsender=a@handel.example\nrecipient=ags@overheid.example\nrecipient_count=0\n"
    b"queue_id=\ninstance=1a2b.5f00.0\nsize=4096\netrn_domain=\nstress=\nsasl_method=PLAIN\nsasl_username=trader\n"
    b"sasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\nccert_pubkey_fingerprint=\n"
    b"encryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\n"
    b"policy_context=submission\n\n"
)
MINIMAL = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\npolicy_context=acceptance\n"
    b"sender=\nrecipient=b@handel.example\n\n"
)


def _read_all(octets: bytes, chunk: int) -> list[bytes]:
    """Return the requests in a stream that arrives in pieces of `chunk` octets. Raises RequestMalformed."""
    stream = Requests(END_OF_REQUEST, MAX_REQUEST_OCTETS)
    requests = []
    for start in range(0, len(octets), chunk):
        stream.feed(octets[start : start + chunk])
        while (request := stream.take()) is not None:
            requests.append(request)
    stream.end()
    return requests


@pytest.mark.parametrize("chunk", [1, 16, 128, 4096])
def test_replay(chunk: int) -> None:
    blocks = [CAPTURED, MINIMAL, CAPTURED]
    assert _read_all(b"".join(blocks), chunk) == blocks


def test_captured_request() -> None:
    assert parse_request(CAPTURED) == PolicyRequest(
        context="submission",
        sender=b"a@handel.example",
        recipient=b"ags@overheid.example",
        size=4096,
        sasl_username=b"trader",
        encryption_protocol=b"TLSv1.3",
        queue_id=b"",
        instance=b"1a2b.5f00.0",
        client_address=b"192.0.2.7",
        certificate=NO_CERTIFICATE,
    )


def test_what_is_left_out_is_empty() -> None:
    request = parse_request(MINIMAL)
    assert (request.context, request.sender, request.size) == ("acceptance", b"", 0)
    assert request.sasl_username == request.encryption_protocol == request.client_address == b""


@pytest.mark.parametrize(
    ("quoted", "subject"),
    [
        (b"Bloemen+20+2B+20Co", b"Bloemen + Co"),
        (b"a=b", b"a=b"),
        (b"Zo+C3+AB", "Zo\u00eb".encode()),
        # What smtpd does not write: no subject, and so none that a credential could ask for.
        (b"Bloemen B.V.", b""),
        (b"Bloemen+2x", b""),
        (b"+", b""),
        (b"Zo\xc3\xab", b""),
    ],
)
def test_the_subject_of_a_certificate_is_xtext(quoted: bytes, subject: bytes) -> None:
    block = CAPTURED.replace(b"ccert_subject=", b"ccert_subject=" + quoted)
    request = parse_request(block.replace(b"ccert_fingerprint=", b"ccert_fingerprint=AB:CD"))
    assert request.certificate == Certificate(b"AB:CD", subject)


def test_values_keep_every_octet() -> None:
    request = parse_request(MINIMAL.replace(b"sender=", b"sender=\xff=\r\x01"))
    assert request.sender == b"\xff=\r\x01"


def test_the_last_of_two_counts() -> None:
    assert (
        parse_request(MINIMAL.replace(b"sender=", b"sender=x@a.example\nsender=y@a.example")).sender == b"y@a.example"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"request=smtpd_access_policy\n", b""),
        (b"smtpd_access_policy", b"junk"),
        (b"policy_context=acceptance\n", b""),
        (b"=acceptance", b"=other"),
        (b"=RCPT", b"=MAIL"),
        (b"=RCPT", b"=DATA"),
        (b"=RCPT", b"=END-OF-MESSAGE"),
        (b"=RCPT", b"=VRFY"),
        (b"protocol_state=RCPT\n", b""),
        (b"sender=\n", b""),
        (b"recipient=b@handel.example\n", b""),
        (b"=b@handel.example", b"="),
        (b"sender=", b"sender"),
        (b"sender=", b"sender=a\0b"),
        (b"sender=", b"size=-1\nsender="),
        (b"sender=", b"size=1_0\nsender="),
        (b"sender=", b"size=" + b"9" * 5000 + b"\nsender="),
        (MINIMAL, b"\n\n"),
        (MINIMAL, b"\nrequest=smtpd_access_policy\n\n"),
        (MINIMAL, bytes(range(256)) + b"\n\n"),
        (b"\n", b"\r\n"),
    ],
)
def test_malformed(old: bytes, new: bytes) -> None:
    with pytest.raises(RequestMalformed):
        parse_request(MINIMAL.replace(old, new))


@pytest.mark.parametrize(
    "stream",
    [CAPTURED[:-1], b"a", b"\n", b"x=" + b"y" * MAX_REQUEST_OCTETS + b"\n\n", b"z" * (MAX_REQUEST_OCTETS + 1)],
)
def test_no_request_to_be_had(stream: bytes) -> None:
    with pytest.raises(RequestMalformed):
        _read_all(stream, 4096)


def test_replies() -> None:
    assert format_reply(None) == b"action=DUNNO\n\n"
    reply = format_reply(Finding(reasons.NOT_CONNECTED, {"flow": "AGS\n\n"}))
    assert reply.startswith(b"action=550 5.7.1 DGP-2003 (flow=AGS__) ")
    assert reply.endswith(b".\n\n")
    assert reply.count(b"\n") == 2
