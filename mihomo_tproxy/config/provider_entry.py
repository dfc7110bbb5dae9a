"""One entry of `proxy-providers`, without its content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.config.filters import NameFilter
from mihomo_tproxy.config.interfaces import check_interface
from mihomo_tproxy.config.provider_source import MAX_INTERVAL_S, read_source, read_url
from mihomo_tproxy.config.proxies.common import IP_VERSIONS, MAX_MARK
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section, describe, scalar_text
from mihomo_tproxy.config.specs.provider import HealthCheckSpec, ProxyProviderSpec, Vehicle
from mihomo_tproxy.model.status import status_ranges
from mihomo_tproxy.provider.proxy_content import Parsing
from mihomo_tproxy.provider.renaming import Renaming

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value

    Option = tuple[str, str | int | bool]

MAX_TIMEOUT_MS: Final = 600_000
DEFAULT_INTERVAL_S: Final = 300
DEFAULT_TIMEOUT_MS: Final = 5000

_SWITCHES: Final = ("tfo", "udp", "udp-over-tcp", "skip-cert-verify")
_TEXTS: Final = ("dialer-proxy", "name-cert-verify")
_WITHOUT_EFFECT: Final = ("mptcp", "up", "down")


class ProviderEntry(NamedTuple):
    """What an entry says."""

    spec: ProxyProviderSpec
    parsing: Parsing
    payload: list[Value]


def read_entry(section: Section, name: str) -> ProviderEntry:
    """The entry in a section; what is wrong is reported."""
    vehicle = section.choice("type", Vehicle.INLINE)  # which needs nothing, should it be wrong
    if "type" not in section.keys:
        section.problem("type", "is needed")
    spec = ProxyProviderSpec(
        name=name,
        **read_source(section, vehicle, "proxies"),
        health_check=_health_check(section),
    )
    if section.text("age-secret-key"):
        section.problem("age-secret-key", "encrypted content is not supported by this version")
    parsing = _parsing(section)
    payload = [item for _, item in section.values("payload")]
    for place, item in enumerate(payload):
        if not isinstance(item, dict):
            where = f"{section.where('payload')}[{place}]"
            section.report.problem(where, f"expected a mapping, found {describe(item)}")
    section.warn_unknown()
    return ProviderEntry(spec, parsing, payload)


def _health_check(section: Section) -> HealthCheckSpec | None:
    """None when it is off, or has no URL: mihomo checks nothing then either."""
    value = section.take("health-check")
    check = Section(section.report, section.where("health-check"), value)
    if value is None:
        return None
    if isinstance(value, dict) and check.take("enable") is None:
        check.report.problem(check.path, "'enable' is missing")
    enabled = check.boolean("enable", False)
    expected = check.text("expected-status", "*").strip() or "*"
    try:
        status_ranges(expected)
    except ValueError as error:
        check.problem("expected-status", str(error))
    interval = check.integer("interval", 0, -MAX_INTERVAL_S, MAX_INTERVAL_S)
    timeout = check.integer("timeout", 0, -MAX_TIMEOUT_MS, MAX_TIMEOUT_MS)
    url = read_url(check, "url")
    spec = HealthCheckSpec(
        url=url,
        interval_s=interval if interval > 0 else DEFAULT_INTERVAL_S,
        timeout_ms=timeout if timeout > 0 else DEFAULT_TIMEOUT_MS,
        lazy=check.boolean("lazy", True),
        expected_status=expected,
    )
    check.warn_unknown()
    if enabled and not url:
        check.report.warning(check.path, "nothing is checked: it has no 'url'")
    return spec if enabled and url else None


def _parsing(section: Section) -> Parsing:
    types = section.text("exclude-type").lower()
    options: list[Option] = []
    if dialer := section.text("dialer-proxy"):
        options.append(("dialer-proxy", dialer))
    override = Section(section.report, section.where("override"), section.take("override"))
    options += _overrides(override)
    parsing = Parsing(
        filter=_filter(section, "filter"),
        exclude_filter=_filter(section, "exclude-filter"),
        exclude_types=frozenset(part.lower() for part in types.split("|"))
        if types
        else frozenset(),
        options=tuple(options),
        renames=tuple(_renames(override)),
        prefix=override.text("additional-prefix"),
        suffix=override.text("additional-suffix"),
    )
    override.warn_unknown()
    return parsing


def _filter(section: Section, key: str) -> str:
    text = section.text(key)
    try:
        NameFilter(text)
    except ValueError as error:
        section.problem(key, str(error))
        return ""
    return text


def _overrides(override: Section) -> list[Option]:
    """The options that are given, as keys and values for every entry."""
    ignored = [key for key in _WITHOUT_EFFECT if override.take(key) is not None]
    if ignored:
        override.report.warning(override.path, f"ignored: {', '.join(ignored)}")
    if override.take("override-expr") is not None:
        override.problem("override-expr", "not supported by this version")
    options: list[Option] = [
        (key, override.boolean(key, False)) for key in _SWITCHES if override.take(key) is not None
    ]
    options += [(key, override.text(key)) for key in _TEXTS if override.take(key) is not None]
    if override.take("routing-mark") is not None:
        options.append(("routing-mark", override.integer("routing-mark", 0, 0, MAX_MARK)))
    if name := override.text("interface-name"):
        try:
            options.append(("interface-name", check_interface(name)))
        except ValueError as error:
            override.problem("interface-name", str(error))
    if version := override.text("ip-version").lower():
        if version not in IP_VERSIONS:
            near = did_you_mean(version, IP_VERSIONS)
            override.problem("ip-version", f"expected one of {', '.join(IP_VERSIONS)}{near}")
        options.append(("ip-version", version))
    return options


def _renames(override: Section) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for path, item in override.values("proxy-name"):
        rename = Section(override.report, path, item)
        pattern, target = rename.text("pattern"), rename.text("target")
        for key in ("pattern", "target"):
            if isinstance(item, dict) and scalar_text(rename.take(key)) is None:
                rename.report.problem(path, f"{key!r} is missing")
        try:
            Renaming(pattern, target)
        except ValueError as error:
            rename.problem("pattern", str(error))
        else:
            found.append((pattern, target))
        rename.warn_unknown()
    return found
