"""Ethernet frames by struct, honest or broken on purpose: what the classifier is fed with.

Checksums are left zero: no program of the datapath reads them.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton
from struct import pack

ETH_IP, ETH_ARP, ETH_VLAN, ETH_IPV6, ETH_QINQ = 0x0800, 0x0806, 0x8100, 0x86DD, 0x88A8
HOPOPTS, ICMP, TCP, UDP, ROUTING, FRAGMENT, ESP, AH, ICMPV6, NO_NEXT, DSTOPTS, SCTP = (
    0, 1, 6, 17, 43, 44, 50, 51, 58, 59, 60, 132,
)  # fmt: skip
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
MORE = 0x2000
"""The IPv4 flag "more fragments"."""

GATEWAY_MAC = bytes(6)
"""The loopback device's: a frame sent to it is PACKET_HOST in a test run."""
CLIENT_MAC = bytes.fromhex("02c0ffee0001")


def ether(
    kind: int, payload: bytes, dst: bytes = GATEWAY_MAC, src: bytes = CLIENT_MAC, tags: bytes = b""
) -> bytes:
    """A frame; `tags` stand between the addresses and the EtherType."""
    return dst + src + tags + pack("!H", kind) + payload


def tag(vlan: int, kind: int = ETH_VLAN) -> bytes:
    """A VLAN tag with priority 5."""
    return pack("!HH", kind, 5 << 13 | vlan)


def tcp(
    sport: int = 40000, dport: int = 443, flags: int = SYN, data: bytes = b"", offset: int = 5
) -> bytes:
    """A TCP segment; `offset` is the header length it claims, in words."""
    return pack("!HHIIBBHHH", sport, dport, 1, 0, offset << 4, flags, 65535, 0, 0) + data


def udp(
    sport: int = 40000, dport: int = 443, data: bytes = b"payload.", length: int | None = None
) -> bytes:
    """A UDP datagram; `length` is the one it claims."""
    claimed = 8 + len(data) if length is None else length
    return pack("!HHHH", sport, dport, claimed, 0) + data


def ipv4(
    src: str,
    dst: str,
    protocol: int,
    payload: bytes,
    *,
    ident: int = 0,
    fragment: int = 0,
    options: bytes = b"",
    version: int = 4,
    ihl: int | None = None,
    total: int | None = None,
) -> bytes:
    """An IPv4 packet; `fragment` is flags and offset as on the wire, `ihl` and `total` claims."""
    words = 5 + len(options) // 4 if ihl is None else ihl
    length = 20 + len(options) + len(payload) if total is None else total
    head = pack("!BBHHHBBH", version << 4 | words, 0, length, ident, fragment, 64, protocol, 0)
    return head + inet_pton(AF_INET, src) + inet_pton(AF_INET, dst) + options + payload


def ipv6(
    src: str,
    dst: str,
    following: int,
    payload: bytes,
    *,
    version: int = 6,
    length: int | None = None,
) -> bytes:
    """An IPv6 packet; `following` is the next header, `length` the payload length it claims."""
    claimed = len(payload) if length is None else length
    head = pack("!IHBB", version << 28, claimed, following, 64)
    return head + inet_pton(AF_INET6, src) + inet_pton(AF_INET6, dst) + payload


def extension(following: int, units: int = 0) -> bytes:
    """Hop-by-hop, routing or destination options of 8 x (units + 1) bytes, no segments left."""
    return bytes([following, units]) + bytes(6 + 8 * units)


def authentication(following: int, words: int = 4) -> bytes:
    """An authentication header of 4 x (words + 2) bytes (RFC 4302)."""
    return bytes([following, words]) + bytes(4 * (words + 2) - 2)


def fragment6(following: int, ident: int, offset: int = 0, more: bool = False) -> bytes:
    """An IPv6 fragment header; `offset` in units of 8 bytes."""
    return pack("!BBHI", following, 0, offset << 3 | more, ident)


def frame4(src: str, dst: str, protocol: int, payload: bytes, **fields: object) -> bytes:
    """An IPv4 packet in an untagged frame for the gateway."""
    return ether(ETH_IP, ipv4(src, dst, protocol, payload, **fields))  # type: ignore[arg-type]


def frame6(src: str, dst: str, following: int, payload: bytes, **fields: int) -> bytes:
    """An IPv6 packet in an untagged frame for the gateway."""
    return ether(ETH_IPV6, ipv6(src, dst, following, payload, **fields))
