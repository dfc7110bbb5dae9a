"""An entry of `proxy-groups`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GroupType(StrEnum):
    """How a group picks."""

    SELECT = "select"
    URL_TEST = "url-test"
    FALLBACK = "fallback"
    LOAD_BALANCE = "load-balance"


class Strategy(StrEnum):
    """How a load-balance group spreads flows."""

    CONSISTENT_HASHING = "consistent-hashing"
    ROUND_ROBIN = "round-robin"
    STICKY_SESSIONS = "sticky-sessions"


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """One group. Its members are settled: providers, filters and include-all have been applied."""

    name: str
    type: GroupType
    members: tuple[str, ...]
    """Names of outbounds in order, some perhaps twice; never empty: `empty-fallback` stands in."""
    url: str = ""
    """What a health check asks for; "" for a group whose members are not checked for it."""
    interval_s: int = 0
    """Between checks; 0 checks only when asked to."""
    lazy: bool = True
    """Check only while the group is used."""
    timeout_ms: int = 5000
    tolerance_ms: int = 0
    """url-test: how much better another has to be."""
    max_failed_times: int = 5
    """Failed dials within `timeout_ms` that cause a check."""
    expected_status: str = "*"
    """Status codes that count as alive, as in `204` or `200-299/301`."""
    disable_udp: bool = False
    hidden: bool = False
    icon: str = ""
    default_selected: str = ""
    """select: the member taken while none was selected; "" is the first."""
    strategy: Strategy = Strategy.CONSISTENT_HASHING
    hash_user: bool = False
    """load-balance: who authenticated decides the member, not where to (`hash-key: in-user`)."""

    @property
    def default(self) -> str:
        """The member taken while nothing chose another."""
        wanted = self.default_selected
        return wanted if wanted and wanted in self.members else self.members[0]
