"""The README's YAML is what it says it is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.schema import Gateway

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
(RULES,) = (block for block in BLOCKS if "sub-rules:" in block)
START, DEFAULTS = (block for block in BLOCKS if "gateway:" in block)


def test_the_first_configuration_is_valid_and_free_of_warnings():
    config = parse(START)
    assert config.warnings == ()
    assert len(config.rules) == 5
    assert [proxy.type for proxy in config.proxies] == ["trojan"]


def test_the_rules_are_valid(tmp_path):
    config = parse(RULES, str(tmp_path))
    assert [group.name for group in config.groups] == ["Proxy", "Auto", "Spread", "GLOBAL"]
    missing = ("not downloaded yet", "geosite", "GeoSite", "geoip", "mmdb")
    assert all(any(word in each for word in missing) for each in config.warnings)


def test_the_gateway_block_shows_the_defaults():
    config = parse(DEFAULTS)
    assert config.gateway == Gateway()
    assert config.warnings == ()


@pytest.mark.parametrize("field", dataclasses.fields(Gateway), ids=lambda field: field.name)
def test_the_gateway_block_shows_every_key(field):
    assert re.search(rf"^  {field.name.replace('_', '-')}:", DEFAULTS, re.MULTILINE)
