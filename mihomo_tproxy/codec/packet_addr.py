"""packet-addr: datagrams that carry their remote, where the protocol below knows one remote only.

The stream is opened to a name that stands for no host, `sp.packet-addr.v2fly.arpa`; a server that
knows it takes each datagram apart (v2fly.org, v2ray 5; sing-box):

    | ATYP 1 (1 IPv4, 2 IPv6) | address | port 2 | data |

There are no names: they are resolved by whoever asks. The protocol below keeps datagrams apart, by
a length (`codec.vless`) or one in each chunk (VMess).
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

MAGIC_HOST: Final = "sp.packet-addr.v2fly.arpa"
MAGIC_PORT: Final = 443
"""Not looked at by servers; what others send."""
_IPV4: Final = 1
_IPV6: Final = 2
_MAPPED: Final = bytes(10) + b"\xff\xff"


def encode_packet_address(host: str, port: int) -> bytes:
    """What goes before the data of a datagram to an address.

    Raises:
        LocalProtocolError: the host is a name.
    """
    try:
        if ":" in host:
            address = bytes((_IPV6,)) + inet_pton(AF_INET6, host.partition("%")[0])
        else:
            address = bytes((_IPV4,)) + inet_pton(AF_INET, host)
    except OSError:
        raise LocalProtocolError("packet-addr-name", f"no address: {host!r}") from None
    return address + port.to_bytes(2, "big")


def parse_packet(data: Buffer) -> Packet:
    """A datagram and its sender.

    Raises:
        RemoteProtocolError: it does not begin with an address.
    """
    have = len(data)
    kind = data[0] if have else 0
    if kind == _IPV4 and have >= 7:
        host, end = inet_ntop(AF_INET, bytes(data[1:5])), 7
    elif kind == _IPV6 and have >= 19:
        address = bytes(data[1:17])
        mapped = address.startswith(_MAPPED)
        host = inet_ntop(AF_INET, address[12:]) if mapped else inet_ntop(AF_INET6, address)
        end = 19
    else:
        raise RemoteProtocolError("packet-addr-bad-address", f"type {kind}, {have} bytes")
    return Packet(bytes(data[end:]), host, data[end - 2] << 8 | data[end - 1])
