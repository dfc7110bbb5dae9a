"""`rule-providers`: wiki.metacubex.one/config/rule-providers.

What is wrong with an entry is a problem; what is wrong with the content, which is foreign, is a
warning, and the provider has nothing then, or its `payload` if it has one (as mihomo does; a file
that is missing, too).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.config.paths import read_file
from mihomo_tproxy.config.provider_source import read_source, warn_shared_paths
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section, describe, scalar_text
from mihomo_tproxy.config.specs.provider import Behavior, Format, RuleProviderSpec, Vehicle
from mihomo_tproxy.provider.lines import Lines
from mihomo_tproxy.provider.rule_content import MAX_BYTES, ParsedContent, content_of, read_content
from mihomo_tproxy.rule.context import RuleSetContent

if TYPE_CHECKING:
    from mihomo_tproxy.config.report import Report

_NOTHING: Final = ParsedContent(RuleSetContent())


class _Entry(NamedTuple):
    spec: RuleProviderSpec
    payload: tuple[str, ...]
    where: str
    """Path of the entry in the file."""


class RuleProviders:
    """The providers of a file; the content of each is read when a rule first names it."""

    def __init__(self, report: Report, entries: dict[str, _Entry | None]) -> None:
        """None stands for an entry whose problems are reported already."""
        self._report = report
        self._entries = entries
        self._parsed: dict[str, ParsedContent] = {}

    @property
    def specs(self) -> tuple[RuleProviderSpec, ...]:
        """The entries, each with the number of its rules if they were read."""
        return tuple(
            replace(entry.spec, count=self._parsed.get(name, _NOTHING).taken)
            for name, entry in self._entries.items()
            if entry
        )

    def content(self, name: str) -> RuleSetContent:
        """What a provider brought; nothing, with a warning, if that cannot be read.

        Raises:
            ValueError: there is no such provider; the text is for the user.
        """
        if name not in self._entries:
            near = did_you_mean(name, self._entries)
            raise ValueError(f"there is no rule provider {name!r}{near}")
        parsed = self._parsed.get(name)
        if parsed is None:
            entry = self._entries[name]
            parsed = self._parsed[name] = self._read(entry) if entry else _NOTHING
        return parsed.content

    def _read(self, entry: _Entry) -> ParsedContent:
        spec = entry.spec
        if spec.vehicle is Vehicle.INLINE:
            return self._checked(entry, content_of(Lines(list(entry.payload)), spec.behavior))
        try:
            data = read_file(spec.path, MAX_BYTES)
            return self._checked(entry, read_content(data, spec.behavior, spec.format))
        except FileNotFoundError:
            missing = spec.vehicle is Vehicle.HTTP
            reason = "not downloaded yet" if missing else f"there is no file {spec.path}"
        except OSError as error:
            reason = f"cannot read {spec.path}: {error.strerror}"
        except ValueError as error:
            reason = f"{spec.path}: {error}"
        if entry.payload:
            self._report.warning(entry.where, f"{reason}; its payload is used instead")
            return self._checked(entry, content_of(Lines(list(entry.payload)), spec.behavior))
        self._report.warning(entry.where, f"{reason}; it matches nothing")
        return _NOTHING

    def _checked(self, entry: _Entry, parsed: ParsedContent) -> ParsedContent:
        if parsed.skipped:
            total = parsed.taken + parsed.skipped
            example = f", the first is {parsed.reason}" if parsed.reason else ""
            self._report.warning(
                entry.where, f"{parsed.skipped} of {total} rules are left out{example}"
            )
        return parsed


def parse_rule_providers(section: Section) -> RuleProviders:
    """The rule providers of the top-level section; what is wrong is reported."""
    report = section.report
    providers = Section(report, "rule-providers", section.take("rule-providers"))
    entries = {
        name: _Parser(Section(report, providers.where(name), providers.take(name))).entry(name)
        for name in providers.keys
    }
    warn_shared_paths(report, ((entry.where, entry.spec) for entry in entries.values() if entry))
    return RuleProviders(report, entries)


class _Parser:
    """Reads one entry."""

    def __init__(self, section: Section) -> None:
        self._section = section

    def entry(self, name: str) -> _Entry | None:
        section = self._section
        before = len(section.report.problems)
        vehicle = section.choice("type", Vehicle.HTTP)
        behavior = section.choice("behavior", Behavior.DOMAIN)
        form = section.choice("format", Format.YAML)
        for key in ("type", "behavior"):
            if key not in section.keys:
                section.problem(key, "is needed")
        if form is Format.MRS and behavior is Behavior.CLASSICAL and vehicle is not Vehicle.INLINE:
            section.problem("format", "mrs has no classical rules, only domain and ipcidr")
        spec = RuleProviderSpec(
            name=name,
            **read_source(section, vehicle, "rules"),
            behavior=behavior,
            format=form,
        )
        payload = self._payload()
        if section.text("path-in-bundle"):
            section.report.warning(section.where("path-in-bundle"), "ignored: there is no bundle")
        section.warn_unknown()
        if len(section.report.problems) > before:
            return None
        return _Entry(spec, payload, section.path)

    def _payload(self) -> tuple[str, ...]:
        """Texts; empty ones and nulls say nothing in mihomo either."""
        lines: list[str] = []
        for path, item in self._section.values("payload"):
            text = "" if item is None else scalar_text(item)
            if text is None:
                self._section.report.problem(path, f"expected a text, found {describe(item)}")
            elif text:
                lines.append(text)
        return tuple(lines)
