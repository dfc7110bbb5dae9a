"""What a node knows without a namespace; the rest is in the namespace tests."""

from __future__ import annotations

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig.node import Node
from mihomo_tproxy.rig.plan import make_plan
from mihomo_tproxy.rig.topology import LanMode, Topology


@pytest.fixture
def nodes(tmp_path):
    plans = make_plan(Topology(lan=LanMode.SWITCHED)).nodes
    return {name: Node(plan, f"px-{name}", tmp_path) for name, plan in plans.items()}


def test_command_enters_by_name_and_keeps_the_mounts(nodes):
    assert nodes["gateway"].command(["ls", "-l"]) == [
        "nsenter",
        "--net=/run/netns/px-gateway",
        "--",
        "ls",
        "-l",
    ]


def test_addresses(nodes):
    assert nodes["client1"].address() == "192.168.77.11"
    assert nodes["client1"].address(6) == "fd77::11"
    with pytest.raises(RigError, match="switch has no IPv4 address"):
        nodes["switch"].address()


def test_unknown_interfaces_are_named(nodes):
    with pytest.raises(RigError, match="gateway has no interface eth7"):
        nodes["gateway"].link_up("eth7")


def test_calls_need_the_namespace(nodes):
    with pytest.raises(RigError, match="no namespace px-gateway"):
        nodes["gateway"].call(print)
    with pytest.raises(RigError, match="no namespace px-gateway"):
        nodes["gateway"].socket()
