"""Addresses as proxy protocols write them: a host, which is an IP literal or a name, and a port.

    SOCKS (RFC 1928, 5; also Shadowsocks, Trojan)      | ATYP 1 | address | port 2 |
        ATYP 1 IPv4, 3 name (length 1, name), 4 IPv6
    VMess, VLESS (v2fly.org/developer)                 | port 2 | ATYP 1 | address |
        ATYP 1 IPv4, 2 name (length 1, name), 3 IPv6
    UDP over TCP (sing-box.sagernet.org)               | ATYP 1 | address | port 2 |
        ATYP 0 IPv4, 1 IPv6, 2 name (length 1, name)

Numbers are big-endian. Parsing returns None while bytes are missing, at most 259 of them. An IPv4
address mapped into IPv6 (RFC 4291, 2.5.5.2), as servers with one socket for both write it, is read
as the IPv4 one.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

MAX_NAME_BYTES: Final = 255
SOCKS_IPV4: Final = 1
SOCKS_NAME: Final = 3
SOCKS_IPV6: Final = 4
PORT_FIRST_IPV4: Final = 1
PORT_FIRST_NAME: Final = 2
PORT_FIRST_IPV6: Final = 3
_SOCKS: Final = (SOCKS_IPV4, SOCKS_NAME, SOCKS_IPV6)
_UOT: Final = (0, 2, 1)
_PORT_FIRST: Final = (PORT_FIRST_IPV4, PORT_FIRST_NAME, PORT_FIRST_IPV6)
_MAPPED: Final = bytes(10) + b"\xff\xff"


def encode_socks_address(host: str, port: int) -> bytes:
    """ATYP, address, port.

    Raises:
        LocalProtocolError: the host is no address and too long, or no name.
    """
    return _encode_host(host, _SOCKS) + port.to_bytes(2, "big")


def encode_uot_address(host: str, port: int) -> bytes:
    """ATYP, address, port, as UDP over TCP numbers the types.

    Raises:
        LocalProtocolError: the host is no address and too long, or no name.
    """
    return _encode_host(host, _UOT) + port.to_bytes(2, "big")


def encode_port_address(host: str, port: int) -> bytes:
    """Port, ATYP, address.

    Raises:
        LocalProtocolError: the host is no address and too long, or no name.
    """
    return port.to_bytes(2, "big") + _encode_host(host, _PORT_FIRST)


def parse_socks_address(data: Buffer, start: int = 0) -> tuple[str, int, int] | None:
    """Host, port, and where they end in `data`; None while bytes are missing.

    Raises:
        RemoteProtocolError: not an address.
    """
    return _parse_host_port(data, start, _SOCKS)


def parse_uot_address(data: Buffer, start: int = 0) -> tuple[str, int, int] | None:
    """Host, port, and where they end in `data`; None while bytes are missing.

    Raises:
        RemoteProtocolError: not an address.
    """
    return _parse_host_port(data, start, _UOT)


def parse_port_address(data: Buffer, start: int = 0) -> tuple[str, int, int] | None:
    """Host, port, and where they end in `data`; None while bytes are missing.

    Raises:
        RemoteProtocolError: not an address.
    """
    found = _parse_host(data, start + 2, _PORT_FIRST)
    if found is None:
        return None
    return found[0], data[start] << 8 | data[start + 1], found[1]


def _encode_host(host: str, kinds: tuple[int, int, int]) -> bytes:
    try:
        if ":" in host:
            return bytes((kinds[2],)) + inet_pton(AF_INET6, host.partition("%")[0])
        if host[-1:].isdigit():
            return bytes((kinds[0],)) + inet_pton(AF_INET, host)
    except (OSError, ValueError):
        pass  # a name may look like it
    if not _is_name(host):
        raise LocalProtocolError("bad-name", f"not an ASCII name: {host[:MAX_NAME_BYTES]!r}")
    name = host.encode("ascii")
    if not 0 < len(name) <= MAX_NAME_BYTES:
        raise LocalProtocolError("bad-name", f"a name of {len(name)} bytes")
    return bytes((kinds[1], len(name))) + name


def _parse_host_port(
    data: Buffer, start: int, kinds: tuple[int, int, int]
) -> tuple[str, int, int] | None:
    found = _parse_host(data, start, kinds)
    if found is None or len(data) < found[1] + 2:
        return None
    host, end = found
    return host, data[end] << 8 | data[end + 1], end + 2


def _parse_host(data: Buffer, start: int, kinds: tuple[int, int, int]) -> tuple[str, int] | None:
    have = len(data)
    if have <= start:
        return None
    kind, start = data[start], start + 1
    if kind == kinds[0]:
        end = start + 4
        return (inet_ntop(AF_INET, bytes(data[start:end])), end) if have >= end else None
    if kind == kinds[2]:
        end = start + 16
        return (_ipv6_text(bytes(data[start:end])), end) if have >= end else None
    if kind != kinds[1]:
        raise RemoteProtocolError("bad-address", f"address type {kind}")
    if have <= start:
        return None
    end = start + 1 + data[start]
    if have < end:
        return None
    name = bytes(data[start + 1 : end]).decode("latin-1")
    if not name:
        raise RemoteProtocolError("bad-address", "an empty name")
    if not _is_name(name) and not _is_ipv6(name):
        raise RemoteProtocolError("bad-address", "a name with other than printable ASCII in it")
    return name, end


def _ipv6_text(address: bytes) -> str:
    if address.startswith(_MAPPED):
        return inet_ntop(AF_INET, address[12:])
    return inet_ntop(AF_INET6, address)


def _is_name(text: str) -> bool:
    """Whether a resolver can be asked for it: it stops at NUL, and `:` is an IPv6 literal's."""
    return text.isascii() and text.isprintable() and " " not in text and ":" not in text


def _is_ipv6(text: str) -> bool:
    try:
        inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True
