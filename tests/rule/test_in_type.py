"""IN-TYPE rules; the words are those that mihomo 1.19.32 was observed to take."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType
from mihomo_tproxy.rule.in_type import OTHER_WORDS, WORDS
from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("payload", "types"),
    [
        ("SOCKS", {"Socks4", "Socks5"}),
        ("socks5", {"Socks5"}),
        ("HTTP / HTTPS", {"HTTP", "HTTPS"}),
        ("TPROXY/REDIR", {"TProxy", "Redir"}),
        ("VMESS", set()),
        ("VMESS/SOCKS4", {"Socks4"}),
    ],
)
def test_match(payload: str, types: set[str]) -> None:
    rule = parse_rule(f"IN-TYPE,{payload},out")
    assert rule.fields == fields.INBOUND
    assert {kind for kind in InboundType if rule.match(request(kind=kind))} == types


def test_what_is_steered() -> None:
    assert parse_rule("IN-TYPE,TPROXY,out").match(metadata())


def test_every_inbound_has_a_word() -> None:
    assert frozenset().union(*WORDS.values()) == frozenset(InboundType)
    assert not WORDS.keys() & OTHER_WORDS


@pytest.mark.parametrize("payload", ["MIXED", "HTTP//SOCKS", "/", "HYSTERIA"])
def test_refused(payload: str) -> None:
    with pytest.raises(ValueError, match="inbound type"):
        parse_rule(f"IN-TYPE,{payload},out")
