"""UDP by kernel and by relay: large, many, refused, silent, idle, from outside."""

from __future__ import annotations

import errno
import socket
import time

import pytest
from support.gateway import Gateway, wait_until
from support.udp import ECHO, VERSIONS, echoes, is_silent, open_socket, receive

from mihomo_tproxy.rig.serving import pattern

RELAYED = {"rules": ["MATCH,DIRECT"], "gateway": {"verdict-cache": False}}
KERNEL = {"rules": ["MATCH,DIRECT"]}
CONFIGS = {"kernel": KERNEL, "relay": RELAYED}
IDLE_S = 2.5
"""Long enough for a flow with an idle time of one second to end."""
BURSTS = 20
SIZES = (1, 1_400, 3_000, 22_528, 65_000)

by_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def gateway(module_rig):
    """One daemon for all tests here; each loads its own rules."""
    assert module_rig.servers.process.running
    with Gateway(module_rig, KERNEL) as gateway:
        yield gateway


@pytest.fixture(params=CONFIGS)
def way(request, gateway):
    """The way of DIRECT flows: by the kernel, or by the relay."""
    gateway.reload(CONFIGS[request.param])
    return request.param


@by_version
def test_echo_takes_the_way_it_should(gateway, way, version):
    rig = gateway.rig
    before = gateway.routes()
    with open_socket(rig.clients[0], version) as sock:
        for number in range(10):
            assert echoes(sock, rig.destination(1, version), str(number).encode())
    passed = gateway.since(before)
    other = "relay" if way == "kernel" else "kernel"
    assert passed.counts[way].packets == 10
    assert passed.counts[f"down_{way}"].packets == 10
    assert passed.counts[other].packets == passed.counts[f"down_{other}"].packets == 0


@by_version
@pytest.mark.parametrize("size", SIZES)
def test_datagrams_of_every_size(gateway, way, version, size):
    rig = gateway.rig
    before = gateway.routes()
    with open_socket(rig.clients[0], version) as sock:
        for _ in range(3):
            assert echoes(sock, rig.destination(2, version), pattern(size))
    passed = gateway.since(before)
    assert passed.counts[way].bytes >= 3 * size
    assert passed.counts["relay" if way == "kernel" else "kernel"].packets == 0


@by_version
def test_a_hundred_remotes_of_one_port(gateway, way, version):
    rig = gateway.rig
    remotes = {(rig.destination(number, version), ECHO) for number in range(100, 200)}
    with open_socket(rig.clients[0], version) as sock:
        for _ in range(2):
            for address, port in remotes:
                sock.sendto(address.encode(), (address, port))
            answers = [receive(sock) for _ in remotes]
            assert {sender for _, sender in answers} == remotes
            assert all(data.decode() == sender[0] for data, sender in answers)


@by_version
def test_many_clients_of_one_destination(gateway, way, version):
    rig = gateway.rig
    socks = [open_socket(client, version) for client in rig.clients for _ in range(40)]
    try:
        for turn in range(3):
            for number, sock in enumerate(socks):
                sock.sendto(f"{turn}/{number}".encode(), (rig.destination(3, version), ECHO))
            for number, sock in enumerate(socks):
                assert receive(sock)[0] == f"{turn}/{number}".encode()
    finally:
        for sock in socks:
            sock.close()


@by_version
def test_bursts_of_new_flows_of_one_destination(gateway, version):
    """A flow's socket is anybody's between bind and connect: look-ups meanwhile may find it.

    They take the longer, and the more of them go wrong, the more flows the destination has.
    """
    rig = gateway.rig
    gateway.reload(RELAYED)
    before = gateway.routes()
    remote = (rig.destination(30, version), ECHO)
    for first_port in range(20_000, 20_000 + 40 * BURSTS, 40):
        socks = [
            open_socket(client, version, port=port)
            for client in rig.clients
            for port in range(first_port, first_port + 40)
        ]
        try:
            for number, sock in enumerate(socks):
                sock.sendto(f"{first_port}/{number}".encode(), remote)
            for number, sock in enumerate(socks):
                assert receive(sock)[0] == f"{first_port}/{number}".encode()
        finally:
            for sock in socks:
                sock.close()
    assert gateway.since(before).relay.flows == BURSTS * 80


def refusing(rig, version, *, cache):
    """Destinations 11 REJECT and 12 REJECT-DROP, the rest DIRECT."""
    length = 128 if version == 6 else 32
    return {
        "rules": [
            f"IP-CIDR,{rig.destination(11, version)}/{length},REJECT",
            f"IP-CIDR,{rig.destination(12, version)}/{length},REJECT-DROP",
            "MATCH,DIRECT",
        ],
        "gateway": {"verdict-cache": cache},
    }


@by_version
@pytest.mark.parametrize("cache", [True, False], ids=["cached", "relayed"])
def test_one_client_port_under_different_rules(gateway, version, cache):
    rig = gateway.rig
    gateway.reload(refusing(rig, version, cache=cache))
    client = rig.clients[0]
    with (
        open_socket(client, version, port=4100) as direct,
        open_socket(client, version, port=4100) as refused,
        open_socket(client, version, port=4100) as dropped,
    ):
        for number, sock in ((10, direct), (11, refused), (12, dropped)):
            sock.connect((rig.destination(number, version), ECHO))
        for _ in range(2):
            direct.send(b"ping")
            assert direct.recv(100) == b"ping"
            refused.send(b"ping")
            with pytest.raises(ConnectionRefusedError):
                refused.recv(100)
            before = gateway.routes()
            dropped.send(b"ping")
            assert is_silent(dropped)
            assert gateway.since(before).drop.packets == int(cache)


@by_version
def test_a_port_rule_decides_for_each_port_of_a_destination(gateway, version):
    rig = gateway.rig
    gateway.reload({"rules": [f"DST-PORT,{ECHO},DIRECT", "MATCH,REJECT"]})
    client, address = rig.clients[0], rig.destination(13, version)
    for route in ("relay", "kernel"):
        before = gateway.routes()
        with open_socket(client, version) as sock:
            assert echoes(sock, address)
        assert gateway.since(before).counts[route].flows == 1
        with open_socket(client, version) as sock:
            sock.connect((address, ECHO + 1))
            sock.send(b"ping")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(100)


@by_version
def test_a_server_in_the_lan_answers_those_outside(gateway, version):
    rig = gateway.rig
    gateway.reload({"rules": ["MATCH,REJECT"]})
    client, internet = rig.clients[0], rig.internet
    with (
        open_socket(client, version, port=5300) as server,
        open_socket(internet, version, local=rig.destination(20, version), port=6000) as peer,
    ):
        for payload in (b"hello", pattern(3_000)):
            before = gateway.routes()
            peer.sendto(payload, (client.address(version), 5300))
            data, sender = receive(server)
            assert (data, sender) == (payload, (rig.destination(20, version), 6000))
            server.sendto(data, sender)
            assert receive(peer) == (payload, (client.address(version), 5300))
            assert gateway.since(before).relay.packets == 0


@by_version
def test_an_idle_flow_ends_and_begins_anew(gateway, version):
    rig = gateway.rig
    gateway.reload({**RELAYED, "gateway": {"verdict-cache": False, "udp-timeout": 1}})
    with open_socket(rig.clients[0], version) as sock:
        for flows in (1, 0):
            before = gateway.routes()
            assert echoes(sock, rig.destination(4, version))
            assert gateway.since(before).relay.flows == flows
        time.sleep(IDLE_S)
        before = gateway.routes()
        assert echoes(sock, rig.destination(4, version))
        assert gateway.since(before).relay.flows == 1


@by_version
def test_a_closed_port_answers_as_without_a_gateway(gateway, version):
    """The kernel forwards the ICMP error; the relay's client just hears nothing."""
    rig = gateway.rig
    gateway.reload(KERNEL)
    with open_socket(rig.clients[0], version) as sock:
        sock.connect((rig.destination(5, version), 9))
        sock.send(b"ping")
        with pytest.raises(OSError, match="refused") as caught:
            sock.recv(100)
        assert caught.value.errno == errno.ECONNREFUSED
    gateway.reload(RELAYED)
    with open_socket(rig.clients[0], version) as sock:
        address = rig.destination(5, version)
        sock.sendto(b"ping", (address, 9))
        assert is_silent(sock)
        assert echoes(sock, address)


@by_version
def test_a_client_that_went_away_harms_nobody(gateway, version):
    """Answers to a closed client port come back as ICMP errors."""
    rig = gateway.rig
    gateway.reload(RELAYED)
    client, address = rig.clients[0], rig.destination(6, version)
    with open_socket(rig.internet, version, local=address, port=6001) as server:
        with open_socket(client, version, port=4200) as sock:
            sock.sendto(b"hello", (address, 6001))
            _, sender = receive(server)
        for _ in range(5):
            server.sendto(b"late", sender)
        with open_socket(client, version, port=4200) as sock:
            wait_until(lambda: answered_again(sock, server, address), "flow to work again")
    assert gateway.counter("handler-crashes") == 0


def answered_again(sock, server, address):
    """Whether a datagram gets through to the server and its answer back."""
    sock.sendto(b"again", (address, 6001))
    data, sender = receive(server)
    assert data == b"again"
    server.sendto(data, sender)
    try:
        while sock.recv(100) != b"again":
            pass
    except (TimeoutError, ConnectionRefusedError):
        return False
    return True


@by_version
def test_the_gateways_own_service_is_reached(gateway, version):
    rig = gateway.rig
    gateway.reload({"rules": ["MATCH,REJECT"]})
    wan = {4: "203.0.113.1", 6: "2001:db8:113::1"}[version]
    for address in (rig.gateway.address(version), wan):
        with (
            open_socket(rig.gateway, version, local=address, port=5353) as service,
            open_socket(rig.clients[0], version) as sock,
        ):
            sock.sendto(b"hello", (address, 5353))
            data, sender = receive(service)
            service.sendto(data, sender)
            assert receive(sock) == (b"hello", (address, 5353))
            assert sock.family == (socket.AF_INET6 if version == 6 else socket.AF_INET)
