"""Outbounds are found by the name a rule gives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mihomo_tproxy.outbound.registry import OutboundRegistry


def test_by_name():
    direct = SimpleNamespace(name="DIRECT")
    registry = OutboundRegistry([direct])
    assert registry.get("DIRECT") is direct
    assert registry.get("REJECT") is None


def test_a_name_is_taken_once():
    registry = OutboundRegistry([SimpleNamespace(name="DIRECT")])
    with pytest.raises(ValueError, match="DIRECT"):
        registry.add(SimpleNamespace(name="DIRECT"))
