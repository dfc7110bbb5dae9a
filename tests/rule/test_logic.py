"""AND, OR, NOT, as observed with mihomo 1.19.32."""

from __future__ import annotations

import pytest
from support.flows import Lists, metadata, request

from mihomo_tproxy.errors import NeedsAddress
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import MAX_DEPTH, parse_rule


@pytest.mark.parametrize(
    ("payload", "matches"),
    [
        ("AND,((DOMAIN,a.example),(DST-PORT,443))", [True, False, False]),
        ("AND,((DOMAIN,a.example))", [True, True, False]),
        ("OR,((DOMAIN,a.example),(DST-PORT,443))", [True, True, True]),
        ("NOT,((DOMAIN,a.example))", [False, False, True]),
        ("NOT,((OR,((DOMAIN,a.example),(DOMAIN,c.example))))", [False, False, True]),
        ("and, ( ( network , tcp ) , (NOT,((DST-PORT,443))) ) ", [False, True, False]),
        ("AND,((DOMAIN-REGEX,^(a|b)[.]e{1,2}),(NETWORK,TCP))", [True, True, True]),
    ],
)
def test_match(payload: str, matches: list[bool]) -> None:
    rule = parse_rule(f"{payload},out")
    hosts = (("a.example", 443), ("a.example", 80), ("b.example", 443))
    assert [rule.match(metadata(host=host, port=port)) for host, port in hosts] == matches
    assert rule.targets() == ("out",)


def test_fields_and_resolution_are_those_of_the_conditions() -> None:
    rule = parse_rule("AND,((DST-PORT,443),(NOT,((GEOIP,CN,no-resolve)))),out", Lists())
    assert (rule.fields, rule.resolves) == (fields.DST_PORT | fields.DST_ADDR, False)
    assert parse_rule("OR,((DST-PORT,443),(NOT,((GEOIP,CN)))),out", Lists()).resolves


def test_resolves_when_it_comes_to_that() -> None:
    rule = parse_rule("AND,((DST-PORT,443),(IP-CIDR,10.0.0.0/8)),out")
    assert not rule.match(request(host="a.example", port=80))
    with pytest.raises(NeedsAddress):
        rule.match(request(host="a.example"))
    rule = parse_rule("OR,((DST-PORT,443),(IP-CIDR,10.0.0.0/8)),out")
    assert rule.match(request(host="a.example"))


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("AND,NETWORK,tcp", "not a list of conditions"),
        ("AND,(NETWORK,tcp)", "not a list of conditions"),
        ("AND,()", "not a list of conditions"),
        ("AND,(())", "unknown rule kind ''"),
        ("AND,((NETWORK,tcp),())", "unknown rule kind ''"),
        ("AND,((NETWORK,tcp)x(DST-PORT,80))", "not a list of conditions"),
        ("AND,((NETWORK,tcp),(DST-PORT,80)", "a ')' is missing"),
        ("AND,((NETWORK,tcp),(DST-PORT,80)))", "a '(' is missing"),
        ("AND,((NETWORK,tcp),(MATCH))", "MATCH cannot stand inside another rule"),
        ("AND,((SUB-RULE,(NETWORK,tcp),x))", "SUB-RULE cannot stand inside another rule"),
        ("AND,((NETWORK,tcp),(FOO,x))", "unknown rule kind 'FOO'"),
        ("AND,((DOMAIN))", "incomplete rule 'DOMAIN': it is written DOMAIN,payload"),
        ("AND,((DOMAIN,a,b))", "unknown option 'b'"),
        ("AND,((DST-PORT,80,src))", "option 'src' has no meaning for DST-PORT"),
        ("NOT,((NETWORK,tcp),(DST-PORT,80))", "NOT has one condition, found 2"),
        ("AND," + "((AND," * 40 + "((NETWORK,tcp))" + "))" * 40, f"more than {MAX_DEPTH} rules"),
    ],
)
def test_refused(payload: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_rule(f"{payload},out")
    assert says in str(caught.value)
