"""HTTP/2 frames of a server: any, and any behind a good beginning."""

from __future__ import annotations

from mihomo_tproxy.codec import h2frames
from mihomo_tproxy.codec.h2frames import MAX_WHOLE_BYTES, SETTINGS_INITIAL_WINDOW_SIZE
from mihomo_tproxy.config.specs.transport import H2Spec
from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.transport.h2 import H2Layer, h2_openings

OPENINGS = h2_openings(H2Spec(("a",)), tls=True)
BEGINNING = h2frames.encode_settings([(SETTINGS_INITIAL_WINDOW_SIZE, 100)]) + h2frames.encode_frame(
    h2frames.HEADERS, h2frames.END_HEADERS, 1, b"\x88"
)


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes; pieces give the same payload; what is said is linear."""
    for wire in (data, BEGINNING + data):
        half = len(wire) // 2
        whole, halves = _read([wire]), _read([wire[:half], wire[half:]])
        assert (whole is None) == (halves is None)
        assert whole == halves


def _read(chunks: list[bytes]) -> bytes | None:
    layer = H2Layer(OPENINGS)
    layer.begin()
    layer.seal(bytes(300))
    payload = b""
    try:
        for chunk in chunks:
            payload += layer.feed(chunk)
            assert len(layer._reader._held) <= MAX_WHOLE_BYTES + h2frames.HEAD_BYTES
    except ProtocolError:
        return None
    assert len(layer.output) <= 2 * sum(map(len, chunks)) + 300
    layer.seal(b"x")
    layer.finish()
    return payload
