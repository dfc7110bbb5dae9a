"""Every outbound has the whole interface, with the parameters the tunnel passes."""

from __future__ import annotations

import inspect

import pytest

from mihomo_tproxy.outbound.base import Outbound
from mihomo_tproxy.outbound.direct import Direct
from mihomo_tproxy.outbound.reject import Reject, RejectDrop


@pytest.mark.parametrize("kind", [Direct, Reject, RejectDrop])
@pytest.mark.parametrize("method", ["open_tcp", "open_udp", "refuse_udp"])
def test_signatures_agree(kind, method):
    expected = inspect.signature(getattr(Outbound, method)).parameters
    assert list(inspect.signature(getattr(kind, method)).parameters) == list(expected)
