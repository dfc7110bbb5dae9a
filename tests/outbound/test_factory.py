"""Outbounds from specs."""

from __future__ import annotations

import pytest
from support.loopback import RelayRig

from mihomo_tproxy.config.proxies import TYPES
from mihomo_tproxy.config.specs.base import ProxySpec
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
        "GLOBAL": Verdict.DIRECT,
        "REJECT": Verdict.UNKNOWN,
        "REJECT-DROP": Verdict.DROP,
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
