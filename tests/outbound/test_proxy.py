"""What all outbounds with a server share: layers in their order, refusals, chains."""

from __future__ import annotations

import socket

import pytest
from support.flows import metadata
from support.layers import Datagrams, Greeting, Xor
from support.loopback import RelayRig
from support.proxies import Sink, accept, receive

from mihomo_tproxy.config.specs.base import ServerSpec
from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.outbound.direct import DirectLink
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.transport.carrier import Carrier


class Toy(ProxyOutbound):
    """Cannot name what ends in `.bad`."""

    def stream_layers(self, host, port):
        if host.endswith(".bad"):
            raise LocalProtocolError("toy-bad-name")
        return [Xor(0, f"{host} {port}\n".encode())]

    def packet_layers(self, host, port):
        if host.endswith(".bad"):
            raise LocalProtocolError("toy-bad-name")
        return [Datagrams()]


class Words:
    early = b""

    def accepted(self):
        return b""

    def refused(self, cause):
        return f"NO {cause}\n".encode()


def toy(rig, **options):
    env = OutboundEnv(rig.context, rig.resolver, None)
    env.outbounds = rig.outbounds
    host, port = rig.destination
    spec = ServerSpec("toy", "toy", **{"server": host, "port": port, **options})
    return Toy(env, spec, Carrier(transport=Greeting))


def test_a_route_goes_through_the_carrier_first():
    with RelayRig() as rig:
        route = toy(rig).route("name.test", 80)
        assert (route.host, route.port) == rig.destination
        assert [type(layer) for layer in route.layers] == [Greeting, Xor]
        again = toy(rig).route("name.test", 80)
        assert route.layers[0] is not again.layers[0]


@pytest.mark.parametrize("fixed", [False, True])
def test_the_server_hears_the_name_unless_hosts_fixes_its_address(fixed):
    with RelayRig() as rig:
        client, ours = socket.socketpair()
        rig.keep(client)
        flow = metadata("192.0.2.7", 80, host="name.test")
        flow.fixed = fixed
        toy(rig).open_tcp(ours, flow)
        proxy = accept(rig)
        assert receive(rig, proxy, 6) == b"hello\n"
        proxy.sendall(b"welcome\n")
        assert receive(rig, proxy, 13) == (b"192.0.2.7 80\n" if fixed else b"name.test 80\n")


@pytest.mark.parametrize(
    ("options", "host", "cause"),
    [
        ({}, "name.bad", "toy-bad-name"),
        ({"dialer_proxy": "gone"}, "name.test", "no-dialer-proxy"),
    ],
)
def test_what_has_no_route_is_refused_and_no_flow(options, host, cause):
    with RelayRig() as rig:
        outbound = toy(rig, **options)
        client, ours = socket.socketpair()
        rig.keep(client)
        outbound.open_tcp(ours, metadata("", 80, host=host), Words())
        assert client.recv(64) == f"NO {cause}\n".encode()
        assert client.recv(1) == b""
        link = outbound.open_udp(Sink())
        link.send(memoryview(b"x"), (host, 53))
        assert rig.tracker.errors == {cause: 2}
        assert (rig.tracker.tcp_live, rig.tracker.traffic("toy", "tcp").opened) == (0, 0)
        link.close()


def test_datagrams_of_its_own_leave_from_where_the_server_is_reached():
    with RelayRig() as rig:
        own = toy(rig).underlay_udp(Sink())
        assert isinstance(own, DirectLink)
        own.close()
        rig.outbounds.add(rig.direct("no-udp", udp=False))
        assert toy(rig, dialer_proxy="no-udp").underlay_udp(Sink()) is None
        with pytest.raises(LocalProtocolError):
            toy(rig, dialer_proxy="gone").underlay_udp(Sink())


def test_udp_false_refuses():
    with RelayRig() as rig:
        outbound = toy(rig, udp=False)
        assert outbound.open_udp(Sink()) is None
        outbound.refuse_udp(("192.0.2.1", 1), ("192.0.2.2", 2), 10)
        assert rig.tracker.errors == {"udp-disabled": 1}
