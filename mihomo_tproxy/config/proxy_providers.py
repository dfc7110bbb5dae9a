"""`proxy-providers`: wiki.metacubex.one/config/proxy-providers.

What is wrong with an entry is a problem, and so is what is wrong in its `payload`, if that is all
it has; what is wrong with the content of a file, which is foreign, is counted in one warning.
Names of proxies are unique over the whole configuration: one that is taken gets the name of the
provider added.
"""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.config.paths import read_file
from mihomo_tproxy.config.provider_entry import read_entry
from mihomo_tproxy.config.provider_source import warn_shared_paths
from mihomo_tproxy.config.proxies import BUILT_IN, RESERVED, parse_proxy
from mihomo_tproxy.config.section import Section, scalar_text
from mihomo_tproxy.config.specs.provider import ProxyProviderSpec, Vehicle
from mihomo_tproxy.provider.proxy_content import (
    Brought,
    build_proxies,
    parse_content,
    reasons_text,
    select_entries,
)
from mihomo_tproxy.provider.proxy_list import MAX_BYTES, take_entries

if TYPE_CHECKING:
    from mihomo_tproxy.config.provider_entry import ProviderEntry
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.specs.base import ProxySpec

SHOWN: Final = 3
"""Examples in one warning."""


class ProxyProviders(NamedTuple):
    """The providers of a file and the proxies they brought."""

    specs: tuple[ProxyProviderSpec, ...] = ()
    proxies: tuple[ProxySpec, ...] = ()
    """Each under a name of its own."""


def parse_proxy_providers(section: Section, proxies: tuple[ProxySpec, ...]) -> ProxyProviders:
    """The proxy providers of the top-level section; what is wrong is reported."""
    report = section.report
    providers = Section(report, "proxy-providers", section.take("proxy-providers"))
    taken = {*BUILT_IN, *RESERVED, *(proxy.name for proxy in proxies), *_group_names(section)}
    specs: list[ProxyProviderSpec] = []
    found: list[ProxySpec] = []
    for name in providers.keys:
        options = Section(report, providers.where(name), providers.take(name))
        before = len(report.problems)
        entry = read_entry(options, name)
        if name == "default":
            report.problem(options.path, "mihomo keeps the name 'default' to itself")
        brought = Brought()
        if len(report.problems) == before:
            brought = _Reader(report, options, entry).read()
        own = _named_apart(report, options.path, name, brought.proxies, taken)
        found += own
        specs.append(
            replace(
                entry.spec,
                members=tuple(spec.name for spec in own),
                parsing=pickle.dumps(entry.parsing, pickle.HIGHEST_PROTOCOL),
            )
        )
    warn_shared_paths(report, ((providers.where(spec.name), spec) for spec in specs))
    return ProxyProviders(tuple(specs), tuple(found))


def _group_names(section: Section) -> set[str]:
    groups = section.take("proxy-groups")
    entries = groups if isinstance(groups, list) else []
    names = {scalar_text(entry.get("name")) for entry in entries if isinstance(entry, dict)}
    return {name for name in names if name}


def _named_apart(
    report: Report, path: str, provider: str, proxies: list[ProxySpec], taken: set[str]
) -> list[ProxySpec]:
    """The proxies under names that nobody has, which are then taken."""
    named: list[ProxySpec] = []
    changed: list[str] = []
    tried: Counter[str] = Counter()
    for spec in proxies:
        name = spec.name
        while name in taken:
            tried[spec.name] += 1
            number = tried[spec.name]
            name = f"{spec.name} ({provider}{'' if number == 1 else f' {number}'})"
        taken.add(name)
        if name != spec.name:
            changed.append(f"{spec.name!r} is {name!r}")
            spec = replace(spec, name=name)
        named.append(spec)
    if changed:
        more = ", ..." if len(changed) > SHOWN else ""
        shown = ", ".join(changed[:SHOWN])
        report.warning(path, f"names that are taken have the provider's added: {shown}{more}")
    return named


class _Reader:
    """Finds what one provider brings."""

    def __init__(self, report: Report, section: Section, entry: ProviderEntry) -> None:
        self._report = report
        self._section = section
        self._entry = entry

    def read(self) -> Brought:
        """The proxies; why there are none, or some are missing, is reported."""
        spec = self._entry.spec
        if spec.vehicle is Vehicle.INLINE:
            return self._inline()
        try:
            brought = parse_content(read_file(spec.path, MAX_BYTES), self._entry.parsing)
        except FileNotFoundError:
            http = spec.vehicle is Vehicle.HTTP
            return self._fallback("not downloaded yet" if http else f"there is no file {spec.path}")
        except OSError as error:
            return self._fallback(f"cannot read {spec.path}: {error.strerror}")
        except ValueError as error:
            return self._fallback(f"{spec.path}: {error}")
        if not brought.proxies:
            reasons = reasons_text(brought.skipped) or ": the filters leave none"
            return self._fallback(f"{spec.path} brings no proxy{reasons}")
        self._warn(brought)
        return brought

    def _inline(self) -> Brought:
        """The payload as part of the user's own file: what is wrong in it is a problem."""
        where = self._section.where("payload")
        listed = take_entries(self._entry.payload)
        brought = Brought()
        empty = True
        for place, entry in select_entries(listed.entries, self._entry.parsing):
            empty = False
            before = len(self._report.problems)
            spec = parse_proxy(self._report, f"{where}[{place}]", entry)
            if not self._report.leave_out(spec.name, before):
                brought.proxies.append(spec)
        if empty:
            self._report.problem(where, "there is no proxy in it, or the filters leave none")
        return brought

    def _fallback(self, reason: str) -> Brought:
        """The payload in place of a file, as mihomo has it."""
        if not self._entry.payload:
            self._report.warning(self._section.path, f"{reason}; it has no proxies")
            return Brought()
        self._report.warning(self._section.path, f"{reason}; its payload is used instead")
        brought = build_proxies(take_entries(self._entry.payload), self._entry.parsing)
        self._warn(brought)
        return brought

    def _warn(self, brought: Brought) -> None:
        skipped = sum(brought.skipped.values())
        if skipped:
            total = skipped + len(brought.proxies)
            reasons = reasons_text(brought.skipped)
            self._report.warning(
                self._section.path, f"{skipped} of {total} entries are left out{reasons}"
            )
        if brought.warnings:
            self._report.warning(self._section.path, f"its entries{reasons_text(brought.warnings)}")
