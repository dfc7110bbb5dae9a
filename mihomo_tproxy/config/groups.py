"""`proxy-groups`: wiki.metacubex.one/config/proxy-groups.

A group may be named before it is defined. Invariant: every entry of the file gives one spec, in its
place, so that `proxy-groups[n]` is where the n-th was written; GLOBAL comes last unless the file
has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.config.filters import NameFilter
from mihomo_tproxy.config.members import (
    BUILT_IN_TYPES,
    Filters,
    Sources,
    adapter_types,
    settle,
)
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section, describe, scalar_text
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType, Strategy
from mihomo_tproxy.model.status import status_ranges

if TYPE_CHECKING:
    from collections.abc import Collection

    from mihomo_tproxy.config.proxy_providers import ProxyProviders
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.config.specs.provider import ProxyProviderSpec
    from mihomo_tproxy.config.yaml import Value

DEFAULT_URL: Final = "https://www.gstatic.com/generate_204"
DEFAULT_INTERVAL_S: Final = 300
DEFAULT_TIMEOUT_MS: Final = 5000
DEFAULT_MAX_FAILED: Final = 5
SHOWN: Final = 5
"""Names in one warning."""
EMPTY: Final = "COMPATIBLE"
"""The only member of a group that has none."""

_TYPES: Final = [str(kind) for kind in GroupType]
_MANY: Final = 0x7FFFFFFF
_ONLY_FOR: Final = {
    "tolerance": GroupType.URL_TEST,
    "strategy": GroupType.LOAD_BALANCE,
    "hash-key": GroupType.LOAD_BALANCE,
    "default-selected": GroupType.SELECT,
}


def parse_groups(
    section: Section,
    proxies: tuple[ProxySpec, ...],
    providers: ProxyProviders,
    left_out: Collection[str] = (),
) -> tuple[GroupSpec, ...]:
    """The groups of the top-level section, and GLOBAL; what is wrong is reported.

    `left_out`: proxies of the file that this version does not have; groups go without them.
    """
    entries = list(section.values("proxy-groups"))
    named: dict[str, str] = {}
    for _, value in entries:
        if isinstance(value, dict):
            name, kind = (scalar_text(value.get(key)) or "" for key in ("name", "type"))
            named.setdefault(name, kind)
    reader = _Reader(proxies, providers, named, left_out)
    specs = [reader.read(section.report, path, value) for path, value in entries]
    if "GLOBAL" not in named:
        members = ["DIRECT", "REJECT", *(proxy.name for proxy in proxies)]
        members += [spec.name for spec in specs]
        others = tuple(name for name in members if name not in ("", "GLOBAL"))
        specs.append(GroupSpec("GLOBAL", GroupType.SELECT, others))
    return tuple(specs)


class _Reader:
    """Reads entries, with what it takes to find their members."""

    def __init__(
        self,
        proxies: tuple[ProxySpec, ...],
        providers: ProxyProviders,
        groups: dict[str, str],
        left_out: Collection[str],
    ) -> None:
        self._left_out = left_out
        self._file = [proxy.name for proxy in proxies if proxy.name]
        self._fallbacks = {*BUILT_IN_TYPES, *self._file}
        self._outbounds = {*self._fallbacks, *groups} - {""}
        self._types = adapter_types((*proxies, *providers.proxies), groups)
        self._providers = {spec.name: spec for spec in providers.specs}
        self._taken = set(self._fallbacks)

    def read(self, report: Report, path: str, value: Value) -> GroupSpec:
        """The spec of one entry."""
        if not isinstance(value, dict):
            report.problem(path, f"expected a mapping, found {describe(value)}")
            return GroupSpec("", GroupType.SELECT, (EMPTY,))
        section = Section(report, path, value)
        name = section.text("name")
        kind = self._type(section)
        self._check_name(section, name)
        every_proxy, every_provider = _included(section)
        used = self._used(section, every=every_provider)
        fields = _checks(section, kind, used)
        fields |= _choice(section, kind)
        named, dropped = self._named(section)
        if not (every_proxy or every_provider or section.take("proxies") or section.take("use")):
            section.report.problem(section.path, "no members: `proxies` or `use` is missing")
        every = self._file if every_proxy else ()
        sources = Sources(named, every, [provider.members for provider in used])
        members = settle(sources, _filters(section), self._types)
        lost = not members and bool(dropped or (every_proxy and self._left_out))
        fallback = self._fallback(section, lost=lost)
        for key in ("interface-name", "routing-mark"):
            if section.take(key) is not None:
                section.report.warning(
                    section.where(key), "ignored, as mihomo does: set it on the proxies"
                )
        spec = GroupSpec(
            name,
            kind,
            tuple(members) or (fallback,),
            disable_udp=section.boolean("disable-udp", False),
            hidden=section.boolean("hidden", False),
            icon=section.text("icon"),
            **fields,
        )
        section.warn_unknown()
        return spec

    def _check_name(self, section: Section, name: str) -> None:
        if not name:
            section.report.problem(section.path, "'name' is missing")
        elif name in self._taken:
            section.report.problem(section.path, f"the name {name!r} is already taken")
        elif name in self._providers and section.take("proxies"):
            section.problem("name", f"{name!r} is a proxy provider; a group with `proxies` is one")
        self._taken.add(name)

    def _type(self, section: Section) -> GroupType:
        kind = section.text("type")
        if kind in _TYPES:
            return GroupType(kind)
        if not kind:
            section.report.problem(section.path, "'type' is missing")
        elif kind == "relay":
            section.problem("type", "mihomo has no 'relay' any more: use `dialer-proxy`")
        else:
            near = did_you_mean(kind, _TYPES)
            section.problem("type", f"unknown type {kind!r}, expected {', '.join(_TYPES)}{near}")
        return GroupType.SELECT

    def _used(self, section: Section, *, every: bool) -> list[ProxyProviderSpec]:
        """The providers of a group, in the order their proxies are taken."""
        found = []
        for path, name in section.texts("use"):
            if name in self._providers:
                found.append(self._providers[name])
            elif name in self._outbounds:
                section.report.problem(path, f"{name!r} is no provider: name it in `proxies`")
            else:
                near = did_you_mean(name, self._providers)
                section.report.problem(path, f"there is no proxy provider {name!r}{near}")
        return [self._providers[name] for name in sorted(self._providers)] if every else found

    def _named(self, section: Section) -> tuple[list[str], list[str]]:
        """`proxies`: those that exist, and those that are left out."""
        named: list[str] = []
        dropped: list[str] = []
        for path, name in section.texts("proxies"):
            if name in self._outbounds:
                named.append(name)
            elif name in self._left_out:
                dropped.append(name)
            else:
                near = did_you_mean(name, sorted(self._outbounds))
                section.report.problem(path, f"there is no proxy or group {name!r}{near}")
        if dropped:
            section.report.warning(section.path, _without(dropped))
        return named, dropped

    def _fallback(self, section: Section, *, lost: bool) -> str:
        """Who stands in where there are no members: no group, as in mihomo.

        `lost`: there would be members if this version had them all; DIRECT is not what was meant.
        """
        name = section.text("empty-fallback") or ("REJECT" if lost else EMPTY)
        if name in self._left_out:
            name = "REJECT"
        if lost:
            section.report.warning(section.path, f"no member is left: {name} stands in")
        if name in self._fallbacks:
            return name
        near = did_you_mean(name, sorted(self._fallbacks))
        section.problem("empty-fallback", f"there is no proxy {name!r}{near}")
        return EMPTY


def _without(dropped: list[str]) -> str:
    shown = ", ".join(repr(name) for name in dropped[:SHOWN])
    more = f" and {len(dropped) - SHOWN} more" if len(dropped) > SHOWN else ""
    return f"goes without what is left out: {shown}{more}"


def _included(section: Section) -> tuple[bool, bool]:
    """Whether every proxy of the file is a member, and whether every provider's are."""
    both = section.boolean("include-all", False)
    proxies = section.boolean("include-all-proxies", False)
    return both or proxies, section.boolean("include-all-providers", False) or both


def _filters(section: Section) -> Filters:
    kinds = section.text("exclude-type").lower()
    types = frozenset(kinds.split("|")) if kinds else frozenset()
    return Filters(_filter(section, "filter"), _filter(section, "exclude-filter"), types)


def _filter(section: Section, key: str) -> NameFilter:
    try:
        return NameFilter(section.text(key))
    except ValueError as error:
        section.problem(key, str(error))
        return NameFilter("")


def _checks(section: Section, kind: GroupType, used: list[ProxyProviderSpec]) -> dict[str, Any]:
    """The health check: a select group has one if it asks for it, or its providers do."""
    url = section.text("url")
    interval = section.integer("interval", 0, 0, _MANY)
    if not url:
        checks = [spec.health_check for spec in used if spec.health_check is not None]
        url = next((check.url for check in checks if check.url), "")
    if kind is not GroupType.SELECT:
        interval = interval or DEFAULT_INTERVAL_S
    if not url and interval:
        url = DEFAULT_URL
    expected = section.text("expected-status") or "*"
    try:
        status_ranges(expected)
    except ValueError as error:
        section.problem("expected-status", str(error))
    return {
        "url": url,
        "interval_s": interval,
        "lazy": section.boolean("lazy", True),
        "timeout_ms": section.integer("timeout", 0, 0, _MANY) or DEFAULT_TIMEOUT_MS,
        "max_failed_times": section.integer("max-failed-times", 0, 0, _MANY) or DEFAULT_MAX_FAILED,
        "expected_status": expected,
    }


def _choice(section: Section, kind: GroupType) -> dict[str, Any]:
    """How the type picks; what belongs to another type is named as ignored."""
    for key, owner in _ONLY_FOR.items():
        if kind is not owner and section.take(key) is not None:
            section.report.warning(section.where(key), f"ignored: only {owner} groups have it")
    if kind is GroupType.URL_TEST:
        return {"tolerance_ms": section.integer("tolerance", 0, 0, 0xFFFF)}
    if kind is GroupType.SELECT:
        return {"default_selected": section.text("default-selected")}
    if kind is not GroupType.LOAD_BALANCE:
        return {}
    key = section.text("hash-key")
    if key not in ("", "in-user"):
        found = describe(key)
        section.problem("hash-key", f"expected 'in-user', found {found}")
    strategy = Strategy.CONSISTENT_HASHING
    if section.text("strategy"):
        strategy = section.choice("strategy", strategy)
    return {"strategy": strategy, "hash_user": bool(key)}
