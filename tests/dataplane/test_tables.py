"""The prefix table: never-steered ranges win over static verdicts."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config
from mihomo_tproxy.dataplane import abi
from mihomo_tproxy.dataplane.plan import Host, Link
from mihomo_tproxy.dataplane.tables import open_map, prefix_table
from mihomo_tproxy.errors import DataplaneError
from mihomo_tproxy.model.address import address_key
from mihomo_tproxy.model.enums import Verdict

LAN = Link(3, "lan0", True, False, 0, 0, "")
GENERATION = 7


def key(address, length):
    return abi.prefix_key(address_key(address), length)


def table(text, on_link=()):
    host = Host((LAN,), frozenset(), on_link, frozenset(), (), frozenset(), frozenset())
    return prefix_table(compile_config(parse(text)).plan, host, [LAN], GENERATION)


def value(verdict, generation):
    return abi.PREFIX_VERDICT.pack(generation, verdict)


def test_static_verdicts_carry_the_generation():
    made = table("rules: ['IP-CIDR,1.2.3.0/24,REJECT-DROP', 'DST-PORT,1,REJECT']")
    assert made == {key("1.2.3.0", 120): value(Verdict.DROP, GENERATION)}


def test_the_bypass_list_is_of_every_generation():
    made = table("rules: ['DST-PORT,1,REJECT']\ngateway: {bypass: [1.2.0.0/16]}")
    assert made == {key("1.2.0.0", 112): value(Verdict.DIRECT, 0)}


def test_a_rule_within_the_bypass_list_is_left_out():
    made = table(
        "rules: ['IP-CIDR,1.2.3.0/24,REJECT-DROP', 'DST-PORT,1,REJECT']\n"
        "gateway: {bypass: [1.2.0.0/16]}"
    )
    assert list(made) == [key("1.2.0.0", 112)]


def test_the_ranges_of_steered_interfaces_alone_are_never_steered():
    near, far = (3, address_key("9.9.9.0"), 120), (4, address_key("8.8.8.0"), 120)
    made = table("rules: ['DST-PORT,1,REJECT']", (near, far))
    assert made == {key("9.9.9.0", 120): value(Verdict.DIRECT, 0)}


def test_a_map_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataplaneError, match=r"cannot open the map .*/totals"):
        open_map(str(tmp_path), "totals")
