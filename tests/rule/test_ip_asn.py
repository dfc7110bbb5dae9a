"""IP-ASN rules."""

from __future__ import annotations

import pytest
from support.flows import Lists, metadata

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule


def test_destination() -> None:
    rule = parse_rule("IP-ASN,13335,out,no-resolve", Lists())
    assert (rule.fields, rule.resolves) == (fields.DST_ADDR, False)
    assert rule.match(metadata("198.51.100.1"))
    assert not rule.match(metadata("198.51.101.1"))


@pytest.mark.parametrize("line", ["SRC-IP-ASN,13335,out", "IP-ASN,13335,out,src"])
def test_source(line: str) -> None:
    rule = parse_rule(line, Lists())
    assert rule.fields == fields.SRC_ADDR
    assert rule.match(metadata("10.0.0.1", source="198.51.100.1"))


@pytest.mark.parametrize("payload", ["AS13335", "013335", "x", "4294967296", "9" * 5000])
def test_refused(payload: str) -> None:
    """mihomo 1.19.32 reads these and then matches nothing."""
    with pytest.raises(ValueError, match="not the number of an autonomous system"):
        parse_rule(f"IP-ASN,{payload},out", Lists())
