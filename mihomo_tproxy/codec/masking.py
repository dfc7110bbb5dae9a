"""The mask of WebSocket's client frames (RFC 6455, 5.3): payload XOR a repeated 4-byte key.

`websockets` has it in C; where that was not built, two long integers do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer


def apply_mask_slowly(data: Buffer, mask: bytes | bytearray) -> bytes:
    """`data` XOR `mask`, repeated; the mask has 4 bytes."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


try:
    from websockets.speedups import apply_mask
except ImportError:
    apply_mask = apply_mask_slowly

__all__ = ["apply_mask", "apply_mask_slowly"]
