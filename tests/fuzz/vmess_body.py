"""The chunks of a VMess response: as they come, and sealed ones cut where the data say."""

from __future__ import annotations

from support.vmess_peers import BODIES, USER, profile
from support.vmess_server import Body, open_request, response_header

from mihomo_tproxy.codec.vmess.body import MAX_PACKET_PAYLOAD
from mihomo_tproxy.codec.vmess.layer import VmessLayer, VmessPacketAddrLayer, VmessPacketLayer
from mihomo_tproxy.errors import ProtocolError


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; what was sealed comes out whole, however it is cut."""
    kind, cut = data[:1], int.from_bytes(data[1:3], "big")
    rest = data[3 : 3 + MAX_PACKET_PAYLOAD]
    body = BODIES[(kind[0] if kind else 0) % len(BODIES)]
    for layer in (
        VmessLayer(profile(body), "192.0.2.1", 443),
        VmessPacketLayer(profile(body), "192.0.2.1", 443),
        VmessPacketAddrLayer(profile(body)),
    ):
        request = open_request(USER, bytes(layer.seal(b"")))
        assert layer.feed(response_header(request)) == b""
        try:
            _feed(layer, rest[:cut])
            _feed(layer, rest[cut:])
            layer.feed_eof()
        except ProtocolError:
            pass
    packets = VmessPacketLayer(profile(body), "192.0.2.1", 443)
    request = open_request(USER, bytes(packets.seal(b"")))
    sent = [rest[:cut] or b"x", rest[cut:] or b"y"]
    server = Body(request, is_response=True)
    wire = response_header(request) + b"".join(server.seal(payload) for payload in sent)
    got = packets.feed_packets(wire[:cut]) + packets.feed_packets(wire[cut:])
    assert [bytes(packet.data) for packet in got] == sent


def _feed(layer: VmessLayer, data: bytes) -> None:
    if isinstance(layer, VmessPacketLayer):
        layer.feed_packets(data)
    else:
        layer.feed(data)
