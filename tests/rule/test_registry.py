"""Reading one rule line: mihomo's notation, and what is said about a line that is none."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import (
    KINDS,
    KNOWN,
    LISTED,
    LOGIC,
    OTHER_KINDS,
    parse_condition,
    parse_rule,
)


@pytest.mark.parametrize(
    ("line", "kind", "payload", "target", "looks_at"),
    [
        ("MATCH,DIRECT", "MATCH", "", "DIRECT", 0),
        (" match , out ", "MATCH", "", "out", 0),
        ("IP-CIDR,10.0.0.0/8,out", "IP-CIDR", "10.0.0.0/8", "out", fields.DST_ADDR),
        ("ip-cidr6, fd00::/8 , out", "IP-CIDR6", "fd00::/8", "out", fields.DST_ADDR),
        ("IP-CIDR,fd00::/8,out,no-resolve", "IP-CIDR", "fd00::/8", "out", fields.DST_ADDR),
        ("IP-CIDR,10.0.0.0/8,out,src", "IP-CIDR", "10.0.0.0/8", "out", fields.SRC_ADDR),
        ("IP-CIDR,10.0.0.0/8,out,no-resolve,src", "IP-CIDR", "10.0.0.0/8", "out", fields.SRC_ADDR),
        ("SRC-IP-CIDR,10.0.0.0/8,out", "SRC-IP-CIDR", "10.0.0.0/8", "out", fields.SRC_ADDR),
        ("IP-CIDR,10.0.0.0/8,out,", "IP-CIDR", "10.0.0.0/8", "out", fields.DST_ADDR),
        ("DST-PORT,80/443,out", "DST-PORT", "80/443", "out", fields.DST_PORT),
        ("SRC-PORT,80,out", "SRC-PORT", "80", "out", fields.SRC_PORT),
        ("NETWORK,UDP,out", "NETWORK", "UDP", "out", fields.NETWORK),
        ("DOMAIN,a.example,out", "DOMAIN", "a.example", "out", fields.DOMAIN),
        ("DOMAIN-REGEX,^a{1,3}$,out", "DOMAIN-REGEX", "^a{1,3}$", "out", fields.DOMAIN),
    ],
)
def test_reads(line: str, kind: str, payload: str, target: str, looks_at: int) -> None:
    rule = parse_rule(line)
    assert (rule.kind, rule.payload, rule.target, rule.fields) == (kind, payload, target, looks_at)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "unknown rule kind ''"),
        ("MATCH", "incomplete rule 'MATCH': it is written MATCH,target"),
        ("DOMAIN,a.example", "incomplete rule 'DOMAIN,a.example'"),
        ("DOMAIN,,DIRECT", "it is written DOMAIN,payload,target"),
        ("DOMAIN,a,", "incomplete rule"),
        ("DOMAIN-REGEX,DIRECT", "incomplete rule"),
        ("GEOIP,CN,DIRECT", "no geoip data for 'CN'"),
        ("rule-set,x,DIRECT", "there is no rule provider 'x'"),
        ("rematch-name,x,DIRECT", "rule kind 'REMATCH-NAME' is not supported by this version"),
        ("FINAL,DIRECT", "did you mean 'MATCH'?"),
        ("DOMAIN-SUFIX,x,DIRECT", "did you mean 'DOMAIN-SUFFIX'?"),
        ("IP-CIDR,1.1.1.1,DIRECT", "needs its length"),
        ("IP-CIDR,1.1.1.1/33,DIRECT", "0 to 32"),
        ("IP-CIDR,1.1.1.1/8,DIRECT,no-resolv", "unknown option 'no-resolv'"),
        ("DST-PORT,80,DIRECT,src", "option 'src' has no meaning for DST-PORT"),
        ("DST-PORT,http,DIRECT", "not a port or range: 'http'"),
        ("DST-PORT,70000,DIRECT", "not a port or range: '70000'"),
        ("NETWORK,icmp,DIRECT", "only tcp and udp"),
        ("DOMAIN-REGEX,(,DIRECT", "bad expression"),
    ],
)
def test_refuses(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_rule(line)
    assert says in str(caught.value)


def test_a_kind_is_either_built_or_refused_by_name() -> None:
    assert not KNOWN & OTHER_KINDS
    assert len(KNOWN) == len(KINDS) + len(LISTED) + len(LOGIC) + 2


def test_prints_as_written() -> None:
    assert repr(parse_rule("dst-port, 80 ,out")) == "DST-PORT,80,out"
    assert repr(parse_rule("MATCH,out")) == "MATCH,out"


TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
PARTS = st.lists(
    st.one_of(TEXT, st.sampled_from(["(", ")", "((", "))", "src", "no-resolve", "80", "::1/8"])),
    max_size=8,
)


@given(st.one_of(st.sampled_from(sorted(KNOWN)), TEXT), PARTS)
def test_any_text_is_a_rule_or_a_value_error(kind: str, parts: list[str]) -> None:
    line = ",".join([kind, *parts])
    with suppress(ValueError):
        assert parse_rule(line).kind in KNOWN
    with suppress(ValueError):
        assert parse_condition(line, "out").target == "out"


def test_targets_options_and_kinds_are_shared() -> None:
    first, second = (parse_rule(f"IP-CIDR,10.0.0.{n}/32,ta{'rget'},no-resolve") for n in (1, 2))
    assert first.target is second.target
    assert first.kind is second.kind
