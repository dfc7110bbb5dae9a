"""Where clients come in, and who of them may."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ListenerType(StrEnum):
    """What a listener speaks, spelled as `type` of mihomo's `listeners`."""

    HTTP = "http"
    SOCKS = "socks"
    MIXED = "mixed"
    REDIR = "redir"
    TPROXY = "tproxy"


User = tuple[str, str]
"""Name and password."""


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """One port, on one or several addresses."""

    path: str
    """Where in the file it comes from, for errors: `mixed-port`, `listeners[0]`."""
    name: str
    """As in the file; mihomo's name for a port of its own key: `DEFAULT-MIXED`."""
    type: ListenerType
    hosts: tuple[str, ...]
    """IP literals to bind; IPv6 ones take no IPv4."""
    port: int
    udp: bool = True
    """Datagrams too, where the type has them."""
    users: tuple[User, ...] | None = field(default=None, repr=False)
    """Who may use it, () anybody; None: what `authentication` says."""
    guarded: bool = True
    """The access lists and `skip-auth-prefixes` count here."""
    proxy: str = ""
    """The outbound of everything that comes in here; "" asks the rules."""
    routing_mark: int = 0
    """SO_MARK of the listening socket; 0 sets none."""


@dataclass(frozen=True, slots=True)
class AccessSpec:
    """The access keys of the file. Prefixes are (128-bit key, length)."""

    users: tuple[User, ...] = field(default=(), repr=False)
    """`authentication`; () asks nobody."""
    skip_auth: tuple[tuple[int, int], ...] = ()
    """`skip-auth-prefixes`: clients that need not authenticate."""
    allowed: tuple[tuple[int, int], ...] | None = None
    """`lan-allowed-ips`; None allows everybody."""
    disallowed: tuple[tuple[int, int], ...] = ()
    """`lan-disallowed-ips`; they count first."""
