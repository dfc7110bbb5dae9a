"""Which way a TCP flow takes: the kernel's or the relay's, before and after a verdict is known."""

from __future__ import annotations

import pytest
from support.gateway import Gateway
from support.traffic import connect, pair, talk

ASK_FIRST = "DST-PORT,1,REJECT"
"""A rule on ports, so that no prefix's verdict follows from the rules alone."""


@pytest.fixture(scope="module")
def gateway(module_rig):
    assert module_rig.servers.process.running
    with Gateway(module_rig, {"rules": ["MATCH,DIRECT"]}) as gateway:
        yield gateway


def echo(gateway, version, number=1, **options):
    rig = gateway.rig
    return talk(rig.clients[0], rig.destination(number, version), 7, b"hello", **options)


def routed(gateway, version, number=1, **options):
    """One echoed connection, and what it was counted as."""
    before = gateway.routes()
    assert echo(gateway, version, number, **options) == b"hello"
    return gateway.since(before)


def assert_by_kernel(counts):
    assert counts.kernel.flows == 1
    assert counts.kernel.packets >= 4
    assert counts.down_kernel.packets >= 3
    assert counts.relay.packets == counts.down_relay.packets == 0


def assert_by_relay(counts):
    assert counts.relay.flows == 1
    assert counts.relay.packets >= 4
    assert counts.down_relay.packets >= 3
    assert counts.kernel.packets == counts.down_kernel.packets == 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_learnt_verdict_keeps_the_next_flow_in_the_kernel(gateway, version):
    gateway.reload({"rules": [ASK_FIRST, "MATCH,DIRECT"]})
    assert_by_relay(routed(gateway, version))
    assert_by_kernel(routed(gateway, version))
    # The decision did not depend on the address, so neither does the verdict.
    assert_by_kernel(routed(gateway, version, number=2))


@pytest.mark.parametrize("version", [4, 6])
def test_a_verdict_is_as_specific_as_its_decision(gateway, version):
    rig = gateway.rig
    kind = "IP-CIDR" if version == 4 else "IP-CIDR6"
    prefix = f"{rig.destination(5, version)}/{32 if version == 4 else 128}"
    gateway.reload({"rules": [ASK_FIRST, f"{kind},{prefix},REJECT", "MATCH,DIRECT"]})
    assert_by_relay(routed(gateway, version, number=4))
    assert_by_kernel(routed(gateway, version, number=4))
    assert_by_relay(routed(gateway, version, number=6))
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            echo(gateway, version, number=5)


@pytest.mark.parametrize("version", [4, 6])
def test_a_prefix_decided_by_the_rules_alone_is_the_kernels_from_the_first_flow(gateway, version):
    rig = gateway.rig
    kind, size = ("IP-CIDR", 32) if version == 4 else ("IP-CIDR6", 128)
    gateway.reload(
        {
            "rules": [
                f"{kind},{rig.destination(10, version)}/{size},DIRECT",
                f"{kind},{rig.destination(11, version)}/{size},REJECT-DROP",
                f"{kind},{rig.destination(12, version)}/{size},REJECT",
                ASK_FIRST,
                "MATCH,DIRECT",
            ]
        }
    )
    assert_by_kernel(routed(gateway, version, number=10))
    before = gateway.routes()
    with pytest.raises(TimeoutError):
        connect(rig.clients[0], rig.destination(11, version), 7, timeout=0.5)
    counts = gateway.since(before)
    assert counts.drop.packets >= 1
    assert counts.relay.packets == counts.kernel.packets == 0
    before = gateway.routes()
    with pytest.raises(ConnectionResetError):
        echo(gateway, version, number=12)
    assert gateway.since(before).relay.flows == 1
    assert_by_relay(routed(gateway, version, number=13))


@pytest.mark.parametrize("version", [4, 6])
def test_without_the_verdict_cache_every_flow_is_relayed(gateway, version):
    gateway.reload({"rules": ["MATCH,DIRECT"], "gateway": {"verdict-cache": False}})
    for _ in range(3):
        assert_by_relay(routed(gateway, version))


@pytest.mark.parametrize("version", [4, 6])
def test_mode_direct_leaves_everything_to_the_kernel(gateway, version):
    gateway.reload({"mode": "direct", "rules": ["MATCH,REJECT"]})
    assert_by_kernel(routed(gateway, version))


@pytest.mark.parametrize("version", [4, 6])
def test_ipv6_can_be_left_alone(gateway, version):
    gateway.reload({"ipv6": False, "rules": ["MATCH,REJECT"]})
    if version == 4:
        with pytest.raises(ConnectionResetError):
            echo(gateway, 4)
        return
    before = gateway.routes()
    assert echo(gateway, 6) == b"hello"
    counts = gateway.since(before)
    assert counts.bypass.packets >= 4
    assert counts.relay.packets == counts.kernel.packets == 0


@pytest.mark.parametrize("version", [4, 6])
def test_rules_see_the_source(gateway, version):
    rig = gateway.rig
    one, other = (client.address(version) for client in rig.clients)
    size = 32 if version == 4 else 128
    gateway.reload(
        {"rules": [f"SRC-IP-CIDR,{one}/{size},DIRECT", f"SRC-IP-CIDR,{other}/{size},REJECT"]}
    )
    assert_by_relay(routed(gateway, version))
    assert_by_kernel(routed(gateway, version))
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            talk(rig.clients[1], rig.destination(1, version), 7, b"hello")


@pytest.mark.parametrize("version", [4, 6])
def test_a_port_in_time_wait_here_stays_with_the_relay(gateway, version):
    """The TIME_WAIT socket of a relayed flow would catch the segments of a bypassed one."""
    rig = gateway.rig
    gateway.reload({"rules": [ASK_FIRST, "MATCH,DIRECT"]})

    def farewell(source_port):
        """The server closes first, so the gateway's socket to the client waits."""
        before = gateway.routes()
        sock = connect(rig.clients[0], rig.destination(1, version), 2005, source_port=source_port)
        with sock:
            assert sock.recv(100) == b"bye\n"
            assert sock.recv(100) == b""
        return gateway.since(before)

    for _ in range(5):
        counts = farewell(40_000 + version)
        assert counts.relay.flows == 1
        assert counts.kernel.packets == 0
    fresh_port = farewell(41_000 + version)
    assert fresh_port.kernel.flows == 1
    assert fresh_port.relay.packets == 0


@pytest.mark.parametrize("version", [4, 6])
def test_flows_keep_their_side_when_a_verdict_comes(gateway, version):
    """A relayed flow stays relayed after its own verdict sends the next one to the kernel."""
    gateway.reload({"rules": [ASK_FIRST, "MATCH,DIRECT"]})
    with (
        pair(gateway.rig, version) as (client, server),
        pair(gateway.rig, version, number=8) as (later, later_server),
    ):
        before = gateway.routes()
        client.sendall(b"relayed")
        assert server.recv(100) == b"relayed"
        assert gateway.since(before).kernel.packets == 0
        before = gateway.routes()
        later_server.sendall(b"forwarded")
        assert later.recv(100) == b"forwarded"
        counts = gateway.since(before)
        assert counts.down_kernel.packets >= 1
        assert counts.down_relay.packets == 0
