"""A YAML document to a `Config`: mihomo's keys that do something here, and our `gateway` block.

Invariants: every problem of the document is found in one pass; every key of the file is either
used, or named in a warning: one warning for all of mihomo's keys that do nothing here, one for
each key that nobody knows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.access import parse_access
from mihomo_tproxy.config.chains import check_chains
from mihomo_tproxy.config.context import Context
from mihomo_tproxy.config.gateway import parse_gateway
from mihomo_tproxy.config.geo import parse_geo
from mihomo_tproxy.config.groups import parse_groups
from mihomo_tproxy.config.hosts import parse_hosts
from mihomo_tproxy.config.listeners import parse_listeners
from mihomo_tproxy.config.proxies import BUILT_IN, parse_proxies
from mihomo_tproxy.config.proxies.common import MAX_MARK, parse_interface
from mihomo_tproxy.config.proxy_providers import parse_proxy_providers
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.rule_providers import parse_rule_providers
from mihomo_tproxy.config.rules import Targets, parse_rules
from mihomo_tproxy.config.schema import Config, LogLevel
from mihomo_tproxy.config.section import Section, describe
from mihomo_tproxy.errors import ConfigError, Problem
from mihomo_tproxy.geo.data import GeoData
from mihomo_tproxy.model.address import address_key, address_text
from mihomo_tproxy.model.enums import TunnelMode

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Document

IGNORED_KEYS: Final = frozenset(
    {
        *("clash-for-android", "disable-keep-alive", "dns"),
        *("experimental", "external-controller", "external-controller-cors"),
        *("external-controller-pipe", "external-controller-routing-mark"),
        *("external-controller-tls", "external-controller-unix", "external-doh-server"),
        *("external-ui", "external-ui-name", "external-ui-url", "find-process-mode"),
        "global-client-fingerprint",
        *("inbound-mptcp", "inbound-tfo", "iptables", "keep-alive-idle", "keep-alive-interval"),
        *("ntp", "secret"),
        *("sniffer", "ss-config", "tcp-concurrent", "tls", "tuic-server", "tun"),
        *("tunnels", "vmess-config"),
    }
)
"""mihomo's top-level keys (1.19) that do nothing here."""


def parse_document(document: Document, home: str = "") -> Config:
    """The configuration of a document.

    Raises:
        ConfigError: it cannot be used; it carries every problem found.
    """
    if document.value is None:
        raise ConfigError([*document.problems, Problem("", "the file is empty")])
    if not isinstance(document.value, dict):
        found = describe(document.value)
        wrong = Problem("", f"expected a mapping, found {found}", document.line(""))
        raise ConfigError([*document.problems, wrong])
    report = Report(document, home)
    config = _parse(report, Section(report, "", document.value))
    problems = [*document.problems, *report.problems]
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))
    return config


def _parse(report: Report, section: Section) -> Config:
    written = parse_proxies(section)
    proxies, left_out = written.kept, written.left_out
    providers = parse_proxy_providers(section, written.written)
    groups = parse_groups(section, proxies, providers, left_out)
    provided = check_chains(section.report, written.written, groups, providers.proxies)
    geo = parse_geo(section)
    geo_data = GeoData(report.home, geo)
    rule_providers = parse_rule_providers(section)
    named = [*(proxy.name for proxy in proxies), *(group.name for group in groups)]
    targets = Targets(dict.fromkeys([*BUILT_IN, *named]), left_out)
    rules = parse_rules(section, targets, Context(geo_data, rule_providers))
    for warning in geo_data.warnings:
        report.general_warning(warning)
    hosts = parse_hosts(report, section.take("hosts"))
    allow_lan = section.boolean("allow-lan", False)
    bind_address = _bind_address(section)
    values = Config(
        mode=section.choice("mode", TunnelMode.RULE),
        log_level=section.choice("log-level", LogLevel.INFO),
        allow_lan=allow_lan,
        bind_address=bind_address,
        ipv6=section.boolean("ipv6", True),
        listeners=parse_listeners(section, targets, allow_lan=allow_lan, bind_address=bind_address),
        access=parse_access(section),
        routing_mark=section.integer("routing-mark", 0, 0, MAX_MARK),
        interface_name=parse_interface(section),
        rules=rules,
        proxies=proxies,
        groups=groups,
        proxy_providers=providers.specs,
        provider_proxies=provided,
        rule_providers=rule_providers.specs,
        geo=geo_data.completed(geo),
        home=report.home,
        store_selected=_store_selected(report, section),
        unified_delay=section.boolean("unified-delay", False),
        global_ua=section.text("global-ua", ""),
        etag_support=section.boolean("etag-support", True),
        hosts=hosts,
        gateway=parse_gateway(report, section.take("gateway")),
    )
    _warn_unused(report, section)
    return replace(values, warnings=tuple(report.warnings))


def _store_selected(report: Report, section: Section) -> bool:
    profile = Section(report, "profile", section.take("profile"))
    stored = profile.boolean("store-selected", True)
    if profile.boolean("store-fake-ip", False):
        report.warning("profile.store-fake-ip", "ignored: this version has no fake-ip")
    profile.warn_unknown()
    return stored


def _bind_address(section: Section) -> str:
    text = section.text("bind-address", "*") or "*"
    if text == "*":
        return text
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        return address_text(address_key(text[1:-1] if bracketed else text))
    except ValueError as error:
        section.problem("bind-address", f"expected '*' or an address: {error}")
        return "*"


def _warn_unused(report: Report, section: Section) -> None:
    ignored = sorted(key for key in section.keys if key in IGNORED_KEYS)
    if ignored:
        named = ", ".join(f"{key} (line {report.line(key)})" for key in ignored)
        report.general_warning(f"ignored, no effect in this version: {named}")
    for key in ignored:
        section.take(key)
    section.warn_unknown(IGNORED_KEYS)
