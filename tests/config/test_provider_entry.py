"""Entries of `proxy-providers`, without content."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.provider_entry import ProviderEntry, read_entry
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.provider import HealthCheckSpec, ProxyProviderSpec, Vehicle
from mihomo_tproxy.config.yaml import load_text
from mihomo_tproxy.provider.proxy_content import Parsing


def read(text: str, home: str = "/nonexistent") -> tuple[ProviderEntry, Report]:
    document = load_text(f"p: {text}")
    assert isinstance(document.value, dict)
    report = Report(document, home)
    return read_entry(Section(report, "p", document.value["p"]), "x"), report


def good(text: str) -> ProviderEntry:
    entry, report = read(text)
    assert report.problems == []
    assert report.warnings == []
    return entry


HTTP = "{type: http, url: 'http://a.test/s'"


def test_http() -> None:
    text = (
        HTTP + ", path: ./a/b, interval: 3600, proxy: DIRECT, size-limit: 9,"
        " header: {User-Agent: [a, b], X: [c]}}"
    )
    assert good(text).spec == ProxyProviderSpec(
        name="x",
        vehicle=Vehicle.HTTP,
        path="/nonexistent/a/b",
        url="http://a.test/s",
        interval_s=3600,
        proxy="DIRECT",
        size_limit=9,
        headers=(("User-Agent", "a"), ("User-Agent", "b"), ("X", "c")),
    )


def test_default_path_of_a_download_is_mihomos() -> None:
    path = good("{type: http, url: 'http://127.0.0.1:1/x'}").spec.path
    assert path == "/nonexistent/proxies/f8ae9b572bd48f45625285cefd8e0ac3"


def test_negative_numbers_are_none() -> None:
    spec = good("{type: file, path: x, interval: -3, size-limit: -4}").spec
    assert (spec.interval_s, spec.size_limit) == (0, 0)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("{enable: false, url: 'http://u'}", None),
        ("{enable: true, url: 'http://u'}", HealthCheckSpec(url="http://u")),
        (
            "{enable: true, url: 'http://u', interval: 9, timeout: 7, lazy: false,"
            " expected-status: 200/300-399}",
            HealthCheckSpec("http://u", 9, 7, False, "200/300-399"),
        ),
        (
            "{enable: true, url: 'http://u', interval: -1, timeout: 0, expected-status: 204}",
            HealthCheckSpec("http://u", expected_status="204"),
        ),
    ],
)
def test_health_check(check: str, expected: HealthCheckSpec | None) -> None:
    entry = good(f"{{type: file, path: x, health-check: {check}}}")
    assert entry.spec.health_check == expected


def test_parsing() -> None:
    text = """{type: file, path: x, filter: a`b, exclude-filter: c, exclude-type: Ss|http,
      dialer-proxy: d, override: {additional-prefix: p, additional-suffix: s, udp: true,
      tfo: false, dialer-proxy: e, routing-mark: 5, interface-name: lo, ip-version: IPv4,
      name-cert-verify: n, proxy-name: [{pattern: 'x(.)', target: $1}, {pattern: y, target: ''}]}}
    """
    assert good(text).parsing == Parsing(
        filter="a`b",
        exclude_filter="c",
        exclude_types=frozenset({"ss", "http"}),
        options=(
            ("dialer-proxy", "d"),
            ("tfo", False),
            ("udp", True),
            ("dialer-proxy", "e"),
            ("name-cert-verify", "n"),
            ("routing-mark", 5),
            ("interface-name", "lo"),
            ("ip-version", "ipv4"),
        ),
        renames=(("x(.)", "$1"), ("y", "")),
        prefix="p",
        suffix="s",
    )


def test_payload() -> None:
    assert good("{type: inline, payload: [{name: a}]}").payload == [{"name": "a"}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5", "expected a mapping"),
        ("{}", "p.type: is needed"),
        ("{type: nope}", "p.type: expected one of http, file, inline"),
        ("{type: http}", "p.url: is needed"),
        ("{type: http, url: 'ftp://x'}", "p.url: expected an http"),
        ("{type: file}", "p.path: is needed"),
        ("{type: file, path: ../x}", "p.path: '../x' is not inside"),
        (HTTP + ", path: /etc/passwd}", "p.path: '/etc/passwd' is not inside"),
        (HTTP + ", interval: x}", "p.interval: expected a whole number"),
        (HTTP + ", header: {a b: [c]}}", "not the name of a header"),
        (HTTP + ", header: {a: b}}", "p.header.a: expected a list"),
        (HTTP + ', header: {a: ["b\\n"]}}', "p.header.a[0]: a header holds"),
        (HTTP + ", filter: (}", "p.filter: bad expression"),
        (HTTP + ", exclude-filter: 'a`(?=(b+)+)'}", "p.exclude-filter: bad expression"),
        (HTTP + ", age-secret-key: x}", "p.age-secret-key: encrypted"),
        (HTTP + ", health-check: {url: 'http://u'}}", "p.health-check: 'enable' is missing"),
        (HTTP + ", health-check: {enable: x}}", "p.health-check.enable: expected true"),
        (HTTP + ", health-check: {enable: true, url: x}}", "p.health-check.url: expected"),
        (
            HTTP + ", health-check: {enable: true, url: 'http://u', expected-status: x}}",
            "p.health-check.expected-status: expected status codes",
        ),
        (HTTP + ", override: 5}", "p.override: expected a mapping"),
        (HTTP + ", override: {udp: maybe}}", "p.override.udp: expected true"),
        (HTTP + ", override: {override-expr: [x]}}", "p.override.override-expr: not supported"),
        (HTTP + ", override: {routing-mark: -1}}", "p.override.routing-mark: -1 is out"),
        (HTTP + ", override: {interface-name: a/b}}", "p.override.interface-name: not an"),
        (HTTP + ", override: {ip-version: ipv5}}", "p.override.ip-version: expected one of"),
        (
            HTTP + ", override: {proxy-name: [{pattern: (, target: x}]}}",
            "p.override.proxy-name[0].pattern: bad expression",
        ),
        (HTTP + ", override: {proxy-name: [{pattern: x}]}}", "'target' is missing"),
        (HTTP + ", override: {proxy-name: [x]}}", "proxy-name[0]: expected a mapping"),
        (HTTP + ", payload: [x]}", "p.payload[0]: expected a mapping, found 'x'"),
    ],
)
def test_problems(text: str, problem: str) -> None:
    _, report = read(text)
    assert any(problem in str(found) for found in report.problems)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (HTTP + ", filtre: x}", "p.filtre: unknown key, did you mean 'filter'?"),
        (HTTP + ", override: {mptcp: true, up: 1}}", "p.override: ignored: mptcp, up"),
        (HTTP + ", override: {foo: 1}}", "p.override.foo: unknown key"),
        (HTTP + ", health-check: {enable: true}}", "p.health-check: nothing is checked"),
    ],
)
def test_warnings(text: str, warning: str) -> None:
    _, report = read(text)
    assert report.problems == []
    assert any(warning in found for found in report.warnings)
