"""The configuration as the rest of the program sees it: typed, complete, immutable, picklable.

Every field has mihomo's default where mihomo has the key. Invariant: a `Config` that exists is
valid; nothing checks it again. Names are mihomo's keys with `_` for `-`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.specs.geo import GeoSpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.config.specs.listener import AccessSpec
from mihomo_tproxy.model.enums import TunnelMode

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.config.specs.listener import ListenerSpec
    from mihomo_tproxy.config.specs.provider import ProxyProviderSpec, RuleProviderSpec
    from mihomo_tproxy.model.interfaces import Rule


class LogLevel(StrEnum):
    """mihomo's log levels."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    SILENT = "silent"

    @property
    def number(self) -> int:
        """As the logging module counts."""
        return _NUMBERS[self]


_NUMBERS: Final = {
    LogLevel.SILENT: logging.CRITICAL + 1,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.INFO: logging.INFO,
    LogLevel.DEBUG: logging.DEBUG,
}


class OnFailure(StrEnum):
    """What becomes of steered traffic while no relay listens."""

    OPEN = "open"
    """The kernel forwards it."""
    CLOSED = "closed"
    """It is dropped."""


@dataclass(frozen=True, slots=True)
class HostEntry:
    """What `hosts` says about one name: addresses, or another name."""

    addresses: tuple[str, ...] = ()
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Clients:
    """LAN hosts by address or by MAC. Prefixes are (128-bit key, length), MACs six bytes."""

    include_prefixes: tuple[tuple[int, int], ...] = ()
    include_macs: tuple[bytes, ...] = ()
    """With nothing included every client is steered that is not excluded."""
    exclude_prefixes: tuple[tuple[int, int], ...] = ()
    exclude_macs: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """The `gateway` block: what is steered, and how."""

    lan: tuple[str, ...] = ()
    """Interface names or globs; () stands for every interface that is up, is not loopback and
    does not hold the default route."""
    bypass: tuple[tuple[int, int], ...] = ()
    """Destinations never steered: (128-bit key, length)."""
    bypass_private: bool = True
    """Private and reserved ranges are never steered either."""
    clients: Clients = Clients()
    local: bool = False
    """Also steer the gateway's own traffic."""
    on_failure: OnFailure = OnFailure.OPEN
    workers: int = 1
    nice: int = -15
    """Scheduling priority of the workers (setpriority(2)): a packet must not wait for a backup."""
    verdict_cache: bool = True
    """False: the kernel forwards nothing by a verdict, every flow comes to the relay."""
    udp_timeout: int = 60
    """Seconds without a datagram after which a UDP flow ends."""
    tcp_idle_timeout: int = 7440
    """Seconds without a byte after which a TCP flow ends; RFC 5382, REQ-5 asks for 2 h 4 min."""
    max_flows: int = 32768
    """Flows of one worker at a time; further ones are refused."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    mode: TunnelMode = TunnelMode.RULE
    log_level: LogLevel = LogLevel.INFO
    allow_lan: bool = False
    bind_address: str = "*"
    """`*` for every address, else an IP literal."""
    ipv6: bool = True
    listeners: tuple[ListenerSpec, ...] = ()
    access: AccessSpec = field(default_factory=AccessSpec)
    routing_mark: int = 0
    """SO_MARK of every outgoing socket; 0 sets none."""
    interface_name: str = ""
    """Outgoing interface; "" leaves the choice to the routes."""
    rules: tuple[Rule, ...] = ()
    proxies: tuple[ProxySpec, ...] = ()
    groups: tuple[GroupSpec, ...] = (GroupSpec("GLOBAL", GroupType.SELECT, ("DIRECT", "REJECT")),)
    """Those of the file, then GLOBAL if the file has none of that name."""
    proxy_providers: tuple[ProxyProviderSpec, ...] = ()
    provider_proxies: tuple[ProxySpec, ...] = ()
    """What they brought, each under a name of its own."""
    rule_providers: tuple[RuleProviderSpec, ...] = ()
    geo: GeoSpec = field(default_factory=GeoSpec)
    home: str = ""
    """Absolute path of the home directory: providers, geo data, the store."""
    store_selected: bool = True
    """Selections of groups survive restarts."""
    unified_delay: bool = False
    """Delays are of a second request, without the handshakes."""
    global_ua: str = ""
    """User-Agent of downloads; "" for mihomo's own."""
    etag_support: bool = True
    """Downloads ask whether anything changed."""
    hosts: dict[str, HostEntry] = field(default_factory=dict)
    gateway: Gateway = Gateway()
    warnings: tuple[str, ...] = ()
    """Sentences for the user about what is odd, yet no error."""
