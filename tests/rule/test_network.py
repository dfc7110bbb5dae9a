"""NETWORK rules."""

from __future__ import annotations

import pytest
from support.flows import metadata

from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize("payload", ["tcp", "TCP", "Tcp"])
def test_match(payload: str) -> None:
    rule = parse_rule(f"NETWORK,{payload},out")
    assert rule.match(metadata(network=Network.TCP))
    assert not rule.match(metadata(network=Network.UDP))
