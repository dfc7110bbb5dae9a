"""A flow as people write it: `tcp 192.168.1.5 -> steamcontent.com:443`.

    [tcp|udp] [SOURCE[:PORT]] -> DESTINATION[:PORT]

An IPv6 address with a port stands in brackets. What is left out is assumed, and said to be.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mihomo_tproxy.errors import GatewayError, RemoteProtocolError
from mihomo_tproxy.inbound.inbound import address_or_name
from mihomo_tproxy.model.address import address_key, address_text
from mihomo_tproxy.model.enums import Network

SOURCE_V4: Final = "192.168.0.2"
SOURCE_V6: Final = "fd00::2"
SOURCE_PORT: Final = 50000
PORT: Final = 443
SHAPE: Final = "a flow is written 'tcp 192.168.1.5 -> example.com:443'"


class Flow(NamedTuple):
    """One flow that somebody asks about."""

    network: Network
    source: str
    source_port: int
    destination: str
    """IP literal; "" for a name."""
    host: str
    """Name; "" for an address."""
    port: int
    assumed: tuple[str, ...]
    """What was not written, in words."""

    def __str__(self) -> str:
        source, where = _shown(self.source), self.host or _shown(self.destination)
        return f"{self.network} {source}:{self.source_port} -> {where}:{self.port}"


def parse_flow(text: str) -> Flow:
    """The flow in a text.

    Raises:
        GatewayError: it is none; the text says why.
    """
    left, arrow, right = text.partition("->")
    if not arrow or not right.strip():
        raise GatewayError(f"{SHAPE}, found {text!r}")
    words = left.split()
    assumed = []
    network = Network.TCP
    if words and words[0].lower() in tuple(Network):
        network = Network(words.pop(0).lower())
    else:
        assumed.append("tcp")
    if len(words) > 1:
        raise GatewayError(f"{SHAPE}, found {' '.join(words)!r} before the arrow")
    where, port = _split(right.strip())
    destination, host = _place(where)
    if port is None:
        port = PORT
        assumed.append(f"port {PORT}")
    source, source_port = _split(words[0]) if words else ("", None)
    if source:
        source = _address(source)
    else:
        source = SOURCE_V6 if ":" in destination else SOURCE_V4
        assumed.append(f"the client {source}")
    if source_port is None:
        source_port = SOURCE_PORT
        assumed.append(f"its port {SOURCE_PORT}")
    return Flow(network, source, source_port, destination, host, port, tuple(assumed))


def parse_address(text: str) -> str:
    """An IP literal as the socket layer prints it.

    Raises:
        GatewayError: it is none.
    """
    return _address(text)


def _split(text: str) -> tuple[str, int | None]:
    """Host and port; a bare IPv6 address has no port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise GatewayError(f"expected [ADDRESS]:PORT, found {text!r}")
        return host, _port(rest[1:]) if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, _port(port)
    return text, None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    raise GatewayError(f"not a port: {text!r}")


def _place(text: str) -> tuple[str, str]:
    try:
        return address_or_name(text)
    except RemoteProtocolError:
        raise GatewayError(f"neither an address nor a name: {text!r}") from None


def _address(text: str) -> str:
    try:
        return address_text(address_key(text))
    except ValueError as error:
        raise GatewayError(str(error)) from None


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address
