"""Rule lines, the user's and a provider's, and the patterns of domain lists."""

from __future__ import annotations

from contextlib import suppress

from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import Metadata
from mihomo_tproxy.rule.registry import KNOWN, parse_condition, parse_rule

FLOW = Metadata(Network.TCP, InboundType.TPROXY, "10.0.0.1", 1, "192.0.2.1", 443, "www.example.com")


def target(data: bytes) -> None:
    """A line is a rule that can be asked, or a ValueError."""
    text = data[1:].decode("utf-8", "replace")
    kind = sorted(KNOWN)[data[0] % len(KNOWN)] if data else ""
    for line in (text, f"{kind},{text}"):
        with suppress(ValueError):
            assert parse_rule(line).decide(FLOW) is not None
        with suppress(ValueError):
            assert parse_condition(line, "out").match(FLOW) in (True, False)
    with suppress(ValueError):
        assert FLOW.host in DomainSet([text, FLOW.host])
