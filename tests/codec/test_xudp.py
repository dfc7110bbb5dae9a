"""XUDP.

The vectors are what sing-box 1.14.4 and mihomo 1.19.32 sent as clients for two datagrams, and what
they and v2ray 4.34 answered as servers.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.datagrams import check_every_cut, feed_in

from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.codec.xudp import MAX_DATAGRAM, MAX_METADATA, XudpLayer
from mihomo_tproxy.errors import DestinationRefused, LocalProtocolError, ProtocolError
from mihomo_tproxy.errors import RemoteProtocolError as Broken

SING_BOX_NEW = bytes.fromhex("000c0000010102003501c000020100036f6e65")
SING_BOX_KEEP = bytes.fromhex("000c000002010201bb01c0000202000374776f")
MIHOMO_NEW = bytes.fromhex("00140000010102003501c00002011fd0a44d95024b5200036f6e65")
ADDRESSED = bytes.fromhex("000c00000201029701017f00000100036f6e65")
BARE = bytes.fromhex("00040000020100036f6e65")
END = bytes.fromhex("000400000300")
KEEP_ALIVE = bytes.fromhex("0004000104010003616263")
FROM_IPV6 = bytes.fromhex("00180000020102003503") + bytes(15) + b"\x01\x00\x01x"
FROM_NAME = bytes.fromhex("00120000020102003502096c6f63616c686f73740001") + b"y"


def test_what_others_send() -> None:
    layer = XudpLayer()
    assert layer.seal_packet(b"one", "192.0.2.1", 53) == SING_BOX_NEW
    assert layer.seal_packet(memoryview(b"two"), "192.0.2.2", 443) == SING_BOX_KEEP
    assert layer.finish() == END


def test_the_global_id_is_on_the_first_frame_only() -> None:
    layer = XudpLayer(bytes.fromhex("1fd0a44d95024b52"))
    assert layer.seal_packet(b"one", "192.0.2.1", 53) == MIHOMO_NEW
    assert layer.seal_packet(b"two", "192.0.2.2", 443) == SING_BOX_KEEP


def test_every_datagram_names_its_own_remote() -> None:
    layer = XudpLayer()
    remotes = [("192.0.2.1", 1), ("192.0.2.1", 2), ("a.example", 2), ("a.example", 2), ("::1", 9)]
    wire = b"".join(bytes(layer.seal_packet(b"x", *remote)) for remote in remotes)
    wire = wire[:4] + b"\x02" + wire[5:]
    assert feed_in(XudpLayer, wire, len(wire)) == [Packet(b"x", *remote) for remote in remotes]


def test_a_session_that_never_began_is_not_ended() -> None:
    assert XudpLayer().finish() == b""


def test_however_it_is_cut() -> None:
    frames = [ADDRESSED, BARE, KEEP_ALIVE, FROM_IPV6, FROM_NAME, ADDRESSED]
    packets = [
        Packet(b"one", "127.0.0.1", 0x9701),
        Packet(b"one", "", 0),
        Packet(b"x", "::1", 53),
        Packet(b"y", "localhost", 53),
        Packet(b"one", "127.0.0.1", 0x9701),
    ]
    check_every_cut(XudpLayer, frames, packets)


def test_frames_without_data() -> None:
    layer = XudpLayer()
    assert layer.feed_packets(bytes.fromhex("000400000200 000400000400") + BARE) == [
        Packet(b"one", "", 0)
    ]


def test_the_end() -> None:
    layer = XudpLayer()
    assert layer.feed_packets(BARE + END + BARE) == [Packet(b"one", "", 0)]
    assert layer.ended


@pytest.mark.parametrize(
    ("wire", "error", "cause"),
    [
        ("000400000302", DestinationRefused, "xudp-refused"),
        ("00040000020300036f6e65", DestinationRefused, "xudp-refused"),
        ("000400000100", Broken, "xudp-bad-frame"),
        ("000400000500", Broken, "xudp-bad-frame"),
        ("000300000200", Broken, "xudp-bad-frame"),
        ((MAX_METADATA + 1).to_bytes(2, "big").hex() + "00000200", Broken, "xudp-bad-frame"),
        ("000c00000201019701017f0000010000", Broken, "xudp-bad-frame"),
        ("000b000002010297010109080700 0000", Broken, "xudp-bad-frame"),
        ("000c00000201029701097f0000010000", Broken, "bad-address"),
    ],
)
def test_what_is_no_session(wire: str, error: type[ProtocolError], cause: str) -> None:
    with pytest.raises(error) as caught:
        XudpLayer().feed_packets(bytes.fromhex(wire))
    assert caught.value.cause == cause


def test_what_cannot_be_sent() -> None:
    layer = XudpLayer()
    with pytest.raises(LocalProtocolError, match="16001 bytes"):
        layer.seal_packet(bytes(MAX_DATAGRAM + 1), "192.0.2.1", 53)
    with pytest.raises(LocalProtocolError):
        layer.seal_packet(b"", "not a näme", 53)
    assert layer.seal_packet(b"one", "192.0.2.1", 53) == SING_BOX_NEW


@given(st.lists(st.binary(max_size=600), max_size=8))
def test_arbitrary_bytes(chunks: list[bytes]) -> None:
    layer = XudpLayer()
    try:
        for chunk in chunks:
            layer.feed_packets(chunk)
        layer.feed_eof()
    except ProtocolError:
        pass


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=300),
            st.sampled_from(["192.0.2.1", "2001:db8::2", "name.example"]),
            st.integers(0, 65535),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 400),
)
def test_back_and_forth(sent: list[tuple[bytes, str, int]], size: int) -> None:
    """A server's frames are a client's, but for the first one's status."""
    layer = XudpLayer()
    wire = bytearray().join(layer.seal_packet(*packet) for packet in sent)
    wire[4] = 2
    assert feed_in(XudpLayer, bytes(wire), size) == sent
