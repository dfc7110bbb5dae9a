"""Records: sizes, pieces, damage."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from support.shadowsocks import pieces

from mihomo_tproxy.codec.shadowsocks.records import (
    LENGTH_BYTES,
    MAX_PAYLOAD,
    MAX_PAYLOAD_2022,
    RECORD_BYTES,
    Opener,
    Sealer,
)
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError

AEAD = AESGCM(bytes(16))


def sealer(limit: int = MAX_PAYLOAD) -> Sealer:
    return Sealer(AEAD, 12, limit)


def opener(limit: int = MAX_PAYLOAD) -> Opener:
    return Opener(AEAD, 12, limit)


@pytest.mark.parametrize(
    ("limit", "size", "records"),
    [
        (MAX_PAYLOAD, 0, 0),
        (MAX_PAYLOAD, 1, 1),
        (MAX_PAYLOAD, MAX_PAYLOAD, 1),
        (MAX_PAYLOAD, MAX_PAYLOAD + 1, 2),
        (MAX_PAYLOAD, 65536, 5),
        (MAX_PAYLOAD_2022, 65535, 1),
        (MAX_PAYLOAD_2022, 65536, 2),
    ],
)
def test_as_few_records_as_can_be(limit: int, size: int, records: int) -> None:
    payload = bytes(range(256)) * 257
    wire = sealer(limit).seal(memoryview(payload)[:size], b"before")
    assert wire[:6] == b"before"
    assert len(wire) == 6 + size + records * RECORD_BYTES
    assert opener(limit).open(wire[6:]) == payload[:size]


def test_byte_by_byte_and_every_truncation() -> None:
    ours, theirs = sealer(), opener()
    wire = bytes(ours.seal(b"one") + ours.seal(b"") + ours.seal(b"three"))
    got = b""
    ends = {0, 3 + RECORD_BYTES, len(wire)}
    for at, byte in enumerate(wire, 1):
        got += theirs.open(bytes((byte,)))
        assert theirs.between_records == (at in ends)
        assert len(theirs._held) < LENGTH_BYTES + 5
    assert got == b"onethree"


@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=5), st.lists(st.integers(0, 20000)))
def test_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    ours, theirs = sealer(1000), opener(1000)
    wire = b"".join(ours.seal(payload) for payload in payloads)
    assert b"".join(theirs.open(piece) for piece in pieces(wire, cuts)) == b"".join(payloads)
    assert theirs.between_records


def test_a_record_without_payload() -> None:
    ours, theirs = sealer(), opener()
    empty = ours.seal_part(b"\0\0") + ours.seal_part(b"")
    assert theirs.open(empty + ours.seal(b"next")) == b"next"


def test_what_was_tampered_with() -> None:
    wire = bytes(sealer().seal(b"payload"))
    for at in range(len(wire)):
        broken = wire[:at] + bytes((wire[at] ^ 1,)) + wire[at + 1 :]
        with pytest.raises(AuthenticationFailed) as caught:
            opener().open(broken)
        assert caught.value.cause == "ss-auth-failed"


def test_a_record_that_is_too_long() -> None:
    wire = sealer().seal_part((MAX_PAYLOAD + 1).to_bytes(2, "big"))
    with pytest.raises(RemoteProtocolError) as caught:
        opener().open(wire)
    assert caught.value.cause == "ss-bad-header"


def test_what_was_given_is_not_touched_again() -> None:
    ours, theirs = sealer(), opener()
    first = theirs.open(ours.seal(b"first"))
    wire = ours.seal(b"second")
    theirs.open(wire[:30])
    second = theirs.open(wire[30:])
    assert (first, second) == (b"first", b"second")


def test_parts_have_nonces_of_their_own() -> None:
    ours, theirs = sealer(), opener()
    assert theirs.open_part(ours.seal_part(b"head")) == b"head"
    with pytest.raises(AuthenticationFailed):
        theirs.open_part(sealer().seal_part(b"head"))
