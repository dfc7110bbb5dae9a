"""From a provider's entries to the proxies it brings: filters, overrides, and our parser.

As mihomo 1.19 does it: `filter`'s alternatives are asked one after the other, so they also settle
the order; entries without a name, and names that came before, are left out; filters see names as
the file has them, overrides come after. Unlike there, one bad entry costs only itself.
"""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.filters import NameFilter
from mihomo_tproxy.provider.proxy_list import read_proxy_list
from mihomo_tproxy.provider.renaming import Renaming

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.provider.proxy_list import ProxyList

    Entry = dict[str, Value]

MAX_NAME: Final = 1024
"""Characters of a proxy's name, after overrides."""
MAX_KEYS: Final = 256
"""Keys of one entry."""

_ALWAYS_TLS: Final = "trojan"
_PEM: Final = ("certificate", "private-key")


@dataclass(frozen=True, slots=True)
class Parsing:
    """What an entry of `proxy-providers` says about its content. Small, and pickles."""

    filter: str = ""
    exclude_filter: str = ""
    exclude_types: frozenset[str] = frozenset()
    """In lower case."""
    options: tuple[tuple[str, str | int | bool], ...] = ()
    """Keys that every entry gets."""
    renames: tuple[tuple[str, str], ...] = ()
    """(expression, what each match becomes), in order."""
    prefix: str = ""
    suffix: str = ""


@dataclass(slots=True)
class Brought:
    """What a provider brings."""

    proxies: list[ProxySpec] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Entries that bring nothing, by reason."""
    warnings: Counter[str] = field(default_factory=Counter)
    """What was said of entries that are used, without their places."""


def select_entries(entries: list[Entry], parsing: Parsing) -> Iterator[tuple[int, Entry]]:
    """The entries that pass the filters, each with its place, overrides applied."""
    excluded = NameFilter(parsing.exclude_filter)
    places: dict[str, int] = {}
    for place, entry in enumerate(entries):
        name = _name(entry)
        if name is not None and not _excluded(entry, parsing.exclude_types):
            places.setdefault(name, place)
    names = [name for name in places if not excluded.matches(name)]
    renamings = [Renaming(*rename) for rename in parsing.renames]
    wanted = NameFilter(parsing.filter)
    for name in wanted.sort(names) if wanted else names:
        place = places[name]
        yield place, _override(entries[place], name, parsing, renamings)


def build_proxies(listed: ProxyList, parsing: Parsing) -> Brought:
    """The proxies of a list; what cannot be used is counted."""
    brought = Brought(skipped=Counter(listed.skipped))
    brought.skipped["no name"] = sum(_name(entry) is None for entry in listed.entries)
    brought.skipped = +brought.skipped
    for _, entry in select_entries(listed.entries, parsing):
        _build(entry, brought)
    return brought


def parse_content(data: bytes, parsing: Parsing) -> Brought:
    """The proxies of a provider's file.

    Raises:
        ValueError: the file is none of a provider; the text says why.
    """
    return build_proxies(read_proxy_list(data), parsing)


def validate(data: bytes, parsing: bytes) -> int:
    """How many proxies a download brings.

    Args:
        data: what was downloaded.
        parsing: `ProxyProviderSpec.parsing`.

    Raises:
        ValueError: none; the text says why.
    """
    brought = parse_content(data, pickle.loads(parsing))  # noqa: S301 (pickled by us)
    if not brought.proxies:
        raise ValueError(f"no proxy in it is of use{reasons_text(brought.skipped)}")
    return len(brought.proxies)


def reasons_text(counted: Counter[str], shown: int = 3) -> str:
    """`: reason (2), other reason (1)`, the most frequent ones; "" for none."""
    reasons = [f"{reason} ({number})" for reason, number in counted.most_common(shown)]
    more = ", ..." if len(counted) > shown else ""
    return f": {', '.join(reasons)}{more}" if reasons else ""


def _name(entry: Entry) -> str | None:
    name = entry.get("name")
    return name if isinstance(name, str) and name else None


def _excluded(entry: Entry, types: frozenset[str]) -> bool:
    kind = entry.get("type")
    return bool(types) and (not isinstance(kind, str) or kind.lower() in types)


def _override(entry: Entry, name: str, parsing: Parsing, renamings: list[Renaming]) -> Entry:
    for renaming in renamings:
        name = renaming.apply(name)[:MAX_NAME]
    options = {key: value for key, value in parsing.options if _applies(key, entry)}
    return {**entry, **options, "name": f"{parsing.prefix}{name}{parsing.suffix}"}


def _applies(key: str, entry: Entry) -> bool:
    """Whether a type has the option: what an override cannot change needs no warning."""
    kind = entry.get("type")
    if key == "udp":
        return kind != "http"
    if key == "udp-over-tcp":
        return kind == "ss"
    if key in ("skip-cert-verify", "name-cert-verify"):
        return kind == _ALWAYS_TLS or entry.get("tls") in (True, "true")
    return True


def _build(entry: Entry, brought: Brought) -> None:
    # The parser of proxies is of the configuration, which imports this module.
    from mihomo_tproxy.config.proxies import parse_proxy
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.yaml import Document

    if reason := _hostile(entry):
        brought.skipped[reason] += 1
        return
    report = Report(Document(None, {}, []), foreign=True)
    spec = parse_proxy(report, "", entry)
    if report.problems:
        problem = report.problems[0]
        brought.skipped[f"{problem.path}: {problem.message}".strip(": ")[:200]] += 1
        return
    brought.proxies.append(spec)
    brought.warnings.update(set(report.warnings))


def _hostile(entry: Entry) -> str:
    """Why a stranger's entry is not even parsed, "" if it is."""
    if len(str(entry["name"])) > MAX_NAME:
        return "a name that is too long"
    if len(entry) > MAX_KEYS:
        return "too many keys"
    if any(key in entry and "-----BEGIN " not in str(entry[key]) for key in _PEM):
        return "names a file of this machine"
    return ""
