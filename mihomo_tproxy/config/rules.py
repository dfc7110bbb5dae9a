"""`rules`: each line built, and its target found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.config.proxies import RESERVED
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import scalar_text
from mihomo_tproxy.rule.registry import parse_rule

if TYPE_CHECKING:
    from collections.abc import Collection

    from mihomo_tproxy.config.section import Section
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.rule.context import RuleContext


def parse_rules(
    section: Section, targets: Collection[str], context: RuleContext
) -> tuple[Rule, ...]:
    """The rules of the top-level section; what is wrong is reported."""
    groups = _group_names(section.take("proxy-groups"))
    rules: list[Rule] = []
    for path, line in section.texts("rules"):
        try:
            rule = parse_rule(line, context)
        except ValueError as error:
            section.report.problem(path, str(error))
            continue
        if rule.target not in targets:
            section.report.problem(path, _missing(rule.target, targets, groups))
        rules.append(rule)
    _warn_unreachable(section, rules)
    return tuple(rules)


def _missing(target: str, targets: Collection[str], groups: set[str]) -> str:
    if target in RESERVED:
        return f"target {target!r} is not supported by this version"
    if target in groups:
        return f"target {target!r} is a proxy group, which this version does not support"
    return f"target {target!r} not found{did_you_mean(target, sorted(targets))}"


def _group_names(value: Value) -> set[str]:
    groups = value if isinstance(value, list) else []
    names = (scalar_text(group.get("name")) for group in groups if isinstance(group, dict))
    return {name for name in names if name}


def _warn_unreachable(section: Section, rules: list[Rule]) -> None:
    kinds = [rule.kind for rule in rules]
    if "MATCH" in kinds[:-1]:
        after = len(kinds) - 1 - kinds.index("MATCH")
        section.report.warning("rules", f"MATCH decides everything: {after} after it never apply")
