"""`rules` and `sub-rules`: each line built, and every target found.

The lists of `sub-rules` are built before `rules`, each after those it names. Invariant: a target
that a rule can decide for is an outbound of the file or a built-in one; a SUB-RULE names a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section, describe, scalar_text
from mihomo_tproxy.rule.registry import MAX_DEPTH, parse_rule
from mihomo_tproxy.rule.sub_rule import SubRule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mihomo_tproxy.config.context import Context
    from mihomo_tproxy.model.interfaces import Rule

MAX_TOTAL: Final = 3_000_000
"""Rules of a list, those of classical rule sets once for each mention: a gigabyte of objects."""
_OPTIONS: Final = ("no-resolve", "src")
_LASTING: Final = frozenset({"COMPATIBLE", "DIRECT", "REJECT", "REJECT-DROP"})
"""Built-in targets that take every flow."""
_PASSING: Final = frozenset({"PASS", "PASS-RULE"})


class Targets(NamedTuple):
    """Where rules can lead to."""

    names: Collection[str]
    """Of all outbounds."""
    left_out: Mapping[str, str]
    """Name -> why there is no such outbound here."""


def parse_rules(section: Section, targets: Targets, context: Context) -> tuple[Rule, ...]:
    """The rules of the top-level section; what is wrong is reported.

    Args:
        targets: where they can lead to.
        context: where rules find their lists; `sub-rules` are put there.
    """
    _SubRules(section, targets, context).parse()
    rules = _parse_list(section, "rules", targets, context)
    _warn_unreachable(section, rules)
    return rules


class _SubRules:
    """The lists of `sub-rules`, in the order that their mention of each other demands."""

    def __init__(self, section: Section, targets: Targets, context: Context) -> None:
        self._lists = Section(section.report, "sub-rules", section.take("sub-rules"))
        self._names = frozenset(self._lists.keys)
        self._targets = targets
        self._context = context

    def parse(self) -> None:
        """Builds every list."""
        for name in self._lists.keys:
            if not name:
                self._lists.report.problem("sub-rules", "a list has an empty name")
            self._build(name, ())

    def _build(self, name: str, above: tuple[str, ...]) -> None:
        if name in self._context.lists:
            return
        chain = (*above, name)
        for place, line in _lines(self._lists, name, silent=True):
            inner = _named_list(line)
            path = f"{self._lists.where(name)}[{place}]"
            if inner in chain:
                circle = " -> ".join((*chain[chain.index(inner) :], inner))
                self._lists.report.problem(path, f"goes round in a circle: {circle}")
                self._context.lists.setdefault(inner, ())
            elif inner in self._names and len(chain) >= MAX_DEPTH:
                self._lists.report.problem(path, f"more than {MAX_DEPTH} lists inside each other")
                self._context.lists.setdefault(inner, ())
            elif inner in self._names:
                self._build(inner, chain)
        self._context.lists[name] = _parse_list(self._lists, name, self._targets, self._context)


def _named_list(line: str) -> str:
    """The list that a line names, "" if it is no SUB-RULE."""
    kind, _, rest = line.partition(",")
    return rest.rpartition(",")[2].strip() if kind.strip().upper() == "SUB-RULE" else ""


def _parse_list(section: Section, key: str, targets: Targets, context: Context) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    total = 0
    for place, line in _lines(section, key):
        try:
            rule = parse_rule(line, context)
        except ValueError as error:
            section.problem(f"{key}[{place}]", str(error))
            continue
        if rule.target not in targets.names and not isinstance(rule, SubRule):
            section.problem(f"{key}[{place}]", _missing(rule.target, targets))
        rules.append(rule)
        total += rule.weight
        if total > MAX_TOTAL:
            message = f"with what their rule sets hold, these are more than {MAX_TOTAL} rules"
            section.problem(f"{key}[{place}]", message)
            break
    return tuple(rules)


def _lines(section: Section, key: str, *, silent: bool = False) -> Iterator[tuple[int, str]]:
    """The lines of a list, each with its place; `silent` leaves it to others to report."""
    value = section.take(key)
    if not isinstance(value, list):
        if value is not None and not silent:
            section.problem(key, f"expected a list, found {describe(value)}")
        return
    for place, item in enumerate(value):
        text = item if isinstance(item, str) else scalar_text(item)
        if text is not None:
            yield place, text
        elif not silent:
            section.problem(f"{key}[{place}]", f"expected a text, found {describe(item)}")


def _missing(target: str, targets: Targets) -> str:
    if target in targets.left_out:
        return f"target {target!r} is left out: {targets.left_out[target]}"
    if target in _OPTIONS:
        return f"the target is missing: {target!r} is an option"
    return f"target {target!r} not found{did_you_mean(target, sorted(targets.names))}"


def _warn_unreachable(section: Section, rules: tuple[Rule, ...]) -> None:
    kinds = [rule.kind for rule in rules]
    if "MATCH" not in kinds[:-1]:
        return
    place = kinds.index("MATCH")
    after, target = len(kinds) - 1 - place, rules[place].target
    if target in _LASTING:
        section.report.warning("rules", f"MATCH decides everything: {after} after it never apply")
    elif target not in _PASSING:
        message = f"{after} after MATCH apply to nothing but UDP that {target!r} does not take"
        section.report.warning("rules", message)
