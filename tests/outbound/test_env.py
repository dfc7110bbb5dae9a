"""What outbounds get from their environment, and that it does not keep them alive."""

from __future__ import annotations

import gc
import socket
import weakref

import pytest
from support.loopback import RelayRig
from support.proxies import built

from mihomo_tproxy.config.specs.base import ProxySpec, ServerSpec
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.registry import OutboundRegistry


@pytest.fixture
def marks(monkeypatch):
    """Marks are written down instead of set."""
    seen = []

    class Recorded(socket.SocketType):
        def setsockopt(self, level, option, value):
            if option in (socket.SO_MARK, socket.SO_BINDTODEVICE):
                seen.append(value)

    monkeypatch.setattr("mihomo_tproxy.net.dial.SocketType", Recorded)
    return seen


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, [7, b"wan0\0"]), ({"routing_mark": 8, "interface_name": "wan1"}, [8, b"wan1\0"])],
)
def test_what_an_entry_does_not_say_the_file_does(marks, own, expected):
    with RelayRig() as rig:
        env = OutboundEnv(rig.context, rig.resolver, None, "wan0", 7)
        env.dialer(ProxySpec("x", "direct", **own)).packet_socket(socket.AF_INET).close()
        assert marks == expected


def test_own_connections_leave_from_here_with_the_entrys_options(marks):
    with RelayRig() as rig:
        env = OutboundEnv(rig.context, rig.resolver, None)
        underlay = env.underlay(ServerSpec("x", "toy", routing_mark=9))
        assert underlay() is underlay()
        underlay().dialer.packet_socket(socket.AF_INET).close()
        assert marks == [9]


def test_a_chain_is_found_whichever_of_the_two_is_built_first():
    with RelayRig() as rig:
        env = OutboundEnv(rig.context, rig.resolver, None)
        before = env.underlay(ServerSpec("x", "toy", dialer_proxy="DIRECT"))
        with pytest.raises(LocalProtocolError) as early:
            before()
        env.outbounds = rig.outbounds
        after = env.underlay(ServerSpec("y", "toy", dialer_proxy="DIRECT"))
        assert before() is after() is rig.outbounds["DIRECT"]
        assert early.value.cause == "no-dialer-proxy"
        env.outbounds = OutboundRegistry()
        assert before() is rig.outbounds["DIRECT"]  # its own configuration's


def test_a_configuration_that_was_replaced_is_freed_by_reference_counts():
    specs = (
        Socks5Spec("outer", "socks5", server="192.0.2.1", port=1),
        Socks5Spec("inner", "socks5", server="192.0.2.2", port=2, dialer_proxy="outer"),
        Socks5Spec("first", "socks5", server="192.0.2.3", port=3, dialer_proxy="later"),
        Socks5Spec("later", "socks5", server="192.0.2.4", port=4),
    )
    with RelayRig() as rig:
        gc.collect()
        gc.disable()
        try:
            registry = built(rig, *specs)
            refs = [weakref.ref(outbound) for outbound in registry.values()]
            link = registry["inner"].open_udp(None)
            del registry
            alive = [ref().name for ref in refs if ref() is not None]
            assert alive == ["outer", "inner"]  # a link of an association that lives on
            link.close()
            del link
            assert [ref for ref in refs if ref() is not None] == []
        finally:
            gc.enable()
