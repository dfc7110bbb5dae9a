"""The members of a group: what its `proxies`, `use`, `include-all` and filters come to.

As mihomo 1.19 settles them (observed on its API):

    proxies   as written, groups among them
    + all     include-all-proxies: the file's proxies by name, each as often as alternatives of
              `filter` find it
    + use     each provider's proxies that `filter` finds, in the order of its alternatives;
              include-all-providers: every provider by name, whatever `use` says
    sorted    by the alternatives of `filter`, what none of them finds at the end, doubles once;
              only if there is more than one alternative, and more than one of (proxies + all) and
              the providers
    - excluded by `exclude-filter` and `exclude-type`, wherever they came from
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mihomo_tproxy.config.filters import NameFilter
    from mihomo_tproxy.config.specs.base import ProxySpec

ADAPTER_TYPES: Final = {
    "direct": "Direct",
    "reject": "Reject",
    "http": "Http",
    "socks5": "Socks5",
    "ss": "Shadowsocks",
    "trojan": "Trojan",
    "vless": "Vless",
    "vmess": "Vmess",
    "select": "Selector",
    "url-test": "URLTest",
    "fallback": "Fallback",
    "load-balance": "LoadBalance",
}
"""Types as files have them -> as mihomo prints them, and `exclude-type` means them."""
BUILT_IN_TYPES: Final = {
    "DIRECT": "Direct",
    "REJECT": "Reject",
    "REJECT-DROP": "RejectDrop",
    "COMPATIBLE": "Compatible",
    "PASS": "Pass",
    "PASS-RULE": "PassRule",
}


class Sources(NamedTuple):
    """Where the members of one group come from."""

    proxies: Sequence[str]
    all_proxies: Sequence[str]
    """Every proxy of the file if it is included, else nothing."""
    providers: Sequence[Sequence[str]]
    """What each of the group's providers brought."""


class Filters(NamedTuple):
    """Which of them stay, in which order."""

    keep: NameFilter
    exclude: NameFilter
    exclude_types: Collection[str]
    """In lower case."""


def settle(sources: Sources, filters: Filters, types: Mapping[str, str]) -> list[str]:
    """The members, perhaps none; `types` has every outbound's type as `exclude-type` names it."""
    keep = filters.keep
    own = [*sources.proxies]
    for name in sorted(sources.all_proxies):
        own += [name] * (keep.count(name) if keep else 1)
    members = [*own]
    for names in sources.providers:
        members += keep.sort(names) if keep else names
    if len(keep) > 1 and len(sources.providers) + bool(own) > 1:
        members = list(dict.fromkeys([*keep.sort(members), *members]))
    return [
        name
        for name in members
        if not filters.exclude.matches(name)
        and types.get(name, "").lower() not in filters.exclude_types
    ]


def adapter_types(proxies: Iterable[ProxySpec], groups: Mapping[str, str]) -> dict[str, str]:
    """The type of every outbound as mihomo prints it; `groups` has those of the file's groups."""
    types = dict(BUILT_IN_TYPES)
    types.update((name, ADAPTER_TYPES.get(kind, kind)) for name, kind in groups.items())
    types.update((proxy.name, ADAPTER_TYPES.get(proxy.type, proxy.type)) for proxy in proxies)
    return types
