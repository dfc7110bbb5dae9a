"""What providers bring is built when it is picked first."""

from __future__ import annotations

import socket

import pytest
from support.flows import metadata
from support.loopback import RelayRig, readable
from support.proxies import Sink, accept, built, receive

from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.config.specs.http import HttpProxySpec
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.model.enums import Verdict
from mihomo_tproxy.model.group_state import GroupState
from mihomo_tproxy.outbound import factory
from mihomo_tproxy.outbound.deferred import Deferred
from mihomo_tproxy.outbound.direct import Direct
from mihomo_tproxy.outbound.http import Http
from mihomo_tproxy.outbound.registry import OutboundRegistry
from mihomo_tproxy.outbound.reject import Reject

WEB = HttpProxySpec("web", "http", server="192.0.2.1", port=1)


def one_group(names: tuple[str, ...]) -> tuple[GroupSpec, ...]:
    return (GroupSpec("g", GroupType.SELECT, names),)


@pytest.fixture
def asked(monkeypatch):
    """The names of what was built, in order."""
    names = []
    build = factory._build

    def recorded(spec, env):
        names.append(spec.name)
        return build(spec, env)

    monkeypatch.setattr(factory, "_build", recorded)
    return names


def test_built_once_and_first_when_picked(asked):
    with RelayRig() as rig:
        outbounds = built(rig, provided=(WEB, ProxySpec("plain", "direct")))
        assert asked == []
        web = outbounds["web"].pick(None)
        assert outbounds["web"].pick(metadata()) is web
        assert (type(web), asked) == (Http, ["web"])
        assert not outbounds["web"].udp
        assert outbounds["web"].verdict is Verdict.UNKNOWN
        assert outbounds["plain"].verdict is Verdict.DIRECT
        assert not outbounds["plain"].passes
        assert asked == ["web", "plain"]


def test_what_a_group_chose_is_built_before_the_first_flow(asked):
    with RelayRig() as rig:
        others = tuple(ProxySpec(f"p{number}", "direct") for number in range(100))
        names = tuple(spec.name for spec in others)
        outbounds = built(rig, groups=one_group(names), provided=others)
        assert asked == ["p0"]
        outbounds.regroup(GroupState({}, {}))
        outbounds.regroup(GroupState({"g": "p7"}, {}))
        assert asked == ["p0", "p7"]
        assert type(outbounds["g"].pick(metadata())) is Direct
        asked.clear()
        state = GroupState({"g": "p9"}, {})
        built(rig, groups=one_group(names), provided=others, state=state)
        assert asked == ["p9"]


def test_what_cannot_be_built_rejects(monkeypatch):
    def fail(spec, env):
        raise ValueError("no such cipher")

    monkeypatch.setattr(factory, "_build", fail)
    with RelayRig() as rig:
        broken = built(rig, provided=(WEB,))["web"]
        assert isinstance(broken, Deferred)
        assert type(broken.pick(None)) is Reject
        client, ours = socket.socketpair()
        rig.keep(client)
        broken.open_tcp(ours, metadata())
        assert readable(client)
        assert broken.open_udp(Sink()) is None
        assert rig.tracker.errors == {"outbound-broken": 1}
        assert rig.tracker.traffic("web", "tcp").opened == 1


def test_its_dialer_is_its_own_configurations_though_built_after_the_next():
    with RelayRig() as rig:
        host, port = rig.destination
        server = Socks5Spec("below", "socks5", server=host, port=port)
        above = Socks5Spec("above", "socks5", server="192.0.2.9", port=9, dialer_proxy="g")
        group = GroupSpec("g", GroupType.SELECT, ("DIRECT", "below"))
        outbounds = built(
            rig, groups=(group,), state=GroupState({"g": "below"}, {}), provided=(above, server)
        )
        deferred = outbounds["above"]
        kept = outbounds["g"]
        outbounds = OutboundRegistry()
        client, ours = socket.socketpair()
        rig.keep(client)
        deferred.open_tcp(ours, metadata("192.0.2.7", 80))
        proxy = accept(rig)
        assert receive(rig, proxy, 3) == b"\x05\x01\x00"
        assert kept.pick(None).name == "below"
