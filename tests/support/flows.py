"""Flows and rule lists for the rule tests: few distinct values, so random flows often agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from mihomo_tproxy.matcher.cidr import parse_cidr
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import Metadata, RequestMetadata

if TYPE_CHECKING:
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.context import RuleSetContent

ADDRESSES = (
    "10.0.0.1",
    "10.0.1.1",
    "10.1.0.1",
    "192.0.2.7",
    "255.255.255.255",
    "0.0.0.0",
    "::",
    "2001:db8::1",
    "2001:db8:1::1",
    "fd00::1",
    "ffff::1",
)
HOSTS = ("", "example.com", "www.example.com", "notexample.com", "a.b.example.org", "com", "x..com")
PORTS = (0, 22, 80, 443, 8080, 65535)
CIDRS = (
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.0.0.0/24",
    "10.0.0.1/32",
    "10.1.0.0/16",
    "192.0.2.0/24",
    "::/0",
    "2001:db8::/32",
    "2001:db8::/48",
    "2001:db8::1/128",
    "fd00::/8",
)
TARGETS = ("DIRECT", "REJECT", "REJECT-DROP", "GLOBAL", "out")


def metadata(
    destination: str = "192.0.2.7",
    port: int = 443,
    *,
    host: str = "",
    network: Network = Network.TCP,
    source: str = "10.0.0.1",
    source_port: int = 40000,
) -> Metadata:
    """A flow with defaults for what a test does not care about."""
    inbound = InboundType.TPROXY
    return RequestMetadata(network, inbound, source, source_port, destination, port, host)


def request(
    destination: str = "",
    port: int = 443,
    *,
    host: str = "",
    kind: InboundType = InboundType.SOCKS5,
) -> RequestMetadata:
    """A flow that came in by a listener."""
    return RequestMetadata(Network.TCP, kind, "127.0.0.1", 40000, destination, port, host)


class Lists:
    """A `RuleContext` of a few lists."""

    def __init__(
        self,
        sets: dict[str, RuleSetContent] | None = None,
        lists: dict[str, tuple[Rule, ...]] | None = None,
    ) -> None:
        self._sets = sets or {}
        self._lists = lists or {}

    def geosite(self, code: str) -> DomainSet:
        if code not in ("google", "google@ads"):
            raise ValueError(f"no geosite data for {code!r}")
        return DomainSet(["+.google.example"])

    def geoip(self, code: str) -> CidrSet:
        return CidrSet(parse_cidr("192.0.2.0/24")) if code == "CN" else CidrSet()

    def asn(self, number: int) -> CidrSet:
        return CidrSet(parse_cidr("198.51.100.0/24")) if number == 13335 else CidrSet()

    def rule_set(self, name: str) -> RuleSetContent:
        if name not in self._sets:
            raise ValueError(f"there is no rule provider {name!r}")
        return self._sets[name]

    def sub_rules(self, name: str) -> tuple[Rule, ...]:
        return self._lists[name]


def flows(hosts: tuple[str, ...] = HOSTS, *, named: bool = True) -> st.SearchStrategy[Metadata]:
    """Random flows; `named` also gives some whose address is not known."""
    return st.builds(
        metadata,
        st.sampled_from((*ADDRESSES, "") if named else ADDRESSES),
        st.sampled_from(PORTS),
        host=st.sampled_from(hosts),
        network=st.sampled_from(Network),
        source=st.sampled_from(ADDRESSES),
        source_port=st.sampled_from(PORTS),
    )


_CIDR = st.sampled_from(CIDRS)
_PORTS = st.sampled_from(("22", "80/443", "0-79", "8000-65535", "443-80"))
_HEADS = st.one_of(
    st.tuples(st.sampled_from(("IP-CIDR", "IP-CIDR6")), _CIDR, st.booleans()),
    st.tuples(st.just("SRC-IP-CIDR"), _CIDR),
    st.tuples(st.sampled_from(("DST-PORT", "SRC-PORT")), _PORTS),
    st.tuples(st.just("NETWORK"), st.sampled_from(("tcp", "UDP"))),
    st.tuples(
        st.sampled_from(("DOMAIN", "DOMAIN-SUFFIX")),
        st.sampled_from(("example.com", "com", "b.example.org", ".com")),
    ),
    st.tuples(st.just("DOMAIN-KEYWORD"), st.sampled_from(("exam", "."))),
    st.tuples(st.just("DOMAIN-REGEX"), st.sampled_from(("^www", ".*", "^$", r"exa.ple\.com$"))),
    st.tuples(st.just("DOMAIN-WILDCARD"), st.sampled_from(("*.com", "*", "?*.org", "www.*.com"))),
    st.tuples(
        st.just("AND"),
        st.sampled_from(
            (
                "((NETWORK,tcp),(DOMAIN-SUFFIX,example.com))",
                "((DOMAIN-KEYWORD,exam),(SRC-PORT,1000-65535))",
                "((DOMAIN-SUFFIX,com),(IP-CIDR,10.0.0.0/8))",
            )
        ),
    ),
)


def _line(head: tuple[str, str] | tuple[str, str, bool], target: str) -> str:
    text = f"{head[0]},{head[1]},{target}"
    return f"{text},no-resolve" if len(head) == 3 and head[2] else text


def rule_lines(heads: st.SearchStrategy = _HEADS) -> st.SearchStrategy[list[str]]:
    """Random rule lists, half of which end in MATCH."""
    target = st.sampled_from(TARGETS)
    line = st.builds(_line, heads, target)
    last = st.one_of(st.just([]), target.map(lambda to: [f"MATCH,{to}"]))
    return st.builds(lambda lines, end: lines + end, st.lists(line, max_size=10), last)


def address_rule_lines() -> st.SearchStrategy[list[str]]:
    """Rule lists that begin with address rules, so that much is static."""
    return st.builds(
        lambda some, rest: some + rest,
        st.lists(
            st.builds(lambda c, to: f"IP-CIDR,{c},{to}", _CIDR, st.sampled_from(TARGETS)),
            max_size=8,
        ),
        rule_lines(),
    )
