"""Entries of `proxy-providers` and `rule-providers`: where their contents come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Vehicle(StrEnum):
    """Where a provider's content is."""

    HTTP = "http"
    FILE = "file"
    INLINE = "inline"


class Behavior(StrEnum):
    """What a rule provider's lines are."""

    DOMAIN = "domain"
    IPCIDR = "ipcidr"
    CLASSICAL = "classical"


class Format(StrEnum):
    """How a rule provider's lines are written."""

    YAML = "yaml"
    TEXT = "text"
    MRS = "mrs"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """What both kinds of provider have, for whoever keeps the file fresh."""

    name: str
    vehicle: Vehicle
    path: str = ""
    """Absolute path of the file, inside the home directory; "" for inline."""
    url: str = ""
    interval_s: int = 0
    """Between downloads; 0 never repeats one that worked."""
    proxy: str = ""
    """Outbound to download through; "" asks the rules."""
    size_limit: int = 0
    """Most bytes a download may have; 0 leaves it to the general cap."""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HealthCheckSpec:
    """The `health-check` of a proxy provider."""

    url: str
    interval_s: int = 300
    timeout_ms: int = 5000
    lazy: bool = True
    expected_status: str = "*"


@dataclass(frozen=True, slots=True)
class ProxyProviderSpec(ProviderSpec):
    """An entry of `proxy-providers`."""

    members: tuple[str, ...] = ()
    """Names of the proxies it brought, filters and overrides applied."""
    health_check: HealthCheckSpec | None = None
    parsing: bytes = b""
    """The pickled rest (filter, override, ...), for who validates a fresh download."""


@dataclass(frozen=True, slots=True)
class RuleProviderSpec(ProviderSpec):
    """An entry of `rule-providers`."""

    behavior: Behavior = Behavior.DOMAIN
    format: Format = Format.YAML
    count: int = 0
    """Rules it brought."""
