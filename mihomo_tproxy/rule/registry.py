"""Rule kinds by name, and the reading of one line of `rules:`.

    KIND,payload,target[,option...]        MATCH,target        DOMAIN-REGEX,pay,load,target

The notation is mihomo's: the kind in either case, blanks around the commas, and an expression may
contain commas itself. A new kind is one file and one entry in `KINDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.rule.context import NoContext
from mihomo_tproxy.rule.domain import Domain
from mihomo_tproxy.rule.domain_keyword import DomainKeyword
from mihomo_tproxy.rule.domain_regex import DomainRegex
from mihomo_tproxy.rule.domain_suffix import DomainSuffix
from mihomo_tproxy.rule.domain_wildcard import DomainWildcard
from mihomo_tproxy.rule.ip_cidr import IpCidr
from mihomo_tproxy.rule.match import Match
from mihomo_tproxy.rule.network import NetworkType
from mihomo_tproxy.rule.port import Port

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.context import RuleContext

KINDS: Final[dict[str, Callable[[str, str, str, frozenset[str]], Rule]]] = {
    "DOMAIN": Domain,
    "DOMAIN-KEYWORD": DomainKeyword,
    "DOMAIN-REGEX": DomainRegex,
    "DOMAIN-SUFFIX": DomainSuffix,
    "DOMAIN-WILDCARD": DomainWildcard,
    "DST-PORT": Port,
    "IP-CIDR": IpCidr,
    "IP-CIDR6": IpCidr,
    "MATCH": Match,
    "NETWORK": NetworkType,
    "SRC-IP-CIDR": IpCidr,
    "SRC-PORT": Port,
}

OTHER_KINDS: Final = frozenset(
    {
        "AND",
        "DSCP",
        "GEOIP",
        "GEOSITE",
        "IN-NAME",
        "IN-PORT",
        "IN-TYPE",
        "IN-USER",
        "IP-ASN",
        "IP-SUFFIX",
        "NOT",
        "OR",
        "PROCESS-NAME",
        "PROCESS-NAME-REGEX",
        "PROCESS-NAME-WILDCARD",
        "PROCESS-PATH",
        "PROCESS-PATH-REGEX",
        "PROCESS-PATH-WILDCARD",
        "REMATCH-NAME",
        "RULE-SET",
        "SRC-GEOIP",
        "SRC-IP-ASN",
        "SRC-IP-SUFFIX",
        "SUB-RULE",
        "UID",
    }
)
"""mihomo's kinds that cannot be built here."""

_COMMAS_IN_PAYLOAD: Final = frozenset({"DOMAIN-REGEX"})
_SOURCE_OPTION: Final = frozenset({"IP-CIDR", "IP-CIDR6", "SRC-IP-CIDR"})

_NOTHING: Final = NoContext()


def parse_rule(line: str, context: RuleContext = _NOTHING) -> Rule:
    """The rule of one line. Whether its target exists is the caller's business.

    Args:
        context: where lists are found that the rule names.

    Raises:
        ValueError: not a rule, or not one this version knows; the text says why.
    """
    kind_text, *parts = (part.strip() for part in line.split(","))
    kind = kind_text.upper()
    build = KINDS.get(kind)
    if build is None:
        raise ValueError(_unknown(kind_text))
    payload, target, options = _split(kind, parts)
    if not target or not (payload or kind == "MATCH"):
        shape = "MATCH,target" if kind == "MATCH" else f"{kind},payload,target"
        raise ValueError(f"incomplete rule {line!r}: it is written {shape}")
    options = [option for option in options if option]
    for option in options:
        if option not in ("no-resolve", "src"):
            raise ValueError(f"unknown option {option!r}")
        if option == "src" and kind not in _SOURCE_OPTION:
            raise ValueError(f"option 'src' has no meaning for {kind}")
    return build(kind, payload, target, frozenset(options))


def _split(kind: str, parts: list[str]) -> tuple[str, str, list[str]]:
    if kind == "MATCH":
        return "", parts[0] if parts else "", []
    if len(parts) < 2:
        return "", "", []
    if kind in _COMMAS_IN_PAYLOAD:
        return ",".join(parts[:-1]), parts[-1], []
    return parts[0], parts[1], parts[2:]


def _unknown(kind: str) -> str:
    if kind.upper() in OTHER_KINDS:
        return f"rule kind {kind.upper()!r} is not supported by this version"
    # Only on the way to an error.
    from difflib import get_close_matches

    nearest = get_close_matches(kind.upper(), [*KINDS, *sorted(OTHER_KINDS)], 1)
    return f"unknown rule kind {kind!r}" + (f", did you mean {nearest[0]!r}?" if nearest else "")
