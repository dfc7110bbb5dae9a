"""Rules that are written oddly, or whose meaning is not the obvious one, and flows to tell.

Each entry is a rule, or several, and the hosts or flows that meet them or, as mihomo reads them, do
not. The ports of the flows keep the entries apart: each is a SUB-RULE for a port of its own.
"""

from __future__ import annotations

from typing import Any, Final

from support.differential.flow import Flow
from support.differential.programs import listeners
from support.differential.random_rules import is_address
from support.differential.world import GROUPS

NAMES: Final = {
    "a.test": ["198.51.100.10"],
    "b.test": ["198.51.100.20"],
    "both.test": ["198.51.100.30", "2001:db8:51::30"],
    "six.test": ["2001:db8:51::6"],
    "lan.test": ["192.168.5.5"],
    "google.test": ["8.8.8.8"],
}
HOSTS: Final = {"fixed.test": "198.51.100.10", "alias.test": "a.test", "twice.test": "fixed.test"}
_ODD_PORTS: Final = (10, 11, 20, 21, 22, 28, 29, 30, 31)
FIRST_PORT: Final = 1000
ENTRIES: Final[list[tuple[list[str], str]]] = [
    (["DOMAIN-SUFFIX,.lead.test,P0"], "lead.test x.lead.test"),
    (
        ["DOMAIN,+.plus.test,P0", "DOMAIN-SUFFIX,*.star.test,P1"],
        "plus.test x.plus.test a.star.test",
    ),
    (["DOMAIN,Upper.Test,P0", "DOMAIN-KEYWORD,UPP,P1"], "upper.test x.upper.test upper.test."),
    (["DOMAIN-REGEX,foo[0-9]{2,3}$,P0"], "foo12 xfoo123 foo1 foo12.test"),
    (["DOMAIN-REGEX,^RX.*\\.test$,P0"], "rx1.test xrx.test"),
    (["DOMAIN-WILDCARD,a?.test,P0"], "a.test ab.test abc.test a..test"),
    (["DOMAIN-SUFFIX,198.51.100.9,P0", "DOMAIN,198.51.100.8,P1"], "198.51.100.9 198.51.100.8"),
    (["DOMAIN-KEYWORD,198.51,P0"], "198.51.100.9 198.51.100.9.test"),
    (["GEOSITE,!cn,P0"], "www.baidu.com www.google.com 8.8.8.8"),
    (["GEOSITE,google@!cn,P0"], "www.google.com google.cn"),
    (["GEOSITE,GOOGLE@CN,P0"], "www.google.com google.cn"),
    (["GEOIP,lan,P0", "GEOIP,PRIVATE,P1"], "lan.test 100.64.0.1 169.254.9.9 fd00::1 198.18.0.9"),
    (["GEOIP,!CN,P0"], "8.8.8.8 114.114.114.114"),
    (["IP-CIDR,198.51.100.77/24,P0"], "a.test 198.51.101.1 ::ffff:198.51.100.1"),
    (["IP-CIDR6,198.51.100.0/28,P0", "IP-CIDR,2001:db8:51::/64,P1"], "a.test six.test both.test"),
    (["IP-CIDR,0.0.0.0/0,P0"], "six.test 1.2.3.4 2001:db8::1 nowhere.test"),
    (["IP-CIDR,198.51.100.20/32,P0", "IP-CIDR,198.51.100.10/32,P1,no-resolve"], "a.test b.test"),
    (["IP-CIDR,198.51.100.10/32,P1,no-resolve", "IP-CIDR,198.51.100.20/32,P0"], "a.test b.test"),
    (["IP-CIDR,198.51.100.10/32,P0,no-resolve"], "fixed.test alias.test twice.test a.test"),
    (["DOMAIN,alias.test,P0", "DOMAIN,twice.test,P1", "DOMAIN,a.test,P2"], "alias.test twice.test"),
    (["IP-SUFFIX,0.0.0.10/8,P0", "IP-SUFFIX,::6/16,P1"], "a.test six.test 1.2.3.10 2001:db8::a"),
    (["IP-ASN,15169,P0"], "google.test 10.0.0.1 8.8.4.4"),
    (["NOT,((IP-CIDR,198.51.100.20/32)),P0"], "a.test b.test nowhere.test"),
    (["NOT,((IP-CIDR,198.51.100.20/32,no-resolve)),P0"], "b.test 198.51.100.20 nowhere.test"),
    (["OR,((IP-CIDR,198.51.100.20/32,no-resolve),(IP-CIDR,198.51.100.10/32)),P0"], "a.test b.test"),
    (["AND,((NOT,((NOT,((DOMAIN,a.test))))),(NETWORK,TCP)),P0"], "a.test b.test"),
    (["OR,((DOMAIN,a.test)),P0", "AND,((DOMAIN,b.test)),P1"], "a.test b.test"),
    (["AND,( (DOMAIN,a.test) , (NETWORK,tcp) ),P0"], "a.test b.test"),
    (["AND,((DOMAIN-REGEX,^(a|b)\\.test$),(NETWORK,tcp)),P0"], "a.test b.test"),
    (["RULE-SET,odd-domains,P0"], "UP.test mid.x.test mid.x.y.test deep.q.test z.deep.q.test"),
    (["RULE-SET,odd-domains,P0"], "dot.test a.dot.test b.a.dot.test one.test a.one.test"),
    (["RULE-SET,odd-addresses,P0"], "1.2.3.4 1.2.4.5 a.test six.test"),
    (["RULE-SET,odd-lines,P0,no-resolve", "RULE-SET,odd-lines,P1"], "a.test b.test k.test"),
    (["RULE-SET,odd-lines,P1"], "198.51.100.10 198.51.100.20 www.k.test"),
    (["MATCH,P3", "MATCH,P4"], "a.test 1.2.3.4"),
    (["NETWORK,Tcp,P0,", "DOMAIN,a.test,P1,no-resolve"], "a.test"),
    (["DOMAIN,a.test,PASS", "DOMAIN,a.test,passing", "DOMAIN,a.test,P5"], "a.test"),
]
PROVIDERS: Final[dict[str, Any]] = {
    "odd-domains": {
        "type": "inline",
        "behavior": "domain",
        "payload": ["UP.test", "mid.*.test", "+.deep.*.test", ".dot.test", "*.one.test"],
    },
    "odd-addresses": {
        "type": "inline",
        "behavior": "ipcidr",
        "payload": ["1.2.3.4", "1.2.4.5/24", "2001:db8:51::/64", "198.51.100.10/32"],
    },
    "odd-lines": {
        "type": "inline",
        "behavior": "classical",
        "payload": [
            "PROCESS-NAME,foo",
            "IP-CIDR,198.51.100.20/32",
            "IP-CIDR,198.51.100.10/32,no-resolve",
            "AND,((DOMAIN-SUFFIX,k.test),(NETWORK,tcp))",
        ],
    },
}


class OddFile:
    """As `RuleFile`, but written by hand."""

    names = NAMES
    hosts = HOSTS

    def __init__(self) -> None:
        self.rules = ["DST-PORT,30-29,P0", "DST-PORT,20 / 21,P1", "DST-PORT,0-10,P2"]
        self.sub_rules: dict[str, list[str]] = {}
        self.flows = [_flow(number, "1.2.3.4", port) for number, port in enumerate(_ODD_PORTS)]
        for number, (rules, hosts) in enumerate(ENTRIES):
            port = FIRST_PORT + number
            self.sub_rules[f"odd{number}"] = rules
            self.rules.append(f"SUB-RULE,(DST-PORT,{port}),odd{number}")
            for host in hosts.split():
                self.flows.append(_flow(len(self.flows), host, port))
        self.rules += ["MATCH,REJECT"]

    def sections(self) -> dict[str, Any]:
        """The sections of the configuration, but for `proxies`."""
        return {
            "hosts": self.hosts,
            "listeners": listeners(),
            "proxy-groups": GROUPS,
            "rule-providers": PROVIDERS,
            "sub-rules": self.sub_rules,
            "rules": self.rules,
        }


def _flow(number: int, host: str, port: int) -> Flow:
    known = is_address(host) or host in NAMES
    network = "udp" if number % 4 == 0 and known else "tcp"
    return Flow(network, "mixed", 0, 4, 31_000 + number, host, port)
