"""What follows from a host and a configuration: marks, tables, LAN interfaces."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config
from mihomo_tproxy.dataplane import abi, plan
from mihomo_tproxy.dataplane.plan import (
    FULL_MASK,
    MARKS,
    OWN_MARK,
    PRIORITY,
    PROTOCOL,
    TABLES,
    Link,
    Rule,
    by_length,
    check_patterns,
    choose_marking,
    covered,
    select_lan,
)
from mihomo_tproxy.errors import DataplaneError
from mihomo_tproxy.model.address import address_key


def rule(mark=0, mask=0, table=254, priority=32766, protocol=0):
    return Rule(2, priority, mark, mask, table, protocol, "")


def link(index, name, *, up=True, master=0, lower=0, kind=""):
    return Link(index, name, up, name == "lo", master, lower, kind)


LO, WAN, LAN = link(1, "lo"), link(2, "wan0"), link(3, "lan0")
BRIDGE, PORT = link(4, "br-lan", kind="bridge"), link(5, "lan1", master=4)
VLAN, DOWN = link(6, "lan0.10", lower=3, kind="vlan"), link(7, "lan9", up=False)
LINKS = (LO, WAN, LAN, BRIDGE, PORT, VLAN, DOWN)


def names(patterns=(), default=frozenset({2}), links=LINKS):
    return [each.name for each in select_lan(links, default, patterns)]


def test_a_bare_host_gets_the_first_of_everything():
    marking = choose_marking([], [])
    assert (marking.mark, marking.table, marking.priority) == (MARKS[0], TABLES[0], PRIORITY)


def test_marks_of_others_are_kept_clear_of():
    assert choose_marking([rule(mark=0, mask=MARKS[0])], []).mark == MARKS[1]
    assert choose_marking([rule(mark=MARKS[0], mask=FULL_MASK)], []).mark == MARKS[1]
    # A whole value that is not our bit alone does not match a packet with our bit alone.
    assert choose_marking([rule(mark=0xCAFE, mask=FULL_MASK)], []).mark == MARKS[0]


def test_marks_of_our_own_sockets_are_kept_clear_of():
    assert choose_marking([], [], MARKS[0] | MARKS[2] | 0x77).mark == MARKS[1]


def test_our_own_rules_of_an_earlier_life_do_not_count():
    ours = rule(MARKS[0], MARKS[0], TABLES[0], PRIORITY, PROTOCOL)
    assert choose_marking([ours], []) == choose_marking([], [])


@pytest.mark.parametrize("taken", [TABLES[0], TABLES[0] + 1])
def test_tables_come_in_free_pairs(taken):
    assert choose_marking([], [taken]).table == TABLES[1]
    assert choose_marking([rule(table=taken)], []).table == TABLES[1]


def test_our_rules_come_before_those_of_others():
    assert choose_marking([rule(priority=50)], []).priority == 49


@pytest.mark.parametrize(
    ("rules", "tables", "text"),
    [
        ([rule(mark=1, mask=0x7FFFFFFF)], [], "no mark bit is free"),
        ([], list(range(2330, 2402)), "no routing table is free"),
        ([rule(priority=1)], [], "priority 1"),
    ],
)
def test_a_full_host_is_refused(rules, tables, text):
    with pytest.raises(DataplaneError, match=text):
        choose_marking(rules, tables)


def test_by_default_everything_that_looks_like_a_lan():
    assert names() == ["lan0", "br-lan", "lan0.10"]


def test_a_named_interface_brings_its_vlans():
    assert names(("lan0",)) == ["lan0", "lan0.10"]


def test_a_vlan_that_is_the_way_out_is_not_a_lan():
    assert names(("lan0",), frozenset({6})) == ["lan0"]


def test_a_port_stands_for_its_bridge():
    assert names(("lan1",)) == ["br-lan"]


def test_globs_never_take_loopback():
    assert names(("l*",)) == ["lan0", "br-lan", "lan0.10", "lan9"]


def test_a_plain_name_must_exist():
    check_patterns(LINKS, ("lan0", "ppp*"))
    with pytest.raises(DataplaneError, match=r"no interface 'ppp0' \(there are: wan0, lan0,"):
        check_patterns(LINKS, ("ppp0",))
    with pytest.raises(DataplaneError, match=r"there are: none"):
        check_patterns((LO,), ("ppp0",))


@pytest.mark.parametrize(
    ("inner", "inside"),
    [("10.1.0.0", True), ("10.255.0.0", True), ("11.0.0.0", False), ("fd00::", False)],
)
def test_covered(inner, inside):
    assert covered(address_key(inner), 112, by_length([(address_key("10.0.0.0"), 104)])) is inside


def test_everything_is_covered_by_everything_and_not_the_other_way():
    assert covered(address_key("10.0.0.0"), 104, by_length([(0, 0)]))
    assert not covered(0, 0, by_length([(address_key("10.0.0.0"), 104)]))


@pytest.mark.parametrize(
    ("text", "flag", "value"),
    [
        ("gateway: {on-failure: closed}", abi.FLAG_CLOSED, True),
        ("gateway: {verdict-cache: false}", abi.FLAG_CACHE, False),
        ("gateway: {bypass-private: false}", abi.FLAG_PRIVATE, True),
        ("gateway: {local: true}", abi.FLAG_LOCAL, True),
        ("ipv6: false", abi.FLAG_IPV6, False),
        ("gateway: {clients: {include: [1.2.3.4]}}", abi.FLAG_CLIENTS_ONLY, True),
        ("gateway: {clients: {include: ['02:00:00:00:00:01']}}", abi.FLAG_CLIENTS_ONLY, True),
        ("gateway: {clients: {exclude: [1.2.3.4]}}", abi.FLAG_CLIENTS, True),
        ("gateway: {clients: {exclude: ['02:00:00:00:00:01']}}", abi.FLAG_MACS, True),
    ],
)
def test_flags(text, flag, value):
    default = compile_config(parse("mode: rule")).plan.flags()
    assert bool(default & flag) is not value
    assert bool(compile_config(parse(text)).plan.flags() & flag) is value


def test_excluding_somebody_still_steers_the_others():
    made = compile_config(parse("gateway: {clients: {exclude: [1.2.3.4]}}")).plan
    assert not made.flags() & abi.FLAG_CLIENTS_ONLY
    assert isinstance(made, plan.KernelPlan)


def test_what_the_daemons_own_sockets_carry_is_no_mark_to_steer_by():
    assert choose_marking([], [], MARKS[0] | 1).mark == MARKS[1]
    assert OWN_MARK not in MARKS
