"""The listeners of a configuration, opened; and changed by a reload.

A listener that stays at its address is kept through a reload, with its queue of clients; what it
asks of them changes at once. Workers share TCP ports (SO_REUSEPORT). Datagrams to a TPROXY port
come to one worker alone: the kernel would spread one client port over all, and no cone would be
full.
"""

from __future__ import annotations

import logging
from importlib import import_module
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any

from mihomo_tproxy.config.specs.listener import ListenerType
from mihomo_tproxy.errors import WorkerFailed
from mihomo_tproxy.inbound.listener import Acceptor, open_tcp
from mihomo_tproxy.inbound.modules import CLIENT_MODULE
from mihomo_tproxy.inbound.redir import RedirListener
from mihomo_tproxy.inbound.tproxy import TcpListener, UdpListener, open_udp

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.tunnel.tunnel import Tunnel

log = logging.getLogger(__name__)

Listener = Acceptor | UdpListener
Key = tuple[ListenerType, str, int, int]
"""Type, address, port and mark: what a socket cannot change."""


class Listeners:
    """Every listener of one worker that the file names."""

    def __init__(self, context: RelayContext, tunnel: Tunnel, *, index: int, shared: bool) -> None:
        """`index` is the worker's; `shared`: others listen on the same ports."""
        self._context = context
        self._tunnel = tunnel
        self._first = not index
        self._shared = shared
        self._open: dict[Key, list[Listener]] = {}

    def start(self, config: Config, *, ipv6: bool) -> None:
        """Open them all.

        Raises:
            WorkerFailed: an address is taken or not ours.
        """
        for spec in config.listeners:
            for host in _hosts(spec, ipv6=ipv6):
                self._listen(spec, host, config.access)

    def reload(self, context: RelayContext, config: Config, *, ipv6: bool) -> None:
        """Close what is no longer wanted, change what stays, open what is new.

        One that cannot be opened is logged and left out: the gateway goes on without it.
        """
        self._context = context
        wanted = {
            _key(spec, host): spec for spec in config.listeners for host in _hosts(spec, ipv6=ipv6)
        }
        for key in [key for key in self._open if key not in wanted]:
            for listener in self._open.pop(key):
                listener.close()
        for key, spec in wanted.items():
            if key not in self._open:
                try:
                    self._listen(spec, key[1], config.access)
                except WorkerFailed as error:
                    log.error("%s", error)
                continue
            for listener in self._open[key]:
                if isinstance(listener, Acceptor):
                    listener.configure(context, spec, config.access)

    def close(self) -> None:
        """Stop listening; flows live on."""
        for listeners in self._open.values():
            for listener in listeners:
                listener.close()
        self._open.clear()

    def _listen(self, spec: ListenerSpec, host: str, access: AccessSpec) -> None:
        family = AF_INET6 if ":" in host else AF_INET
        transparent = spec.type is ListenerType.TPROXY
        opened: list[SocketType] = []
        try:
            opened.append(
                open_tcp(
                    family,
                    host,
                    spec.port,
                    transparent=transparent,
                    reuse_port=self._shared,
                    mark=spec.routing_mark,
                )
            )
            if transparent and spec.udp and self._first:
                opened.append(open_udp(family, host, spec.port))
        except OSError as error:
            for sock in opened:
                sock.close()
            raise WorkerFailed(
                f"{spec.path}: cannot listen on {host} port {spec.port}: {error.strerror}"
            ) from error
        listeners = self._open[_key(spec, host)] = self._build(spec, access, opened)
        for listener in listeners:
            listener.start()

    def _build(
        self, spec: ListenerSpec, access: AccessSpec, opened: list[SocketType]
    ) -> list[Listener]:
        context, tunnel = self._context, self._tunnel
        if spec.type is ListenerType.REDIR:
            return [RedirListener(context, opened[0], tunnel, spec)]
        if spec.type is not ListenerType.TPROXY:
            module: Any = import_module(CLIENT_MODULE)
            inbound: Acceptor = module.Inbound(context, opened[0], tunnel, spec, access)
            return [inbound]
        reactor, tracker = context.reactor, context.tracker
        listeners: list[Listener] = [TcpListener(reactor, opened[0], tunnel, tracker)]
        listeners += [UdpListener(reactor, sock, tunnel, tracker) for sock in opened[1:]]
        return listeners


def _hosts(spec: ListenerSpec, *, ipv6: bool) -> list[str]:
    """Where it listens on this host: without IPv6 at its IPv4 addresses, if it has any."""
    if ipv6:
        return list(spec.hosts)
    return [host for host in spec.hosts if ":" not in host] or list(spec.hosts)


def _key(spec: ListenerSpec, host: str) -> Key:
    return (spec.type, host, spec.port, spec.routing_mark)
