"""Which module builds which type of outbound: each is loaded only where a file asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.specs.base import ProxySpec

_MODULES: Final = {
    "http": "http",
    "socks5": "socks5",
    "ss": "shadowsocks",
    "trojan": "trojan",
    "vless": "vless",
    "vmess": "vmess",
}


def module_of(kind: str) -> str:
    """The module whose `build(spec, env)` makes a type; "" for those that are always there."""
    return f"mihomo_tproxy.outbound.{_MODULES[kind]}" if kind in _MODULES else ""


def modules_of(specs: Iterable[ProxySpec]) -> tuple[str, ...]:
    """The modules that a list of proxies needs, each once."""
    return tuple(sorted({module_of(spec.type) for spec in specs} - {""}))
