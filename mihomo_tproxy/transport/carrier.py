"""What carries one proxy's protocol: TLS, a transport (`network`), both, or plain TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Layer
    from mihomo_tproxy.config.specs.tls import TlsSpec
    from mihomo_tproxy.config.specs.transport import TransportSpec
    from mihomo_tproxy.transport.tls import TlsClient


class Carrier:
    """Made once for a proxy; gives the lower layers of each of its connections."""

    __slots__ = ("_tls", "_transport")

    def __init__(
        self, tls: TlsClient | None = None, transport: Callable[[], Layer] | None = None
    ) -> None:
        self._tls = tls
        self._transport = transport

    def layers(self) -> list[Layer]:
        """New layers for one connection, wire-most first."""
        layers: list[Layer] = []
        if self._tls is not None:
            layers.append(self._tls.layer())
        if self._transport is not None:
            layers.append(self._transport())
        return layers


def carrier_of(tls: TlsSpec | None, transport: Callable[[], Layer] | None = None) -> Carrier:
    """The carrier of an entry whose TLS is optional.

    Raises:
        ssl.SSLError: certificate and private key cannot be used.
    """
    if tls is None:
        return Carrier(None, transport)
    from mihomo_tproxy.transport.tls import TlsClient  # brings OpenSSL, only where it is used

    return Carrier(TlsClient(tls), transport)


def carrier_to(
    server: str, port: int, tls: TlsSpec | None, transport: TransportSpec | None
) -> Carrier:
    """The carrier of an entry with `network` and optional TLS.

    Raises:
        ssl.SSLError: certificate and private key cannot be used.
    """
    if transport is None:
        return carrier_of(tls)
    from mihomo_tproxy.transport.building import transport_factory  # brings HTTP/2

    name = tls.server_name if tls is not None else server
    return carrier_of(tls, transport_factory(transport, name, port, tls=tls is not None))
