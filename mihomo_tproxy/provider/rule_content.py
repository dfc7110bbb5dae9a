"""The content of a rule provider, from the bytes of its file to what rules match with.

Lists are foreign data: a line that is no rule of the behavior is left out and counted, as mihomo
does; only a file that is broken as a whole is refused. Everything is bounded: see `MAX_BYTES`,
`provider.lines` and `provider.mrs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.config.specs.provider import Behavior, Format
from mihomo_tproxy.matcher.cidr import parse_ranges
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.matcher.domain_set import DomainSet
from mihomo_tproxy.provider import mrs
from mihomo_tproxy.provider.classical import ClassicalReader
from mihomo_tproxy.provider.lines import Lines, text_lines, yaml_lines
from mihomo_tproxy.rule.context import RuleSetContent

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES: Final = 64 << 20
"""Size of a file."""
_MAX_SHOWN: Final = 80


class ParsedContent(NamedTuple):
    """What a file brought, and what of it was left out."""

    content: RuleSetContent
    taken: int = 0
    """Rules that were taken."""
    skipped: int = 0
    """Lines that were left out."""
    reason: str = ""
    """Why the first of these was."""


def parse_content(data: bytes, behavior: Behavior, form: Format) -> RuleSetContent:
    """What a provider's file brings. See `read_content`."""
    return read_content(data, behavior, form).content


def read_content(data: bytes, behavior: Behavior, form: Format) -> ParsedContent:
    """What a provider's file brings, with counts.

    Raises:
        ValueError: the file as a whole is of no use, or beyond a limit; the text says why.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
    if form == Format.MRS:
        return _of_mrs(data, behavior)
    lines = yaml_lines(data) if form == Format.YAML else text_lines(data)
    return content_of(lines, behavior)


def content_of(lines: Lines, behavior: Behavior) -> ParsedContent:
    """What lines mean by a behavior."""
    refused = _Refused(lines.skipped)
    if behavior == Behavior.DOMAIN:
        content = RuleSetContent(domains=_domains(lines.rules, refused))
    elif behavior == Behavior.IPCIDR:
        content = RuleSetContent(ranges=_ranges(lines.rules, refused))
    else:
        content = RuleSetContent(lines=_classical(lines.rules, refused))
    taken = len(lines.rules) - (refused.count - lines.skipped)
    return ParsedContent(content, taken, refused.count, refused.reason)


def _of_mrs(data: bytes, behavior: Behavior) -> ParsedContent:
    if behavior == Behavior.DOMAIN:
        return content_of(Lines(mrs.read_names(data)), behavior)
    if behavior == Behavior.IPCIDR:
        ranges = CidrSet.of_ranges(mrs.read_ranges(data))
        return ParsedContent(RuleSetContent(ranges=ranges), len(ranges))
    raise ValueError("the format mrs has no classical rules")


class _Refused:
    """Counts lines that were left out, and remembers why the first was."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.reason = ""

    def add(self, line: str, error: ValueError) -> None:
        self.count += 1
        if not self.reason:
            shown = line if len(line) <= _MAX_SHOWN else line[: _MAX_SHOWN - 3] + "..."
            self.reason = f"{shown!r}: {error}"


def _domains(lines: Iterable[str], refused: _Refused) -> DomainSet:
    domains = DomainSet()
    take = domains.add
    for line in lines:
        try:
            take(line.lower())
        except ValueError as error:
            refused.add(line, error)
    return domains


def _ranges(lines: Iterable[str], refused: _Refused) -> CidrSet:
    ranges: list[tuple[int, int]] = []
    for line in lines:
        try:
            ranges += parse_ranges(line)
        except ValueError as error:
            refused.add(line, error)
    return CidrSet.of_ranges(ranges)


def _classical(lines: Iterable[str], refused: _Refused) -> tuple[str, ...]:
    rules: list[str] = []
    check = ClassicalReader().check
    for line in lines:
        try:
            check(line)
        except ValueError as error:
            refused.add(line, error)
        else:
            rules.append(line)
    return tuple(rules)
