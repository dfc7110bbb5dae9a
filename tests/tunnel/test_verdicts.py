"""A relay without a kernel side learns nothing, quietly."""

from __future__ import annotations

from mihomo_tproxy.model.enums import InboundType, Network, Verdict
from mihomo_tproxy.model.metadata import Metadata
from mihomo_tproxy.tunnel.verdicts import NullVerdictMap


def test_nothing_is_cached():
    metadata = Metadata(Network.TCP, InboundType.TPROXY, "10.0.0.2", 1, "192.0.2.1", 2)
    assert NullVerdictMap().learn(metadata, 0, Verdict.DIRECT) is False
