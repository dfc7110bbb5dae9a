"""The mask of WebSocket's client frames (RFC 6455, 5.3): payload XOR a repeated 4-byte key.

`websockets` has it in C, in a module that needs nothing of the package around it; that package
imports 4 MB of the standard library, so the module is loaded past it. Where it was not built, two
long integers do the work.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Buffer

    Mask = Callable[[Buffer, bytes], bytes]


def apply_mask_slowly(data: Buffer, mask: bytes) -> bytes:
    """`data` XOR `mask`, repeated; the mask has 4 bytes."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def find_mask(package: str = "websockets") -> Mask:
    """The fastest there is."""
    parent = find_spec(package)
    where = parent.submodule_search_locations if parent is not None else None
    spec = PathFinder.find_spec(f"{package}.speedups", where) if where is not None else None
    if spec is None or spec.loader is None:
        return apply_mask_slowly
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    mask: Mask = module.apply_mask
    return mask


apply_mask = find_mask()
