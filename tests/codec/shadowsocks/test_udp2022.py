"""Datagrams of SIP022: a real server's, sessions, replays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shadowsocks import CASES, NEW_NAMES, NOW, case_id, profile, reply_2022

from mihomo_tproxy.codec.shadowsocks.editions import packet_codec
from mihomo_tproxy.codec.shadowsocks.replay import WINDOW_PACKETS
from mihomo_tproxy.codec.shadowsocks.udp2022 import SESSION_CHANGE_S, AesPackets, ChaChaPackets
from mihomo_tproxy.errors import (
    AuthenticationFailed,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    ReplayDetected,
)

CAPTURED = [case for case in CASES if case["method"] in NEW_NAMES]
KINDS = ["2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305"]


class Clocked:
    """A client with a clock of its own, and its server."""

    def __init__(self, name: str = KINDS[0]) -> None:
        self.now = float(NOW)
        shared = profile(name)
        shared.now = lambda: self.now
        self.shared = shared
        self.codec = packet_codec(shared)

    def reply(self, number: int = 0, data: bytes = b"answer", **options) -> bytes:
        options.setdefault("time", int(self.now))
        return reply_2022(self.shared, self.codec._identity, data, number, **options)

    def refused(self, data: bytes) -> ProtocolError:
        with pytest.raises(ProtocolError) as caught:
            self.codec.open(data)
        return caught.value


@pytest.mark.parametrize("case", CAPTURED, ids=case_id)
def test_as_a_real_server_takes_and_answers_it(case) -> None:
    shared = profile(case["method"], case["password"], now=case["now"], seed=case["udp_seed"])
    codec = packet_codec(shared)
    for datagram in case["datagrams"]:
        assert codec.seal(b"query", "127.0.0.1", case["udp_port"]).hex() == datagram["request"]
        answer = bytes.fromhex(datagram["response"])
        assert codec.open(answer) == (b"query", "127.0.0.1", case["udp_port"])
        with pytest.raises(ReplayDetected) as caught:
            codec.open(answer)
        assert caught.value.cause == "ss-replay"


def test_the_cipher_of_a_method() -> None:
    assert [type(packet_codec(profile(name))) for name in KINDS] == [AesPackets, ChaChaPackets]


@pytest.mark.parametrize("name", KINDS)
def test_queries_hide_their_length(name: str) -> None:
    codec = packet_codec(profile(name))
    sizes = {len(codec.seal(b"query", "192.0.2.1", 53)) for _ in range(20)}
    assert len(sizes) > 10
    assert len({len(codec.seal(b"query", "192.0.2.1", 443)) for _ in range(20)}) == 1


@pytest.mark.parametrize("name", KINDS)
@given(st.binary(max_size=2000), st.sampled_from(["192.0.2.1", "2001:db8::1", "a.example"]))
def test_an_answer(name: str, data: bytes, host: str) -> None:
    client = Clocked(name)
    assert client.codec.open(client.reply(7, data, remote=(host, 9))) == (data, host, 9)


@pytest.mark.parametrize("name", KINDS)
def test_out_of_order_but_once(name: str) -> None:
    client = Clocked(name)
    for number in (5, 3, 4, WINDOW_PACKETS, 6):
        assert client.codec.open(client.reply(number)).data == b"answer"
    for number in (3, 0, WINDOW_PACKETS):
        assert client.refused(client.reply(number)).cause == "ss-replay"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"kind": 0}, "ss-bad-header"),
        ({"time": NOW - 31}, "ss-timestamp"),
        ({"time": NOW + 31}, "ss-timestamp"),
    ],
)
def test_an_answer_that_is_none_or_not_of_now(name: str, options, cause: str) -> None:
    client = Clocked(name)
    assert client.refused(client.reply(1, **options)).cause == cause
    assert client.codec.open(client.reply(1)).data == b"answer"


@pytest.mark.parametrize("name", KINDS)
def test_the_answer_to_another_session(name: str) -> None:
    client = Clocked(name)
    error = client.refused(reply_2022(client.shared, b"stranger", b"answer"))
    assert isinstance(error, ReplayDetected)
    assert client.codec._present is None


@pytest.mark.parametrize("name", KINDS)
def test_a_server_that_started_again(name: str) -> None:
    client = Clocked(name)
    for session in (b"server-1", b"server-2", b"server-1"):
        client.now += 1
        assert client.codec.open(client.reply(int(client.now), session=session))
    third = {"session": b"server-3"}
    assert client.refused(client.reply(1, **third)).cause == "ss-udp-session"
    client.now += SESSION_CHANGE_S
    assert client.codec.open(client.reply(1, **third))
    assert client.codec._before.identity == b"server-2"


@pytest.mark.parametrize("name", KINDS)
def test_what_was_tampered_with_or_cut(name: str) -> None:
    client = Clocked(name)
    wire = client.reply()
    for at in range(len(wire)):
        for data in (wire[:at], wire[:at] + bytes((wire[at] ^ 1,)) + wire[at + 1 :]):
            error = client.refused(data)
            assert isinstance(error, AuthenticationFailed) or error.cause == "ss-bad-header"
    assert client.codec._present is None
    assert client.codec.open(wire).data == b"answer"


@pytest.mark.parametrize("name", KINDS)
def test_a_padding_longer_than_the_datagram(name: str) -> None:
    client = Clocked(name)
    whole = client.codec
    whole.open(client.reply(1))
    session = whole._present
    plain = bytes((1,)) + NOW.to_bytes(8, "big") + whole._identity + b"\xff\xff"
    with pytest.raises(RemoteProtocolError) as caught:
        whole._accept(session, 2, plain, 0)
    assert caught.value.cause == "ss-bad-header"
    with pytest.raises(RemoteProtocolError):
        whole._accept(session, 2, plain[:-1], 0)
    assert session.window.is_new(2)


@pytest.mark.parametrize("name", KINDS)
def test_a_host_that_cannot_be_written(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        packet_codec(profile(name)).seal(b"", "x" * 256, 1)


@given(st.sampled_from(KINDS), st.binary(max_size=300))
def test_arbitrary_bytes(name: str, data: bytes) -> None:
    assert Clocked(name).refused(data).cause in ("ss-auth-failed", "ss-bad-header")
