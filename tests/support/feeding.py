"""Ways to hand the same bytes to a layer: at once, byte by byte, in any pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mihomo_tproxy.codec.layer import Layer

OUTPUT_LIMIT = 1 << 20


def trickled(data: bytes) -> Iterator[bytes]:
    """Byte by byte."""
    return (data[at : at + 1] for at in range(len(data)))


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Pieces of these sizes, and the rest."""
    at = 0
    for size in sizes:
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size
    if at < len(data):
        yield data[at:]


def fed(layer: Layer, chunks: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The payload, and what the layer says of its own accord.

    Each piece is in a buffer that is overwritten afterwards, as a reactor's is.
    """
    payload, said = bytearray(), bytearray()
    for chunk in chunks:
        buffer = bytearray(chunk)
        payload += layer.feed(memoryview(buffer))
        buffer[:] = b"\xee" * len(buffer)
        said += taken(layer)
        assert len(said) <= OUTPUT_LIMIT
    return bytes(payload), bytes(said)


def taken(layer: Layer) -> bytes:
    """What the layer says of its own accord, as its driver takes it."""
    said, layer.output = layer.output, b""
    return said


def sealed(layer: Layer, payload: bytes) -> bytes:
    """The wire bytes of payload that is overwritten as soon as they are copied."""
    buffer = bytearray(payload)
    wire = bytes(layer.seal(memoryview(buffer)))
    buffer[:] = b"\xee" * len(buffer)
    return wire


def outcome(action: Callable[[], object]) -> object:
    """What an action returns, or the cause it fails for."""
    try:
        return action()
    except ProtocolError as error:
        return error.cause
