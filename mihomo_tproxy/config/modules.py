"""Which modules a configuration makes the workers import: names, for the supervisor to load first.

What is imported after the fork goes into holes of pages that both processes share, and copies
them: 1.8 MB for the three modules of a `Config` alone.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.config.specs.transport import GrpcSpec, HttpSpec, WebSocketSpec
from mihomo_tproxy.inbound.modules import modules_of as inbound_modules
from mihomo_tproxy.matcher.sections import Sections
from mihomo_tproxy.outbound.modules import modules_of as outbound_modules

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.config.specs.transport import TransportSpec

_TLS: Final = ("encodings.idna", "mihomo_tproxy.transport.tls")
"""`ssl` writes every server's name by that codec."""


class _Finder(pickle.Unpickler):
    """Notes where the classes in a pickle come from."""

    def __init__(self, data: bytes) -> None:
        super().__init__(BytesIO(data))
        self.modules: set[str] = set()

    def find_class(self, module_name: str, global_name: str) -> Any:
        self.modules.add(module_name)
        return super().find_class(module_name, global_name)

    def persistent_load(self, pid: Any) -> object:
        """A large set of a rule; what it is a view of is not needed."""
        return frozenset()


def image_modules(image: bytes) -> frozenset[str]:
    """The modules of the rules that are objects in an image still."""
    finder = _Finder(bytes(Sections(image).header))
    finder.load()
    return frozenset(finder.modules)


def worker_modules(config: Config, pickled: bytes) -> tuple[str, ...]:
    """The modules of a configuration, in its pickled form and in what is built of it."""
    finder = _Finder(pickled)
    finder.load()
    proxies = (*config.proxies, *config.provider_proxies)
    modules = finder.modules.union(
        outbound_modules(proxies),
        inbound_modules(config.listeners),
        *map(_carrier_modules, proxies),
    )
    if any(group.type is GroupType.LOAD_BALANCE for group in config.groups):
        modules.add("mihomo_tproxy.group.balance")
    return tuple(sorted(modules))


def _carrier_modules(spec: ProxySpec) -> set[str]:
    """TLS and transport of a proxy, for the types that have them."""
    modules = set(_TLS) if getattr(spec, "tls", None) is not None else set()
    transport: TransportSpec | None = getattr(spec, "transport", None)
    if transport is not None:
        modules |= {
            "mihomo_tproxy.transport.building",
            f"mihomo_tproxy.transport.{_transport_module(transport)}",
        }
    return modules


def _transport_module(spec: TransportSpec) -> str:
    if isinstance(spec, WebSocketSpec):
        return "httpupgrade" if spec.http_upgrade else "websocket"
    if isinstance(spec, HttpSpec):
        return "http"
    return "grpc" if isinstance(spec, GrpcSpec) else "h2"
