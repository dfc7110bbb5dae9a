"""Network namespaces for testing through a transparent gateway.

A rig is LAN clients, a gateway, a WAN and an internet with servers, all on this machine.

    from mihomo_tproxy.rig import Rig, WanProfile

    with Rig.standard(clients=2, wan=WanProfile(delay_ms=20, loss=0.001)) as rig:
        ...

`mihomo-tproxy rig` is the same as a command, `mihomo_tproxy.rig.pytest_plugin` as fixtures.
Root is needed, and iproute2 and util-linux; nftables for NAT and blackholes.
"""

from __future__ import annotations

from mihomo_tproxy.rig.node import Node
from mihomo_tproxy.rig.process import Process
from mihomo_tproxy.rig.rig import Rig
from mihomo_tproxy.rig.topology import LanMode, Topology, WanProfile

__all__ = ["LanMode", "Node", "Process", "Rig", "Topology", "WanProfile"]
