"""gRPC messages of a server, in one DATA frame and in two."""

from __future__ import annotations

from mihomo_tproxy.codec import h2frames
from mihomo_tproxy.config.specs.transport import GrpcSpec
from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.transport.grpc import GrpcLayer, grpc_opening

OPENINGS = grpc_opening(GrpcSpec(), "a", 443, tls=True)
BEGINNING = h2frames.encode_settings([]) + h2frames.encode_frame(
    h2frames.HEADERS, h2frames.END_HEADERS, 1, b"\x88"
)
MAX_PREFIX_BYTES = 9


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; frames make no difference; little is held."""
    half = len(data) // 2
    assert _read([data]) == _read([data[:half], data[half:]])


def _read(parts: list[bytes]) -> bytes | None:
    layer = GrpcLayer(OPENINGS)
    layer.begin()
    layer.seal(b"")
    layer.feed(BEGINNING)
    payload = b""
    try:
        for part in parts:
            payload += layer.feed(h2frames.data_head(len(part)) + part)
            assert len(layer._prefix) <= MAX_PREFIX_BYTES
    except ProtocolError:
        return None
    return payload
