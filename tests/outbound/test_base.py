"""Every outbound has the whole interface, with the parameters the tunnel passes."""

from __future__ import annotations

import inspect

import pytest
from support.flows import metadata

from mihomo_tproxy.outbound.base import Leaf, Outbound
from mihomo_tproxy.outbound.direct import Direct
from mihomo_tproxy.outbound.proxy import ProxyOutbound
from mihomo_tproxy.outbound.reject import Pass, Reject, RejectDrop


@pytest.mark.parametrize("kind", [Direct, Pass, ProxyOutbound, Reject, RejectDrop])
@pytest.mark.parametrize("method", ["open_tcp", "open_udp", "pick", "refuse_udp", "route"])
def test_signatures_agree(kind, method):
    expected = inspect.signature(getattr(Outbound, method)).parameters
    assert list(inspect.signature(getattr(kind, method)).parameters) == list(expected)


def test_a_leaf_picks_itself():
    leaf = Leaf()
    assert leaf.pick(None) is leaf
    assert leaf.pick(metadata()) is leaf
    assert not leaf.passes
