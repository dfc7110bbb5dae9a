"""Groups that choose by health checks, and one that is told: what a flow through them meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from support.differential.clients import run_flows
from support.differential.flow import Flow
from support.differential.internet import CHECK_URL
from support.differential.programs import listeners
from support.gateway import wait_until

from mihomo_tproxy.rig.plan import WAN_INTERNET

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.differential.internet import Internet

    from mihomo_tproxy.rig import Rig

_DEAD: Final = {"name": "dead", "type": "socks5", "server": WAN_INTERNET[4], "port": 1}
_CHECKED: Final = {"url": CHECK_URL, "interval": 300, "lazy": False}
_CHOICE: Final = {"name": "told", "type": "select"}
MEMBERS: Final = ("P0", "P1", "falling-back", "REJECT", "tested", "DIRECT", "P0")
"""Who the group `told` is told to choose, one after the other."""
EXPECTED: Final = ("P0", "P1", "P2", "end", "P4", "DIRECT", "P0")
"""Who answers then."""


def config(internet: Internet) -> dict[str, Any]:
    """Each group has a port; `dead` refuses every connection."""
    return {
        "listeners": listeners(),
        "proxies": [_DEAD, *internet.proxies()],
        "proxy-groups": [
            {"name": "falling-back", "type": "fallback", "proxies": ["dead", "P2"], **_CHECKED},
            {"name": "tested", "type": "url-test", "proxies": ["dead", "P4"], **_CHECKED},
            {**_CHOICE, "proxies": list(dict.fromkeys(MEMBERS))},
        ],
        "rules": ["DST-PORT,1,falling-back", "DST-PORT,2,tested", "DST-PORT,3,told"],
    }


def follows(rig: Rig, select: Callable[[str], object]) -> None:
    """Fails unless the groups choose who lives, and each choice of `MEMBERS` leads there."""

    def meets(port: int, expected: str) -> None:
        flow = Flow("tcp", "mixed", 0, 4, 31_000 + port, "198.51.100.7", port)
        wait_until(
            lambda: run_flows(rig, [flow])[flow].answer == expected, f"port {port}: {expected}"
        )

    meets(1, "P2")
    meets(2, "P4")
    for member, expected in zip(MEMBERS, EXPECTED, strict=True):
        select(member)
        meets(3, expected)
