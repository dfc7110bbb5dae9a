"""Share links to proxy mappings, as mihomo 1.19 converts them: one module for each scheme.

Such a module has `convert(link, names)`: the mapping of one link, or ValueError. It takes its name
from `names` at the point where mihomo does, so that numbers of equal names come out the same.
Headers that mihomo makes up at random (`User-Agent`, a missing `Host`) are left to the transport.
Invariants, for links of strangers: nothing but ValueError escapes, time is linear in the text.
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.provider.links.names import Names

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value

SCHEMES: Final = {
    "ss": "shadowsocks",
    "vmess": "vmess",
    "vless": "vless",
    "trojan": "trojan",
    "socks": "plain",
    "socks5": "plain",
    "socks5h": "plain",
    "http": "plain",
    "https": "plain",
}
"""Scheme -> the module that converts it."""
OTHER_SCHEMES: Final = frozenset(
    {
        *("anytls", "hy2", "hy2+realm", "hysteria", "hysteria2", "hysteria2+realm"),
        *("mierus", "snell", "ssr", "tuic", "wireguard"),
    }
)
"""Links of types that cannot be built here."""
MAX_LINK: Final = 16384
"""Characters of one link."""
MAX_TRIED: Final = 50_000
"""Links of one list that are looked at, good or bad."""


class Links(NamedTuple):
    """What a list of links brought."""

    proxies: list[dict[str, Value]]
    skipped: Counter[str]
    """Lines that brought nothing, by reason; reasons are of a small set."""


def convert_links(text: str, limit: int) -> Links:
    """The mappings of a list, one link on each line; at most `limit`, the rest is counted."""
    names = Names()
    proxies: list[dict[str, Value]] = []
    skipped: Counter[str] = Counter()
    tried = 0
    for raw in text.split("\n"):
        line = raw.strip(" \r")
        scheme, mark, _ = line.partition("://")
        if not mark:
            continue
        if len(proxies) >= limit or tried >= MAX_TRIED:
            skipped["more links than are taken"] += 1
            continue
        tried += 1
        try:
            proxies.append(convert_link(line, names))
        except ValueError as error:
            skipped[_reason(scheme, error)] += 1
    for proxy in proxies:
        # mihomo leaves the name empty, and its users without one to pick.
        if not proxy["name"]:
            proxy["name"] = names.take(f"{proxy['server']}:{proxy['port']}")
    return Links(proxies, skipped)


def convert_link(link: str, names: Names) -> dict[str, Value]:
    """The mapping of one link. ValueError with the reason if there is none in it."""
    scheme = link.partition("://")[0].lower()
    module = SCHEMES.get(scheme)
    if module is None:
        raise ValueError("not supported" if scheme in OTHER_SCHEMES else "unknown scheme")
    if len(link) > MAX_LINK:
        raise ValueError(f"longer than {MAX_LINK} characters")
    proxy: dict[str, Value] = import_module(f"{__name__}.{module}").convert(link, names)
    return proxy


def _reason(scheme: str, error: ValueError) -> str:
    scheme = scheme.lower()
    if scheme in SCHEMES or scheme in OTHER_SCHEMES:
        return f"{scheme}:// link: {_plain(error)}"
    return "link of an unknown scheme"


def _plain(error: ValueError) -> str:
    """What the error says without what the link said: JSON's and base64's texts hold places."""
    return "bad JSON" if type(error) is not ValueError else str(error).partition(":")[0]
