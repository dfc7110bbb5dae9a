"""Outbounds from specs."""

from __future__ import annotations

import pytest
from support.loopback import RelayRig

from mihomo_tproxy.config.proxies import TYPES
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.http import HttpProxySpec
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.model.enums import Verdict
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.factory import build_outbounds
from mihomo_tproxy.outbound.modules import module_of


def verdicts(specs, **defaults):
    with RelayRig() as rig:
        env = OutboundEnv(rig.context, rig.resolver, None, **defaults)
        built = build_outbounds(specs, env)
        assert env.outbounds is built
        return {name: outbound.verdict for name, outbound in built.items()}


def test_what_is_always_there():
    assert verdicts([]) == {
        "DIRECT": Verdict.DIRECT,
        "COMPATIBLE": Verdict.DIRECT,
        "REJECT": Verdict.UNKNOWN,
        "REJECT-DROP": Verdict.DROP,
        "PASS": Verdict.UNKNOWN,
        "PASS-RULE": Verdict.UNKNOWN,
    }


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, Verdict.DIRECT),
        ({"routing_mark": 5}, Verdict.UNKNOWN),
        ({"interface_name": "wan0"}, Verdict.UNKNOWN),
        ({"ip_version": "ipv4"}, Verdict.UNKNOWN),
        ({"ip_version": "ipv4-prefer"}, Verdict.DIRECT),
        ({"udp": False}, Verdict.UNKNOWN),
    ],
)
def test_what_the_kernel_may_do_itself(options, verdict):
    assert verdicts([ProxySpec("x", "direct", **options)])["x"] is verdict


def test_a_mark_of_the_whole_file_is_the_kernels_too_an_interface_is_not():
    assert verdicts([], routing_mark=7)["DIRECT"] is Verdict.DIRECT
    assert verdicts([], interface_name="wan0")["DIRECT"] is Verdict.UNKNOWN


def test_every_type_of_the_file_can_be_built():
    from importlib import import_module

    for kind in TYPES:
        if module_of(kind):
            assert callable(import_module(module_of(kind)).build)


def test_who_takes_datagrams_and_who_passes():
    with RelayRig() as rig:
        built = build_outbounds(
            [
                ProxySpec("off", "direct", udp=False),
                HttpProxySpec("web", "http", server="192.0.2.1", port=1, udp=True),
                Socks5Spec("socks", "socks5", server="192.0.2.1", port=1, udp=True),
            ],
            OutboundEnv(rig.context, rig.resolver, None),
        )
        assert [name for name in built if not built[name].udp] == ["off", "web"]
        assert [name for name in built if built[name].passes] == ["PASS", "PASS-RULE"]
