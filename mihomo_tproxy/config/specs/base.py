"""What every entry of `proxies` has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """One entry of `proxies`; as such a `direct` or `reject` one, others add to it."""

    name: str
    type: str
    interface_name: str = ""
    """Bind sockets to this interface; "" leaves the choice to the routes."""
    routing_mark: int = 0
    """SO_MARK of the sockets; 0 sets none."""
    ip_version: str = "dual"
    """`dual`, `ipv4`, `ipv6`, `ipv4-prefer` or `ipv6-prefer`."""
    udp: bool = True
    """mihomo's default is false for everything but `direct`."""
    tfo: bool = False
    """TCP Fast Open: the first bytes leave with the SYN."""
    dialer_proxy: str = ""
    """The outbound through which the server is reached; "" dials it from here."""


@dataclass(frozen=True, slots=True)
class ServerSpec(ProxySpec):
    """An entry with a server."""

    server: str = ""
    """Host name or IP literal, without brackets."""
    port: int = 0
