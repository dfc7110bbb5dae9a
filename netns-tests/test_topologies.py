"""Every kind of LAN and WAN the rig has, several workers, strict reverse paths, tproxy-port."""

from __future__ import annotations

import pytest
from support.gateway import Gateway
from support.tcp import ECHO, Download, connects, says
from support.udp import VERSIONS, echoes, mapped, open_socket

from mihomo_tproxy.rig.serving import pattern

DIRECT = {"rules": ["MATCH,DIRECT"]}
REJECT = {"rules": ["MATCH,REJECT"]}
RELAYED = {**DIRECT, "gateway": {"verdict-cache": False}}
TRANSFER = 3_000_000
WAN = {4: "203.0.113.1", 6: "2001:db8:113::1"}
by_version = pytest.mark.parametrize("version", VERSIONS)


def traffic_passes(rig, client, version):
    """TCP both ways, small and large datagrams."""
    address = rig.destination(3, version)
    with (
        open_socket(client, version) as sock,
        client.connect(address, ECHO) as tcp,
        Download(client, address, TRANSFER, 0) as download,
    ):
        assert says(tcp, pattern(100_000))
        for size in (1, 1_400, 3_000):
            assert echoes(sock, address, pattern(size))
        return download.finish()


@pytest.mark.parametrize(
    "switches",
    [{"bridged": True}, {"switched": True}, {"vlan": 10}, {"l3": True}, {"nat": True}],
    ids=lambda switches: next(iter(switches)),
)
def test_topology(rig_factory, switches):
    rig = rig_factory(**switches)
    assert rig.servers.process.running
    with Gateway(rig, DIRECT) as gateway:
        for config, way, other in ((DIRECT, "kernel", "relay"), (RELAYED, "relay", "kernel")):
            gateway.reload(config)
            before = gateway.routes()
            for client in rig.clients:
                for version in VERSIONS:
                    assert traffic_passes(rig, client, version)
            passed = gateway.since(before)
            assert passed.counts[way].flows == 3 * 2 * len(rig.clients)
            assert passed.counts[f"down_{way}"].bytes >= TRANSFER * 2 * len(rig.clients)
            assert passed.counts[other].packets == passed.counts[f"down_{other}"].packets == 0
        gateway.reload(REJECT)
        for client in rig.clients:
            for version in VERSIONS:
                assert not connects(client, rig.destination(4, version))
                assert connects_directly(rig, client, version)
        per_client = {each["address"]: each for each in gateway.status()["clients"]}
        for client in rig.clients:
            for version in VERSIONS:
                assert per_client[client.address(version)]["down_kernel"]["bytes"] > TRANSFER
                assert per_client[client.address(version)]["down_relay"]["bytes"] > TRANSFER


def connects_directly(rig, client, version):
    """Whether the gateway itself answers a client's ping."""
    return client.run(["ping", "-c1", "-W2", rig.gateway.address(version)]).returncode == 0


def test_a_port_of_a_bridge_means_its_bridge(rig_factory):
    rig = rig_factory(bridged=True)
    assert rig.servers.process.running
    with Gateway(rig, {**REJECT, "gateway": {"lan": ["lan0"]}}) as gateway:
        assert gateway.status()["lan"] == ["br-lan"]
        assert not connects(rig.clients[0], rig.destination(1))


def test_clients_of_one_bridge_reach_each_other(rig_factory):
    rig = rig_factory(bridged=True)
    with Gateway(rig, {**REJECT, "gateway": {"bypass-private": False}}):
        one, other = rig.clients
        for version in VERSIONS:
            with (
                open_socket(other, version, port=6262) as service,
                open_socket(one, version) as sock,
            ):
                sock.sendto(b"hello", (other.address(version), 6262))
                assert service.recv(100) == b"hello"


def test_two_workers_share_the_flows(rig):
    assert rig.servers.process.running
    config = {**DIRECT, "gateway": {"verdict-cache": False, "workers": 2}}
    with Gateway(rig, config) as gateway:
        for version in VERSIONS:
            for number in range(40):
                assert connects(rig.clients[number % 2], rig.destination(number + 1, version))
            with open_socket(rig.clients[0], version) as sock:
                seen = {mapped(sock, rig.destination(number, version)) for number in range(1, 9)}
            assert len(seen) == 1
        gateway.wait_counter("opened:tcp:DIRECT", lambda number: number == 80)
        shares = [
            counters["opened:tcp:DIRECT"] for counters in gateway.status()["workers"].values()
        ]
        assert len(shares) == 2
        assert min(shares) >= 10  # of 80 by hash: fewer has a chance of less than 1e-11


def test_strict_reverse_paths(rig):
    """As Tailscale and wg-quick set it: the reverse path is looked up with the packet's mark."""
    assert rig.servers.process.running
    for name in ("all", *rig.lan_interfaces, "wan0"):
        rig.gateway.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)
    rig.gateway.sysctl("net.ipv4.conf.all.src_valid_mark", 1)
    with Gateway(rig, DIRECT) as gateway:
        for config in (DIRECT, RELAYED):
            gateway.reload(config)
            for version in VERSIONS:
                assert traffic_passes(rig, rig.clients[0], version)


PORT = 7893
OWN_STEERING = """
table inet steering {
  chain pre {
    type filter hook prerouting priority mangle; policy accept;
    iifname "lan*" ip daddr 198.51.100.0/24 meta l4proto { tcp, udp } \
tproxy ip to V4:PORT meta mark set 1 accept
    iifname "lan*" ip6 daddr 2001:db8:51::/64 meta l4proto { tcp, udp } \
tproxy ip6 to V6:PORT meta mark set 1 accept
  }
}
"""


@pytest.fixture
def steered_rig(rig):
    """A rig whose user steers with nftables: call it with where the listener is."""
    assert rig.servers.process.running

    def steer(v4, v6):
        script = OWN_STEERING.replace("V4", v4).replace("V6", v6).replace("PORT", str(PORT))
        rig.gateway.run(["nft", "-f", "-"], stdin=script)
        for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
            rig.gateway.run(f"ip {family} rule add fwmark 1 lookup 100")
            rig.gateway.run(f"ip {family} route add local {everything} dev lo table 100")
        return rig

    return steer


@pytest.mark.parametrize("workers", [1, 2])
def test_tproxy_port_for_rules_of_the_users(steered_rig, workers):
    rig = steered_rig("", "")
    lan = {"lan": ["none*"], "workers": workers}
    config = {"tproxy-port": PORT, "allow-lan": True, "gateway": lan}
    client = rig.clients[0]
    with Gateway(rig, config | DIRECT) as gateway:
        for version in VERSIONS:
            assert traffic_passes(rig, client, version)
            with open_socket(client, version) as sock:
                seen = {mapped(sock, rig.destination(number, version)) for number in range(1, 9)}
                assert len(seen) == 1
            assert not connects(client, rig.gateway.address(version), PORT)
        gateway.wait_counter("opened:tcp:DIRECT", lambda number: number == 4)
        gateway.wait_counter("error:loop", lambda number: number == 2)
        gateway.reload(config | REJECT)
        for version in VERSIONS:
            assert not connects(client, rig.destination(1, version))


@by_version
def test_without_allow_lan_the_port_is_on_loopback(steered_rig, version):
    rig = steered_rig("127.0.0.1", "[::1]")
    config = {**DIRECT, "tproxy-port": PORT, "gateway": {"lan": ["none*"]}}
    client = rig.clients[0]
    with Gateway(rig, config) as gateway:
        with pytest.raises(ConnectionRefusedError):
            client.connect(rig.gateway.address(version), PORT)
        assert traffic_passes(rig, client, version)
        gateway.wait_counter("opened:tcp:DIRECT", lambda number: number == 2)


def test_bind_address_is_kept(rig):
    address = rig.gateway.address(4)
    config = {**DIRECT, "tproxy-port": PORT, "allow-lan": True, "bind-address": address}
    with Gateway(rig, config):
        shown = rig.gateway.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout.split()
        assert f"{address}:{PORT}" in shown
        with pytest.raises(ConnectionRefusedError):
            rig.clients[0].connect(rig.gateway.address(6), PORT)
