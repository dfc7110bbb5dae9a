"""Full-cone UDP (RFC 4787: endpoint-independent mapping and filtering) through the relay."""

from __future__ import annotations

import pytest
from support.gateway import Gateway
from support.udp import STUN, VERSIONS, ask, mapped, open_socket, receive

by_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def gateway(request, module_rig):
    """Everything is relayed, by one worker or by one of two."""
    assert module_rig.servers.process.running
    config = {
        "rules": ["MATCH,DIRECT"],
        "gateway": {"verdict-cache": False, "workers": request.param},
    }
    with Gateway(module_rig, config) as gateway:
        yield gateway


@by_version
def test_every_server_sees_the_same_port(gateway, version):
    rig = gateway.rig
    with open_socket(rig.clients[0], version) as sock:
        seen = {mapped(sock, rig.destination(number, version)) for number in range(1, 21)}
    assert len(seen) == 1
    assert seen.pop()[0] == {4: "203.0.113.1", 6: "2001:db8:113::1"}[version]


@by_version
def test_two_client_ports_get_two(gateway, version):
    rig = gateway.rig
    with open_socket(rig.clients[0], version) as one, open_socket(rig.clients[0], version) as other:
        address = rig.destination(1, version)
        assert mapped(one, address) != mapped(other, address)


@by_version
def test_a_reply_from_a_third_address_arrives_from_there(gateway, version):
    rig = gateway.rig
    other = rig.destination(30, version)
    with open_socket(rig.clients[0], version) as sock:
        sock.sendto(f"from {other} 4444".encode(), (rig.destination(29, version), STUN))
        data, sender = receive(sock)
        assert sender == (other, 4444)
        assert data.decode().split()[1] == str(mapped(sock, rig.destination(28, version))[1])


@by_version
def test_a_stranger_reaches_the_mapped_port_and_is_answered(gateway, version):
    rig = gateway.rig
    stranger = rig.destination(40, version)
    with (
        open_socket(rig.clients[0], version) as sock,
        open_socket(rig.internet, version, local=stranger, port=5000) as peer,
    ):
        public = mapped(sock, rig.destination(39, version))
        for word in (b"one", b"two"):
            peer.sendto(word, public)
            assert receive(sock) == (word, (stranger, 5000))
            sock.sendto(word, (stranger, 5000))
            assert receive(peer) == (word, public)
        assert ask(sock, rig.destination(39, version), STUN, b"who").split()[1] == (
            str(public[1]).encode()
        )
