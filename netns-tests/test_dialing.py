"""How a proxy's server is reached: what all types of proxies have in common, through the gateway.

Two paths lead from the gateway to the servers, so that an interface can be chosen; who came to a
server is read in its log, what left the gateway in counters of nftables.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from support.gateway import Gateway, wait_until
from support.interop.dialed import Servers, counting, losing, tcp_counters, transfers
from support.interop.rows import SERVER, SERVER_6
from support.tcp import connects, says
from support.traffic import assert_resets, connect, many, pair, read_exactly
from support.udp import VERSIONS, echoes, mapped, open_socket, receive

from mihomo_tproxy.rig.plan import WAN_GATEWAY
from mihomo_tproxy.rig.serving import PORTS, pattern

pytestmark = pytest.mark.timeout(60)

NAME = "server.test"
SERVERS = {4: SERVER, 6: SERVER_6}
SECOND = {4: ("192.0.2.1", "192.0.2.2", 24), 6: ("2001:db8:2::1", "2001:db8:2::2", 64)}
"""The second path's ends, the gateway's first."""
KINDS = ("ss", "trojan", "socks5", "http", "vless", "vmess")
PACKETS = ("ss", "trojan", "socks5", "vless", "vmess")
WITH_FAST_OPEN, CLIENTS_ONLY = 0x403, 0x1
LONGER_THAN_A_SYN = "tcp flags syn / syn,ack meta length > 100"
CLOSED_PORT = 1
by_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def rig(module_rig):
    """With a second path to the internet, which no route prefers."""
    rig = module_rig
    # Whether a listener can is decided when it begins to listen.
    rig.internet.sysctl("net.ipv4.tcp_fastopen", WITH_FAST_OPEN)
    assert rig.servers.process.running
    rig.gateway.ip(f"link add wan1 type veth peer name eth1 netns {rig.internet.netns}")
    for here, there, length in SECOND.values():
        rig.gateway.add_address("wan1", f"{here}/{length}")
        rig.internet.add_address("eth1", f"{there}/{length}")
    rig.gateway.ip("link set wan1 up")
    rig.internet.ip("link set eth1 up")
    for _, there, _ in SECOND.values():
        rig.gateway.ip(f"route add default via {there} dev wan1 metric 2000")
    for version, (here, _, _) in SECOND.items():
        # A server on all addresses answers datagrams from the one it was asked at.
        rig.internet.ip(f"route add {here} dev eth1 src {SERVERS[version]}")
    return rig


@pytest.fixture(scope="module")
def servers(rig, tmp_path_factory):
    servers = Servers(rig, tmp_path_factory.mktemp("servers"))
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def running(rig, servers):
    """One daemon for all tests here that need no restart."""
    with Gateway(rig, {"rules": ["MATCH,DIRECT"]}) as gateway:
        yield gateway
        assert gateway.settled_counter("handler-crashes") == 0


@pytest.fixture
def through(running):
    """Has the gateway send everything through the first of some proxies; the gateway."""

    def reload(*proxies, **more):
        running.reload({"proxies": list(proxies), "rules": [f"MATCH,{proxies[0]['name']}"], **more})
        return running

    return reload


def counted_errors(gateway):
    """The errors counted so far, without resets: those of earlier flows, which some servers end so,
    are counted later."""
    found = Counter(gateway.errors())
    found.pop("relay-reset", None)
    return found


def failures(gateway, attempt, total=1):
    """The causes counted because of an attempt that fails."""
    before = counted_errors(gateway)
    attempt()

    def counted():
        found = counted_errors(gateway) - before
        return found if found.total() >= total else None

    return dict(wait_until(counted, "errors counted", 15.0))


def turned_away(rig, version=4, timeout=15.0):
    """A client's connection that comes to nothing, once its first bytes are there."""
    try:
        with connect(rig.clients[0], rig.destination(1, version), 7, timeout=timeout) as sock:
            sock.sendall(b"hello")
            assert sock.recv(10) == b""
    except ConnectionError:
        return
    raise AssertionError("an orderly end, where a reset was due")


def asks(rig, version=4):
    """Whether a datagram from a new client port is echoed."""
    with open_socket(rig.clients[0], version) as sock:
        return echoes(sock, rig.destination(1, version), pattern(1200))


# TCP Fast Open.


@pytest.fixture
def fast_open(rig):
    """Servers that take data with the SYN, and a gateway that has no cookie of theirs."""
    rig.internet.sysctl("net.ipv4.tcp_fastopen", WITH_FAST_OPEN)
    rig.gateway.sysctl("net.ipv4.tcp_fastopen", CLIENTS_ONLY)
    rig.gateway.ip("tcp_metrics flush")
    yield rig.internet
    rig.internet.sysctl("net.ipv4.tcp_fastopen", CLIENTS_ONLY)


def fast_opened(rig):
    """Connections so far whose SYN carried data that was taken, by the gateway and the servers."""
    return (
        tcp_counters(rig.gateway)["TCPFastOpenActive"],
        tcp_counters(rig.internet)["TCPFastOpenPassive"],
    )


@by_version
@pytest.mark.parametrize("kind", KINDS)
def test_the_second_syn_carries_data(through, rig, servers, fast_open, kind, version):
    through(servers.entry(kind, tfo=True, server=SERVERS[version]))
    counts = [fast_opened(rig)]
    for _ in range(3):
        transfers(rig, version)
        counts.append(fast_opened(rig))
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(counts)]
    assert steps == [(0, 0), (1, 1), (1, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_fast_open_waits_for_nobody(through, rig, servers, fast_open, kind):
    """A destination that speaks first is heard though its client is silent."""
    through(servers.entry(kind, tfo=True))
    for _ in range(2):
        with connect(rig.clients[0], rig.destination(1), PORTS["banner"]) as sock:
            assert read_exactly(sock, 11) == b"220 ready\r\n"


@by_version
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_has_given_fast_open_up(through, rig, servers, fast_open, kind, version):
    through(servers.entry(kind, tfo=True, server=SERVERS[version]))
    transfers(rig, version)
    fast_open.sysctl("net.ipv4.tcp_fastopen", CLIENTS_ONLY)
    before = fast_opened(rig)
    for _ in range(2):
        transfers(rig, version)
    assert fast_opened(rig) == before


@pytest.mark.parametrize("kind", ["ss", "trojan"])
def test_a_path_that_loses_syns_with_data(through, rig, servers, fast_open, kind):
    through(servers.entry(kind, tfo=True))
    transfers(rig, 4)
    with losing(rig.internet, LONGER_THAN_A_SYN):
        transfers(rig, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_fast_open_to_a_closed_port(through, rig, servers, fast_open, kind):
    """With a cookie the dial succeeds before anything is sent; what becomes of it is told later."""
    through(servers.entry(kind, tfo=True))
    transfers(rig, 4)
    gateway = through(servers.entry(kind, tfo=True, port=CLOSED_PORT))
    causes = failures(gateway, lambda: turned_away(rig))
    assert causes in ({"handshake-refused": 1}, {"relay-refused": 1})


@pytest.mark.parametrize("kind", ["ss", "socks5"])
def test_fast_open_to_nobody(through, rig, servers, fast_open, kind):
    gateway = through(servers.entry(kind, tfo=True))
    transfers(rig, 4)
    rig.internet.blackhole(SERVER)
    try:
        causes = failures(gateway, lambda: turned_away(rig, timeout=20))
        assert causes in ({"handshake-timeout": 1}, {"relay-timeout": 1})
    finally:
        rig.internet.end_blackholes()


# dialer-proxy.

CHAINS = [
    ("trojan", "ss"),
    ("ss", "socks5"),
    ("vmess", "http"),
    ("socks5", "ss", "trojan"),
    ("ss", "trojan", "socks5"),
    ("http", "vless", "vmess"),
]
PACKET_CHAINS = [
    ("trojan", "socks5"),
    ("ss", "socks5"),
    ("socks5", "ss"),
    ("socks5", "trojan"),
    ("ss", "socks5", "trojan"),
    ("vmess", "http"),
]


def chain(servers, kinds, **options):
    """Entries, each over the next; the last one is reached from here, with further options."""
    over = [servers.entry(a, dialer_proxy=b) for a, b in pairwise(kinds)]
    return [*over, servers.entry(kinds[-1], **options)]


def came_by(kinds, version=4):
    """Who must have come to each server of a chain: all but the last come from each other."""
    return {(kind, SERVER) for kind in kinds[:-1]} | {(kinds[-1], WAN_GATEWAY[version])}


@by_version
@pytest.mark.parametrize("kinds", CHAINS, ids="-".join)
def test_chain(through, rig, servers, kinds, version):
    through(*chain(servers, kinds, server=SERVERS[version]))
    with servers.arrivals() as came:
        transfers(rig, version)
        assert came() == came_by(kinds, version)


@by_version
@pytest.mark.parametrize("kinds", PACKET_CHAINS, ids="-".join)
def test_datagrams_by_a_chain(through, rig, servers, kinds, version):
    through(*chain(servers, kinds))
    with servers.arrivals() as came:
        assert asks(rig, version)
        assert came() == came_by(kinds)


@pytest.mark.parametrize("kinds", CHAINS, ids="-".join)
def test_a_chain_whose_first_link_is_down(through, rig, servers, kinds):
    gateway = through(*chain(servers, kinds, port=CLOSED_PORT))
    causes = failures(gateway, lambda: assert_resets(rig.clients[0], rig.destination(1), 7))
    assert causes == {"dial-refused": 1}


def test_a_chain_whose_second_link_is_down(through, rig, servers):
    entries = [
        servers.entry("ss", dialer_proxy="socks5", port=CLOSED_PORT),
        servers.entry("socks5"),
    ]
    gateway = through(*entries)
    causes = failures(gateway, lambda: assert_resets(rig.clients[0], rig.destination(1), 7))
    assert causes == {"socks5-refused": 1}


# interface-name and routing-mark.


def leaving(port):
    """Matches for what goes to a server's port: by path, and by mark."""
    to = f"meta l4proto {{ tcp, udp }} th dport {port}"
    return {
        "first": f"oifname wan0 {to}",
        "second": f"oifname wan1 {to}",
        "marked": f"meta mark 0x77 {to}",
    }


@by_version
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["proxy", "file"])
def test_interface_name(through, rig, servers, kind, place, version):
    own, of_file = ({"interface_name": "wan1"}, {}), ({}, {"interface-name": "wan1"})
    options, more = own if place == "proxy" else of_file
    through(servers.entry(kind, server=SERVERS[version], **options), **more)
    matches = leaving(servers.ports[kind])
    with counting(rig.gateway, **matches) as packets, servers.arrivals() as came:
        transfers(rig, 4)
        assert kind == "http" or asks(rig)
        assert came() == {(kind, SECOND[version][0])}
        counts = packets()
        assert counts["first"] == counts["marked"] == 0 < counts["second"]


def test_a_proxys_options_before_the_files(through, rig, servers):
    entry = servers.entry("ss", interface_name="wan0", routing_mark=0x77)
    through(entry, **{"interface-name": "wan1", "routing-mark": 0x1234})
    with counting(rig.gateway, **leaving(servers.ports["ss"])) as packets:
        transfers(rig, 4)
        assert asks(rig)
        counts = packets()
        assert counts["second"] == 0 < counts["first"] == counts["marked"]


@by_version
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["proxy", "file"])
def test_routing_mark(through, rig, servers, kind, place, version):
    options, more = (
        ({"routing_mark": 0x77}, {}) if place == "proxy" else ({}, {"routing-mark": 0x77})
    )
    through(servers.entry(kind, server=SERVERS[version], **options), **more)
    with counting(rig.gateway, **leaving(servers.ports[kind])) as packets:
        transfers(rig, 4)
        assert kind == "http" or asks(rig)
        counts = packets()
        assert counts["second"] == 0 < counts["first"] == counts["marked"]


@by_version
def test_direct_has_them_too(through, rig, version):
    through({"name": "second", "type": "direct", "interface-name": "wan1", "routing-mark": 0x77})
    address = rig.destination(1, version)
    with counting(rig.gateway, **leaving(PORTS["stun"])) as packets:
        assert transfers(rig, version) == SECOND[version][0]
        with open_socket(rig.clients[0], version) as sock:
            assert mapped(sock, address)[0] == SECOND[version][0]
        assert packets() == {"first": 0, "second": 1, "marked": 1}


def test_an_interface_that_does_not_exist(through, rig, servers):
    gateway = through(servers.entry("ss", interface_name="missing0"))
    causes = failures(gateway, lambda: assert_resets(rig.clients[0], rig.destination(1), 7))
    assert causes == {"dial-enodev": 1}


# ip-version, and names with several addresses.


def by_family(port):
    """Matches for what goes to a server's port, by family."""
    to = f"meta l4proto {{ tcp, udp }} th dport {port}"
    return {f"v{version}": f"meta nfproto ipv{version} {to}" for version in VERSIONS}


@pytest.mark.parametrize("order", [(4, 6), (6, 4)], ids=["A first", "AAAA first"])
@pytest.mark.parametrize(
    ("ip_version", "used"),
    [("ipv4", 4), ("ipv6", 6), ("ipv4-prefer", 4), ("ipv6-prefer", 6), ("dual", 0)],
)
@pytest.mark.parametrize("kind", ["ss", "trojan", "socks5"])
def test_ip_version(through, rig, servers, kind, ip_version, used, order):
    hosts = {NAME: [SERVERS[version] for version in order]}
    through(servers.entry(kind, server=NAME, ip_version=ip_version), hosts=hosts)
    with counting(rig.gateway, **by_family(servers.ports[kind])) as packets:
        transfers(rig, 4)
        assert asks(rig)
        families = {name for name, count in packets().items() if count}
        assert families == {f"v{used or order[0]}"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dead", VERSIONS)
def test_one_family_is_dead(through, rig, servers, kind, dead):
    """Happy eyeballs: the other one is used, and nothing fails."""
    hosts = {NAME: [SERVERS[dead], SERVERS[10 - dead]]}
    gateway = through(servers.entry(kind, server=NAME), hosts=hosts)
    before = counted_errors(gateway)
    rig.internet.blackhole(SERVERS[dead])
    try:
        with servers.arrivals() as came:
            transfers(rig, 4)
            assert came() == {(kind, WAN_GATEWAY[10 - dead])}
    finally:
        rig.internet.end_blackholes()
    assert counted_errors(gateway) == before


@pytest.mark.parametrize("ip_version", ["dual", "ipv4", "ipv6"])
def test_all_addresses_are_dead(through, rig, servers, ip_version):
    hosts = {NAME: list(SERVERS.values())}
    gateway = through(servers.entry("ss", server=NAME, ip_version=ip_version), hosts=hosts)
    for address in SERVERS.values():
        rig.internet.blackhole(address)
    try:
        assert failures(gateway, lambda: turned_away(rig)) == {"dial-timeout": 1}
    finally:
        rig.internet.end_blackholes()


def test_no_route_to_any_address(through, rig, servers):
    away = ["192.0.2.200", "2001:db8:2::200"]
    gateway = through(servers.entry("ss", server=NAME), hosts={NAME: away})
    rig.gateway.ip(*(f"route add unreachable {address}" for address in away))
    try:
        assert failures(gateway, lambda: turned_away(rig)) == {"dial-unreachable": 1}
    finally:
        rig.gateway.ip(*(f"route del unreachable {address}" for address in away))


def test_no_address_of_the_version(through, rig, servers):
    entry = servers.entry("ss", server=NAME, ip_version="ipv6")
    gateway = through(entry, hosts={NAME: SERVER})
    assert failures(gateway, lambda: turned_away(rig)) == {"dial-unreachable": 1}


# Reloads, modes, and what proxies must not cost.


@by_version
@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_outlives_its_proxy(through, rig, servers, kind, version):
    gateway = through(servers.entry(kind))
    with pair(rig, version) as (client, server):
        client.sendall(b"before")
        assert read_exactly(server, 6) == b"before"
        gateway.reload({"rules": ["MATCH,REJECT"]})
        for sock, other in ((client, server), (server, client)):
            sock.sendall(b"after")
            assert read_exactly(other, 5) == b"after"
        assert not connects(rig.clients[0], rig.destination(1, version))


def test_a_changed_password_counts_for_new_flows(through, rig, servers):
    gateway = through(servers.entry("socks5"))
    with connect(rig.clients[0], rig.destination(1), PORTS["echo"]) as sock:
        assert says(sock)
        gateway = through(servers.entry("socks5", password="another"))
        assert failures(gateway, lambda: turned_away(rig)) == {"socks5-auth-failed": 1}
        assert says(sock)
        through(servers.entry("socks5"))
        assert connects(rig.clients[0], rig.destination(1))
        assert says(sock)


@by_version
def test_other_modes_leave_proxies_alone(through, rig, servers, version):
    for mode in ("global", "direct"):
        through(servers.entry("ss"), mode=mode)
        with servers.arrivals() as came:
            transfers(rig, version)
            assert came() == set()


@by_version
@pytest.mark.parametrize("kind", PACKETS)
def test_without_udp(through, rig, servers, kind, version):
    """A datagram is no flow for this proxy: the next rule decides, and without one DIRECT."""
    gateway = through(servers.entry(kind, udp=False))
    before = gateway.settled_counter("opened:udp:DIRECT")
    with open_socket(rig.clients[0], version) as sock:
        sock.sendto(b"ping", (rig.destination(1, version), 7))
        assert receive(sock)[0] == b"ping"
    gateway.wait_counter("opened:udp:DIRECT", lambda number: number == before + 1)
    transfers(rig, version)


@pytest.mark.parametrize("kind", KINDS)
def test_flows_leave_nothing_to_collect(through, rig, servers, kind):
    gateway = through(servers.entry(kind))
    address, request = rig.destination(1), b"1000\n"
    many(rig.clients[0], address, PORTS["chargen"], request, pattern(1000), 20, 10)
    before = gateway.settled_counter("gc-collections")
    done = many(rig.clients[0], address, PORTS["chargen"], request, pattern(1000), 300, 30)
    assert done == {"ok": 300}
    assert gateway.settled_counter("gc-collections") == before


# The gateway's own traffic is steered as well: it must not meet itself.

FIRST_STEERING_MARK = 0x20000000


@pytest.mark.parametrize("mark", [0, 0x77, FIRST_STEERING_MARK, FIRST_STEERING_MARK | 0x77])
def test_nothing_comes_back_by_local_steering(running, rig, servers, mark):
    running.stop()
    entries = [servers.entry(kind, routing_mark=mark) for kind in KINDS]
    local = {"gateway": {"local": True}, "proxies": entries}
    try:
        running.configure({**local, "rules": ["MATCH,ss"]})
        running.start()
        for entry in entries:
            kind = entry["name"]
            running.reload({**local, "rules": [f"MATCH,{kind}"]})
            transfers(rig, 4)
            assert kind == "http" or asks(rig)
        running.settled_counter("handler-crashes")
        opened = {kind: running.counter(f"opened:tcp:{kind}") for kind in KINDS}
        assert opened == dict.fromkeys(KINDS, 1)
        assert not running.errors()
    finally:
        running.stop()
        running.configure({"rules": ["MATCH,DIRECT"]})
        running.start()
