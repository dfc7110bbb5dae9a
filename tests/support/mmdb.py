"""Small MaxMind databases (format 2.0), written as the specification says."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from mihomo_tproxy.geo.mmdb import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable

ALIASES = ("2002::/16", "2001::/32", "::ffff:0:0/96")
_EMPTY = -1


class Pointer(int):
    """A place in the data section, written as a pointer."""


def encode(value: Any) -> bytes:
    """A value of the data section; numbers become uint32, uint64 or uint128."""
    if isinstance(value, Pointer):
        return b"\x38" + value.to_bytes(4, "big")
    if isinstance(value, bool):
        return _head(14, int(value))
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    if isinstance(value, int):
        payload = value.to_bytes((value.bit_length() + 7) // 8, "big")
        kind = 6 if len(payload) <= 4 else 9 if len(payload) <= 8 else 10
        return _head(kind, len(payload)) + payload
    if isinstance(value, float):
        return _head(3, 8) + bytes(8)
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(
            encode(key) + encode(item) for key, item in value.items()
        )
    return _head(11, len(value)) + b"".join(map(encode, value))


def _head(kind: int, size: int) -> bytes:
    extended = bytes([kind - 7]) if kind > 7 else b""
    control = kind << 5 if kind <= 7 else 0
    for base, code, width in ((65821, 31, 3), (285, 30, 2), (29, 29, 1)):
        if size >= base:
            extra = (size - base).to_bytes(width, "big")
            return bytes([control | code]) + extended + extra
    return bytes([control | size]) + extended


def write(
    records: Iterable[tuple[str, Any]],
    *,
    bits: int = 24,
    version: int = 6,
    type: str = "GeoLite2-Country",
    aliases: Iterable[str] = (),
    **metadata: Any,
) -> bytes:
    """A database of prefixes and their records; the longest decides."""
    tree = _Tree(version)
    for prefix, record in sorted(records, key=lambda each: tree.length(each[0])):
        tree.insert(prefix, tree.place(record))
    for alias in aliases:
        tree.link(alias)
    about = {
        "node_count": len(tree.nodes),
        "record_size": bits,
        "ip_version": version,
        "database_type": type,
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "languages": [],
        "description": {},
        **metadata,
    }
    return tree.encoded(bits) + bytes(16) + bytes(tree.data) + MARKER + encode(about)


class _Tree:
    """Nodes of two children: a node's number, `_EMPTY`, or `-2 - offset` of a record."""

    def __init__(self, version: int) -> None:
        self.nodes = [[_EMPTY, _EMPTY]]
        self.data = bytearray()
        self._bits = 128 if version == 6 else 32
        self._places: dict[str, int] = {}

    def place(self, record: Any) -> int:
        key = repr(record)
        if key not in self._places:
            self._places[key] = len(self.data)
            self.data += encode(record)
        return -2 - self._places[key]

    def length(self, prefix: str) -> int:
        network = ip_network(prefix)
        return network.prefixlen + self._bits - network.max_prefixlen

    def insert(self, prefix: str, child: int) -> None:
        address = int(ip_network(prefix).network_address)
        path = f"{address:0{self._bits}b}"[: self.length(prefix)]
        node = self._descend(path[:-1])
        self.nodes[node][int(path[-1])] = child

    def link(self, prefix: str) -> None:
        self.insert(prefix, self._descend("0" * 96))

    def _descend(self, path: str) -> int:
        node = 0
        for bit in path:
            child = self.nodes[node][int(bit)]
            if child < 0:
                self.nodes.append([child, child])
                child = self.nodes[node][int(bit)] = len(self.nodes) - 1
            node = child
        return node

    def encoded(self, bits: int) -> bytes:
        return b"".join(_node(*map(self._number, node), bits) for node in self.nodes)

    def _number(self, child: int) -> int:
        if child >= 0:
            return child
        return len(self.nodes) if child == _EMPTY else len(self.nodes) + 16 + (-2 - child)


def _node(left: int, right: int, bits: int) -> bytes:
    if bits == 28:
        middle = bytes([(left >> 24) << 4 | right >> 24])
        low = 0xFFFFFF
        return (left & low).to_bytes(3, "big") + middle + (right & low).to_bytes(3, "big")
    return left.to_bytes(bits // 8, "big") + right.to_bytes(bits // 8, "big")
