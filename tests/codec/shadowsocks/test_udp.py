"""Datagrams of SIP004 and without a cipher."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shadowsocks import CASES, OLD_NAMES, case_id, profile

from mihomo_tproxy.codec.shadowsocks.udp import AeadPackets, PlainPackets
from mihomo_tproxy.errors import (
    AuthenticationFailed,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)

NAME = "aes-128-gcm"
CAPTURED = [case for case in CASES if case["method"] in OLD_NAMES]


@pytest.mark.parametrize("case", CAPTURED, ids=case_id)
def test_as_a_real_server_takes_and_answers_it(case) -> None:
    codec = AeadPackets(profile(case["method"], case["password"], seed=case["udp_seed"]))
    for datagram in case["datagrams"]:
        assert codec.seal(b"query", "127.0.0.1", case["udp_port"]).hex() == datagram["request"]
        packet = codec.open(bytes.fromhex(datagram["response"]))
        assert packet == (b"query", "127.0.0.1", case["udp_port"])


@given(
    st.sampled_from([*OLD_NAMES, "none"]),
    st.binary(max_size=2000),
    st.sampled_from(["192.0.2.1", "2001:db8::1", "example.com"]),
    st.integers(0, 65535),
)
def test_back_and_forth(name: str, data: bytes, host: str, port: int) -> None:
    codec = PlainPackets() if name == "none" else AeadPackets(profile(name))
    wire = codec.seal(memoryview(data), host, port)
    assert codec.open(memoryview(wire)) == (data, host, port)


def test_what_was_tampered_with_or_cut() -> None:
    codec = AeadPackets(profile(NAME))
    wire = bytes(codec.seal(b"query", "192.0.2.1", 53))
    broken = [wire[:size] for size in range(len(wire))]
    broken += [wire[:at] + bytes((wire[at] ^ 1,)) + wire[at + 1 :] for at in range(len(wire))]
    for data in broken:
        with pytest.raises(AuthenticationFailed) as caught:
            codec.open(data)
        assert caught.value.cause == "ss-auth-failed"


def test_without_a_whole_address() -> None:
    wire = PlainPackets().seal(b"", "192.0.2.1", 53)
    for size in range(len(wire)):
        with pytest.raises(RemoteProtocolError) as caught:
            PlainPackets().open(wire[:size])
        assert caught.value.cause == "ss-bad-header"


@pytest.mark.parametrize("codec", [PlainPackets(), AeadPackets(profile(NAME))])
def test_a_host_that_cannot_be_written(codec) -> None:
    with pytest.raises(LocalProtocolError):
        codec.seal(b"", "x" * 256, 1)


@given(st.sampled_from([*OLD_NAMES, "none"]), st.binary(max_size=300))
def test_arbitrary_bytes(name: str, data: bytes) -> None:
    codec = PlainPackets() if name == "none" else AeadPackets(profile(name))
    try:
        packet = codec.open(data)
    except ProtocolError:
        return
    assert data.endswith(packet.data)
