"""`mihomo-tproxy cleanup`: remove what an instance that died left in this network namespace."""

from __future__ import annotations

from mihomo_tproxy.dataplane import netlink
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.dataplane.links import check_privileges
from mihomo_tproxy.errors import DataplaneError


def cleanup() -> int:
    """Take away filters, rules, routes, pins and state, and say what there was.

    Raises:
        DataplaneError: a gateway runs here; stop it instead.
    """
    check_privileges()
    instance = Instance()
    if instance.is_running():
        pid = instance.read_state().get("pid", "?")
        raise DataplaneError(f"the gateway runs here (pid {pid}): stop it, and it cleans up itself")
    removed = netlink.remove_all()
    if instance.remove():
        removed.append("pinned programs and maps")
    for what in removed:
        print(f"removed {what}")
    if not removed:
        print("nothing to remove")
    return 0
