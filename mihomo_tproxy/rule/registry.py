"""Rule kinds by name, and the making of rules from lines (`rule.notation`).

A new kind is one file and one entry here: in `KINDS` if the line says it all, in `LISTED` if it
names something that stands elsewhere (`rule.context`), among the nested ones if other rules are
inside. Inside a rule set `src` exchanges source and destination: `SWAPPED` says what becomes what.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.rule.address import AddressRule
from mihomo_tproxy.rule.context import NoContext
from mihomo_tproxy.rule.domain import Domain
from mihomo_tproxy.rule.domain_keyword import DomainKeyword
from mihomo_tproxy.rule.domain_list import DomainListRule
from mihomo_tproxy.rule.domain_regex import DomainRegex
from mihomo_tproxy.rule.domain_suffix import DomainSuffix
from mihomo_tproxy.rule.domain_wildcard import DomainWildcard
from mihomo_tproxy.rule.dscp import Dscp
from mihomo_tproxy.rule.geoip import geoip
from mihomo_tproxy.rule.geosite import geosite
from mihomo_tproxy.rule.in_name import InName
from mihomo_tproxy.rule.in_port import InPort
from mihomo_tproxy.rule.in_type import InType
from mihomo_tproxy.rule.in_user import InUser
from mihomo_tproxy.rule.ip_asn import ip_asn
from mihomo_tproxy.rule.ip_cidr import IpCidr
from mihomo_tproxy.rule.ip_suffix import IpSuffix
from mihomo_tproxy.rule.logic import And, Logic, Not, Or
from mihomo_tproxy.rule.match import Match
from mihomo_tproxy.rule.network import NetworkType
from mihomo_tproxy.rule.notation import COMMAS_IN_PAYLOAD, split_conditions
from mihomo_tproxy.rule.port import Port
from mihomo_tproxy.rule.process import Process, ProcessRegex, ProcessWildcard
from mihomo_tproxy.rule.rule_set import ClassicalSet
from mihomo_tproxy.rule.sub_rule import SubRule
from mihomo_tproxy.rule.uid import Uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.context import RuleContext

KINDS: Final[dict[str, Callable[[str, str, str, frozenset[str]], Rule]]] = {
    "DOMAIN": Domain,
    "DOMAIN-KEYWORD": DomainKeyword,
    "DOMAIN-REGEX": DomainRegex,
    "DOMAIN-SUFFIX": DomainSuffix,
    "DOMAIN-WILDCARD": DomainWildcard,
    "DSCP": Dscp,
    "DST-PORT": Port,
    "IN-NAME": InName,
    "IN-PORT": InPort,
    "IN-TYPE": InType,
    "IN-USER": InUser,
    "IP-CIDR": IpCidr,
    "IP-CIDR6": IpCidr,
    "IP-SUFFIX": IpSuffix,
    "MATCH": Match,
    "NETWORK": NetworkType,
    "PROCESS-NAME": Process,
    "PROCESS-NAME-REGEX": ProcessRegex,
    "PROCESS-NAME-WILDCARD": ProcessWildcard,
    "PROCESS-PATH": Process,
    "PROCESS-PATH-REGEX": ProcessRegex,
    "PROCESS-PATH-WILDCARD": ProcessWildcard,
    "SRC-IP-CIDR": IpCidr,
    "SRC-IP-SUFFIX": IpSuffix,
    "SRC-PORT": Port,
    "UID": Uid,
}
LISTED: Final[dict[str, Callable[[str, str, str, frozenset[str], RuleContext], Rule]]] = {
    "GEOIP": geoip,
    "GEOSITE": geosite,
    "IP-ASN": ip_asn,
    "SRC-GEOIP": geoip,
    "SRC-IP-ASN": ip_asn,
}
LOGIC: Final[dict[str, Callable[[str, str, str, tuple[Rule, ...]], Rule]]] = {
    "AND": And,
    "NOT": Not,
    "OR": Or,
}
KNOWN: Final = frozenset({*KINDS, *LISTED, *LOGIC, "RULE-SET", "SUB-RULE"})
OTHER_KINDS: Final = frozenset({"REMATCH-NAME"})
"""mihomo's kinds that cannot be built here."""
OTHER_PROGRAMS: Final = {
    "FINAL": ["MATCH"],
    "HOST": ["DOMAIN"],
    "HOST-KEYWORD": ["DOMAIN-KEYWORD"],
    "HOST-SUFFIX": ["DOMAIN-SUFFIX"],
}
"""Words of lists for other programs, which mihomo refuses too -> what is meant."""
SWAPPED: Final = {
    "DST-PORT": "SRC-PORT",
    "GEOIP": "SRC-GEOIP",
    "IP-ASN": "SRC-IP-ASN",
    "IP-CIDR": "SRC-IP-CIDR",
    "IP-CIDR6": "SRC-IP-CIDR",
    "IP-SUFFIX": "SRC-IP-SUFFIX",
    "SRC-GEOIP": "GEOIP",
    "SRC-IP-ASN": "IP-ASN",
    "SRC-IP-CIDR": "IP-CIDR",
    "SRC-IP-SUFFIX": "IP-SUFFIX",
    "SRC-PORT": "DST-PORT",
}
MAX_DEPTH: Final = 32
"""Rules inside rules."""
MAX_WEIGHT: Final = 4_000_000
"""Rules that one rule may have a flow ask, one by one: as many as the longest list has lines."""
MAX_SET_WEIGHT: Final = 100_000
"""The same of all nested rules of one rule set, which strangers write: some 10 ms."""

_BY_OPTION: Final = frozenset({"GEOIP", "IP-ASN", "IP-CIDR", "IP-CIDR6", "IP-SUFFIX"})
"""Kinds that `src` turns to the source; mihomo takes it for `SRC-` kinds too, where it is true."""
_TAKE_SOURCE: Final = frozenset(
    {*_BY_OPTION, "RULE-SET", "SRC-GEOIP", "SRC-IP-ASN", "SRC-IP-CIDR", "SRC-IP-SUFFIX"}
)
_NO_OPTIONS: Final[frozenset[str]] = frozenset()
_NO_RESOLVE: Final = frozenset({"no-resolve"})
_SHARED: Final = {
    (False, False): _NO_OPTIONS,
    (False, True): _NO_RESOLVE,
    (True, False): frozenset({"src"}),
    (True, True): frozenset({"src", "no-resolve"}),
}
_NOT_IN_LOGIC: Final = frozenset({"MATCH", "SUB-RULE"})
_NOT_IN_SETS: Final = frozenset({"MATCH", "RULE-SET", "SUB-RULE"})
_NOTHING: Final = NoContext()


class Scope(NamedTuple):
    """What a rule has from where it stands."""

    context: RuleContext
    depth: int = 0
    swapped: bool = False
    """Source and destination are exchanged."""
    no_resolve: bool = False
    foreign: bool = False
    """The line is not the user's: options that do nothing are passed over, as in mihomo."""
    sets: tuple[str, ...] = ()
    """The rule sets it stands in, outermost first."""
    built: dict[tuple[str, bool, bool], tuple[Rule, ...]] | None = None
    """Rule sets that are expanded already, so that one is not expanded once for each mention."""


def parse_rule(line: str, context: RuleContext = _NOTHING) -> Rule:
    """The rule of one line of `rules`. Whether its target exists is the caller's business.

    Args:
        context: where lists are found that the rule names.

    Raises:
        ValueError: not a rule, or not one this version knows; the text says why.
    """
    parts = list(map(str.strip, line.split(",")))
    kind = parts[0].upper()
    if kind not in KNOWN:
        raise ValueError(_unknown(parts[0]))
    payload = target = ""
    options = _NO_OPTIONS
    if kind == "MATCH":
        target = parts[1] if len(parts) > 1 else ""
    elif kind in COMMAS_IN_PAYLOAD:
        if len(parts) > 2:
            payload, target = ",".join(parts[1:-1]), parts[-1]
    elif len(parts) > 2:
        payload, target = parts[1], parts[2]
        if len(parts) > 3:
            options = _options(kind, parts[3:])
    if not target or not (payload or kind == "MATCH"):
        shape = "MATCH,target" if kind == "MATCH" else f"{kind},payload,target"
        raise ValueError(f"incomplete rule {line!r}: it is written {shape}")
    kind, target = intern(kind), intern(target)
    build = KINDS.get(kind)
    if build is not None:
        return build(kind, payload, target, options)
    return _build(kind, payload, target, options, Scope(context))


def parse_condition(line: str, target: str, context: RuleContext = _NOTHING) -> Rule:
    """The rule of one line of a classical rule set, which has no target of its own.

    Raises:
        ValueError: not a rule that can stand there.
    """
    return _condition(line, target, Scope(context, foreign=True), _NOT_IN_SETS)


def _condition(line: str, target: str, scope: Scope, refused: frozenset[str]) -> Rule:
    """A rule without a target of its own, inside another one."""
    if scope.depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} rules inside each other")
    parts = [part.strip() for part in line.split(",")]
    kind = parts[0].upper()
    if kind not in KNOWN:
        raise ValueError(_unknown(parts[0]))
    if kind in refused:
        raise ValueError(f"{kind} cannot stand inside another rule")
    commas = kind in COMMAS_IN_PAYLOAD
    payload = ",".join(parts[1:]) if commas else parts[1] if len(parts) > 1 else ""
    if not payload:
        raise ValueError(f"incomplete rule {line!r}: it is written {kind},payload")
    options = [] if commas else parts[2:]
    if scope.foreign:
        options = [option for option in options if _has_meaning(kind, option)]
    return _build(kind, payload, target, _options(kind, options), scope)


def _build(kind: str, payload: str, target: str, options: frozenset[str], scope: Scope) -> Rule:
    if scope.swapped or scope.no_resolve:
        kind, options = _inherit(kind, options, scope)
    build = KINDS.get(kind)
    if build is not None:
        return build(kind, payload, target, options)
    listed = LISTED.get(kind)
    if listed is not None:
        return listed(kind, payload, target, options, scope.context)
    if kind == "RULE-SET":
        return _rule_set(kind, payload, target, options, scope)
    inner = scope._replace(depth=scope.depth + 1)
    if kind == "SUB-RULE":
        return _sub_rule(kind, payload, target, inner)
    texts = split_conditions(payload)
    conditions = tuple(_condition(text, target, inner, _NOT_IN_LOGIC) for text in texts)
    return _light(LOGIC[kind](kind, payload, target, conditions))


def _light(rule: Rule) -> Rule:
    """A nested rule that a flow can wait for. Lists that name lists could multiply without end."""
    if rule.weight > MAX_WEIGHT:
        raise ValueError(f"{rule.kind} stands for more than {MAX_WEIGHT} rules to ask")
    return rule


def _inherit(kind: str, options: frozenset[str], scope: Scope) -> tuple[str, frozenset[str]]:
    """The kind and options of a rule in a rule set with `src` or `no-resolve`."""
    if kind == "RULE-SET":
        return kind, options
    if not scope.swapped:
        return kind, options | _NO_RESOLVE
    if kind in _BY_OPTION and "src" in options:
        return kind, _NO_RESOLVE
    return SWAPPED.get(kind, kind), _NO_RESOLVE


def _sub_rule(kind: str, payload: str, target: str, scope: Scope) -> Rule:
    texts = split_conditions(f"({payload})")
    if len(texts) != 1:
        raise ValueError(f"SUB-RULE has one condition, found {len(texts)}")
    condition = _condition(texts[0], target, scope, _NOT_IN_LOGIC)
    return _light(SubRule(kind, payload, target, condition, scope.context.sub_rules(target)))


def _rule_set(kind: str, payload: str, target: str, options: frozenset[str], scope: Scope) -> Rule:
    content = scope.context.rule_set(payload)
    source = "src" in options
    swapped = scope.swapped is not source
    no_resolve = scope.no_resolve or bool(options)
    if content.domains is not None:
        return DomainListRule(kind, payload, target, content.domains)
    if content.ranges is not None:
        return AddressRule(
            kind, payload, target, content.ranges, source=swapped, no_resolve=no_resolve
        )
    if payload in scope.sets:
        circle = " -> ".join([*scope.sets[scope.sets.index(payload) :], payload])
        raise ValueError(f"a rule set holds itself: {circle}")
    built: dict[tuple[str, bool, bool], tuple[Rule, ...]] = (
        scope.built if scope.built is not None else {}
    )
    key = (payload, swapped, no_resolve)
    if key not in built:
        inner = scope._replace(
            depth=scope.depth + 1,
            swapped=swapped,
            no_resolve=no_resolve,
            foreign=True,
            sets=(*scope.sets, payload),
            built=built,
        )
        built[key] = tuple(_expand(content.lines or (), target, inner))
    return ClassicalSet(kind, payload, target, built[key])


def _expand(lines: Iterable[str], target: str, scope: Scope) -> Iterator[Rule]:
    """The rules of a set. Lines that are none are passed over; who read the set spoke of them.

    Passed over is also what would have a flow ask more than MAX_SET_WEIGHT nested rules.
    """
    nested = 0
    for line in lines:
        try:
            rule = _condition(line, target, scope, _NOT_IN_SETS)
        except ValueError:
            continue
        if isinstance(rule, Logic):
            nested += rule.weight
            if nested > MAX_SET_WEIGHT:
                nested -= rule.weight
                continue
        yield rule


def _options(kind: str, texts: list[str]) -> frozenset[str]:
    for text in texts:
        if text == "no-resolve":
            continue
        if text not in ("src", ""):
            raise ValueError(f"unknown option {text!r}")
        if text == "src" and kind not in _TAKE_SOURCE:
            raise ValueError(f"option 'src' has no meaning for {kind}")
    return _SHARED["src" in texts, "no-resolve" in texts]


def _has_meaning(kind: str, option: str) -> bool:
    return option == "no-resolve" or (option == "src" and kind in _TAKE_SOURCE)


def _unknown(kind: str) -> str:
    if kind.upper() in OTHER_KINDS:
        return f"rule kind {kind.upper()!r} is not supported by this version"
    # Only on the way to an error.
    from difflib import get_close_matches

    nearest = get_close_matches(kind.upper()[:64], sorted(KNOWN), 1)
    nearest = nearest or OTHER_PROGRAMS.get(kind.upper(), [])
    return f"unknown rule kind {kind!r}" + (f", did you mean {nearest[0]!r}?" if nearest else "")
